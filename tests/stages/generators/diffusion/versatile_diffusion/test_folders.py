"""Kinds of folders that load, and what is refused."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.deprecated.versatile_diffusion import (
    VersatileDiffusionDualGuidedPipeline,
    VersatileDiffusionTextToImagePipeline,
)
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel
from random_checkpoints import END, SIZE, START
from random_checkpoints import VERSATILE_WIDTH as WIDTH
from safetensors.torch import load_file, save_file
from versatile_requests import WEIGHTS_FILE, copies, pictures, requests_for

from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
from stages.generators.diffusion.versatile_diffusion import (
    contexts_folder,
    is_versatile_diffusion,
    load_versatile_diffusion,
)
from weights.store import CheckpointError, checkpoints


def test_folders_are_recognised(published, pipeline_folder, tmp_path):
    assert is_versatile_diffusion(published)
    assert not is_versatile_diffusion(pipeline_folder)
    assert not is_versatile_diffusion(tmp_path)


def test_generators_join_the_published_folder_on_loading(folder, pipeline):
    requests = requests_for((0.6, 0.4), 0.75)
    generator = DualContextGenerator.from_pretrained(folder, dtype=torch.float32)
    assert generator.image_size == SIZE
    assert (generator.takes["clip_image"], generator.takes["clip_text"]) == ((5, WIDTH), (7, WIDTH))
    expected = pictures(pipeline, requests, num_inference_steps=4)
    assert np.array_equal(pictures(generator.pipeline, requests, num_inference_steps=4), expected)
    half = DualContextGenerator.from_pretrained(folder, dtype=torch.bfloat16)
    assert half.pipeline.unet.dtype == torch.bfloat16


def test_shards_load_as_one_file_does(folder, pipeline):
    for flow, network in (("image_unet", UNet2DConditionModel), ("text_unet", UNetFlatConditionModel)):
        loaded = network.from_pretrained(folder / flow)
        (folder / flow / WEIGHTS_FILE).unlink()
        loaded.save_pretrained(folder / flow, max_shard_size="100KB")
        assert len(list((folder / flow).glob("*.safetensors"))) > 2
    state = load_versatile_diffusion(folder).unet.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in pipeline.unet.state_dict().items())


def test_of_the_text_flow_its_transformers_are_enough(folder, pipeline):
    path = folder / "text_unet" / WEIGHTS_FILE
    whole = load_file(path)
    (kept,) = (file.keeps for file in checkpoints()["versatile-diffusion"].files if file.keeps)
    used = {name: tensor for name, tensor in whole.items() if re.search(kept, name)}
    assert 0 < len(used) < len(whole)
    save_file(used, path)
    state = load_versatile_diffusion(folder).unet.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in pipeline.unet.state_dict().items())
    # With one of the others it claims to be whole again, and is not.
    save_file(used | {"conv_out.bias": whole["conv_out.bias"]}, path)
    with pytest.raises(CheckpointError, match="do not fit the text flow.*missing"):
        load_versatile_diffusion(folder)
    used.popitem()
    save_file(used, path)
    with pytest.raises(CheckpointError, match="do not fit the text flow.*missing"):
        load_versatile_diffusion(folder)


def test_a_tensor_in_two_shards_is_refused(folder):
    network = UNet2DConditionModel.from_pretrained(folder / "image_unet")
    (folder / "image_unet" / WEIGHTS_FILE).unlink()
    network.save_pretrained(folder / "image_unet", max_shard_size="100KB")
    first, second = sorted((folder / "image_unet").glob("*.safetensors"))[:2]
    name, tensor = next(iter(load_file(first).items()))
    save_file(load_file(second) | {name: tensor}, second)
    with pytest.raises(CheckpointError, match=f"holds {name}, which another shard"):
        load_versatile_diffusion(folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_half_precision_files_are_computed_in_what_was_asked_for(folder, pipeline, dtype):
    for flow in ("image_unet", "text_unet", "vae"):
        state = load_file(folder / flow / WEIGHTS_FILE)
        save_file({name: tensor.half() for name, tensor in state.items()}, folder / flow / WEIGHTS_FILE)
    loaded = load_versatile_diffusion(folder, dtype)
    networks = (loaded.unet, loaded.unconditional_contexts)
    assert {parameter.dtype for network in networks for parameter in network.parameters()} == {dtype}
    assert loaded.vae.dtype == (torch.float32 if dtype == torch.float16 else dtype), "it overflows in float16"
    name = "mid_block.attentions.0.transformers.1.proj_in.weight"
    assert torch.equal(loaded.unet.state_dict()[name], pipeline.unet.state_dict()[name].half().to(dtype))
    if dtype != torch.float16:
        assert np.isfinite(pictures(loaded, requests_for((0.6, 0.4), 0.75), num_inference_steps=2)).all()


def test_weights_are_in_memory_and_not_in_the_files(folder):
    loaded = load_versatile_diffusion(folder).unet
    before = loaded.conv_in.weight.clone()
    path = folder / "image_unet" / WEIGHTS_FILE
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(loaded.conv_in.weight, before)


def test_an_open_size_is_512_pixels_of_the_published_autoencoder(folder):
    path = folder / "image_unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sample_size": None}))
    assert load_versatile_diffusion(folder).unet.config.sample_size == 64


def test_a_network_saved_with_both_transformers_loads(folder, parts, pipeline, tmp_path):
    flows = VersatileDiffusionDualGuidedPipeline(**parts | vars(copies(folder)))
    flows.remove_unused_weights()
    flows.save_pretrained(tmp_path / "dual")
    state = load_versatile_diffusion(tmp_path / "dual").unet.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in pipeline.unet.state_dict().items())


def test_exchanged_transformers_are_refused(folder, parts, tmp_path):
    needed = ("tokenizer", "text_encoder", "vae", "scheduler")
    flows = VersatileDiffusionTextToImagePipeline(**{name: parts[name] for name in needed}, **vars(copies(folder)))
    flows.save_pretrained(tmp_path / "exchanged")
    assert is_versatile_diffusion(tmp_path / "exchanged")
    with pytest.raises(CheckpointError, match="VersatileDiffusionTextToImagePipeline.*both flows in their places"):
        load_versatile_diffusion(tmp_path / "exchanged")


@pytest.mark.slow
def test_diffusers_deprecated_modules_are_not_imported(folder):
    program = (
        "import sys\n"
        "from stages.generators.diffusion.versatile_diffusion import load_versatile_diffusion\n"
        f"load_versatile_diffusion({str(folder)!r})\n"
        "print(*(name for name in sys.modules if name.startswith('diffusers.pipelines.')), sep='\\n')"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = told.stdout.split()
    assert "diffusers.pipelines.pipeline_utils" in imported
    assert not [name for name in imported if "versatile" in name or "deprecated" in name]


@pytest.mark.parametrize("trouble", ["missing", "unexpected", "misshapen"])
@pytest.mark.parametrize(
    "flow, name",
    [
        ("image_unet", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
        ("image_unet", "down_blocks.1.resnets.0.conv1.weight"),
        ("text_unet", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
        ("text_unet", "down_blocks.1.resnets.0.conv_shortcut.weight"),
        ("text_unet", "up_blocks.0.upsamplers.0.weight"),
        ("text_unet", "conv_out.bias"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(folder, flow, name, trouble):
    path = folder / flow / WEIGHTS_FILE
    state = load_file(path)
    if trouble == "missing":
        del state[name]
    elif trouble == "unexpected":
        state[f"{name}_2"] = torch.zeros(3)
        name = f"{name}_2"
    else:
        state[name] = state[name][:-1].clone()
    save_file(state, path)
    with pytest.raises(CheckpointError, match=f"{flow} .*{trouble}: {name}") as caught:
        load_versatile_diffusion(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file, changes, said",
    [
        ("model_index.json", {"_class_name": "StableDiffusionPipeline"}, "describes a StableDiffusionPipeline"),
        ("text_unet/config.json", {"_class_name": "UNet2DConditionModel"}, "a UNetFlatConditionModel was expected"),
        ("text_unet/config.json", {"attention_head_dim": 4}, "attention_head_dim 4, but the image flow.* has 2"),
        ("text_unet/config.json", {"norm_num_groups": 4}, "norm_num_groups 4"),
        ("text_unet/config.json", {"in_channels": 4.5}, "does not describe a text flow"),
        ("image_unet/config.json", {"_class_name": "VQModel"}, "describes a VQModel"),
        ("image_unet/config.json", {"block_out_channels": [16, 30]}, "does not describe|block_out_channels"),
        ("image_encoder/config.json", {"num_hidden_layers": 3}, "image_encoder.*missing: vision_model"),
        ("image_encoder/config.json", {"num_hidden_layers": 1}, "image_encoder.*unexpected: vision_model"),
        ("image_encoder/config.json", {"projection_dim": 8}, "image_encoder.*misshapen: visual_projection.weight"),
        ("image_feature_extractor/preprocessor_config.json", {"image_std": [1]}, "image_mean and image_std"),
        ("text_encoder/config.json", {"vocab_size": 9}, "text_encoder.*misshapen: .*token_embedding.weight"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(folder, file, changes, said):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=said) as caught:
        load_versatile_diffusion(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file",
    [
        "image_unet/config.json",
        "text_unet/config.json",
        f"image_unet/{WEIGHTS_FILE}",
        f"text_unet/{WEIGHTS_FILE}",
        f"vae/{WEIGHTS_FILE}",
        "scheduler/scheduler_config.json",
        "image_encoder/model.safetensors",
        "image_encoder/config.json",
        "text_encoder/model.safetensors",
        "image_feature_extractor/preprocessor_config.json",
    ],
)
@pytest.mark.parametrize("trouble", ["absent", "cut"])
def test_absent_and_damaged_files_are_refused(folder, file, trouble):
    path = folder / file
    if trouble == "absent":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=file.split("/")[0]) as caught:
        load_versatile_diffusion(folder)
    assert "\n" not in str(caught.value)


def test_an_absent_vocabulary_is_refused(folder):
    for path in (folder / "tokenizer").iterdir():
        if path.name != "tokenizer_config.json":
            path.unlink()
    with pytest.raises(CheckpointError, match="vocab.json is absent"):
        load_versatile_diffusion(folder)


@pytest.mark.parametrize("extra", [{"d": 8}, {}])
def test_a_vocabulary_of_another_encoder_is_refused(folder, extra):
    for name in ("tokenizer.json", "vocab.json"):
        (folder / "tokenizer" / name).unlink(missing_ok=True)
    tokens = {START: 0, END: 1, "a": 2} | extra
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(tokens))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(CheckpointError, match=f"knows {len(tokens)} tokens"):
        load_versatile_diffusion(folder)


def test_stored_contexts_that_do_not_fit_are_refused(folder):
    tokens = torch.zeros(3, WIDTH)
    stored = folder / contexts_folder()
    UnconditionalContexts.from_contexts(tokens[:, :8], tokens[:, :8]).save_pretrained(stored)
    with pytest.raises(CheckpointError, match="tokens of 8 values, but its UNet reads 16"):
        load_versatile_diffusion(folder)
    UnconditionalContexts.from_contexts(tokens * float("nan"), tokens).save_pretrained(stored)
    with pytest.raises(CheckpointError, match="not finite"):
        load_versatile_diffusion(folder)


def test_pickles_are_not_read(folder):
    path = folder / "image_unet" / WEIGHTS_FILE
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    with pytest.raises(CheckpointError, match="convert a .bin"):
        load_versatile_diffusion(folder)
