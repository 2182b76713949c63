"""The folder of a dual-context pipeline: what is written is read again, and what does not fit is refused."""

import json

import pytest
import torch
from diffusers import DDIMScheduler
from picture_requests import pictures

from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.ground.errors import InputError
from weights.store import CheckpointError


def test_round_trip_in_diffusers_layout(pipeline, pipeline_folder, make_request, tmp_path):
    pipeline.save_pretrained(tmp_path)
    assert {part.name for part in tmp_path.iterdir()} == {
        "model_index.json", "vae", "unet", "scheduler", "unconditional_contexts"
    }  # fmt: skip
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["unet"] == ["stages.networks.dual_context_unet", "DualContextUNet2DConditionModel"]
    reloaded = DualContextImg2ImgPipeline.from_pretrained(tmp_path)
    assert reloaded.config.guidance_scale == 3.0
    assert torch.equal(reloaded.unconditional_contexts.text, pipeline.unconditional_contexts.text)
    first, again = (
        pictures(DualContextGenerator(each), [make_request(0)], num_inference_steps=4) for each in (pipeline, reloaded)
    )
    assert (first == again).all()
    for written in tmp_path.rglob("*.json"):
        assert str(pipeline_folder) not in written.read_text(), "no folder of this machine in a checkpoint"


@pytest.mark.parametrize("part", ["model_index.json", "scheduler/scheduler_config.json", "vae/config.json"])
def test_an_absent_part_is_named(pipeline, tmp_path, part):
    pipeline.save_pretrained(tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(CheckpointError, match=part.rpartition("/")[2]):
        DualContextImg2ImgPipeline.from_pretrained(tmp_path)


def test_clipping_schedulers_are_refused(pipeline):
    with pytest.raises(InputError, match="clip_sample=True"):
        DualContextImg2ImgPipeline(pipeline.vae, pipeline.unet, DDIMScheduler(), pipeline.unconditional_contexts)
