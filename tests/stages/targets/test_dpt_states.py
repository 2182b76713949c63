"""Levels of a network of depth as targets, held against transformers' own processor and network."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from published_checkpoints import write_published
from random_checkpoints import save_dpt
from transformers import DPTConfig, DPTForDepthEstimation

from brainrecon.cli.main import run_command
from stages.checkpoints.outlines import count_operations, outlines
from stages.ground.errors import InputError
from stages.targets.dpt_states import DPTLevel
from weights import store
from weights.manifest import CheckpointError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_dpt(tmp_path_factory.mktemp("dpt") / "network")


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)


def test_levels_vs_transformers_processor_and_network(folder, pictures):
    # transformers' processor over Pillow, as it was when the method was published.
    processors = pytest.importorskip("transformers.models.dpt.image_processing_pil_dpt")
    processor = processors.DPTImageProcessorPil.from_pretrained(folder)
    network = DPTForDepthEstimation.from_pretrained(folder).eval()
    enlarged = [Image.fromarray(one).resize((512, 512), Image.Resampling.LANCZOS) for one in pictures]
    pixels = processor(images=enlarged, return_tensors="pt").pixel_values
    with torch.no_grad():
        states = network(pixels, output_hidden_states=True).hidden_states
    for level, block in enumerate([0, 2, 3, 5]):
        target = DPTLevel.from_pretrained(folder, level)
        found = target.encode(pictures, batch_size=2)
        assert found.shape == (3, target.n_targets) == (3, 17 * 8) and found.dtype == np.float32
        expected = states[1 + block].flatten(1).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5 * expected.std(), rtol=1e-5)


def test_levels_have_names_and_keys_of_their_own(folder):
    targets = [DPTLevel.from_pretrained(folder, level) for level in range(4)]
    assert [target.name for target in targets] == ["dpt_0", "dpt_1", "dpt_2", "dpt_3"]
    assert len({json.dumps(target.preprocessing) for target in targets}) == 4
    assert targets[0].preprocessing["interpolation"] == "bilinear, antialiased, 8 bit"
    with pytest.raises(InputError, match="level is 4"):
        DPTLevel.from_pretrained(folder, 4)


def test_published_size():
    config = DPTConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    with torch.device("meta"):
        network = DPTForDepthEstimation(config)
    preparation = {"size": 384, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    target = DPTLevel(network, preparation, 3)
    assert target.shape == (577, 1024) and target.n_targets == 590_848


def test_an_outline_counts_what_a_level_costs(folder, pictures):
    with outlines():
        costs = [
            count_operations(lambda level=level: DPTLevel.from_pretrained(folder, level, "meta").encode(pictures[:1]))
            for level in range(4)
        ]
    assert 0 < costs[0] < costs[1] < costs[2] < costs[3]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": 48}, "prepares pictures of 48"),
        ({"do_pad": True}, "neither padded nor cropped"),
        ({"do_normalize": False}, "normalised"),
        ({"image_mean": None}, "has no 'image_mean'"),
    ],
)
def test_another_preparation_is_refused(folder, tmp_path, changes, said):
    shutil.copytree(folder, tmp_path / "dpt")
    path = tmp_path / "dpt" / "preprocessor_config.json"
    entries = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in entries.items() if value is not None}))
    with pytest.raises(CheckpointError, match=said):
        DPTLevel.from_pretrained(tmp_path / "dpt", 0)


def test_it_is_pulled_as_it_is_published(folder, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    write_published("dpt-large", tmp_path / "origin", None)
    assert not (tmp_path / "origin" / "model.safetensors").exists()
    assert run_command(["weights", "pull", "dpt-large", "--from", str(tmp_path / "origin")]) == 0
    target = DPTLevel.from_pretrained(store.path("dpt-large"), 2)
    expected = DPTLevel.from_pretrained(folder, 2).encode(pictures)
    np.testing.assert_array_equal(target.encode(pictures), expected)
