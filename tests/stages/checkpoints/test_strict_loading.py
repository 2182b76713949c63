"""Every tensor is accounted for, and what is wrong with a folder is said in one sentence."""

import json

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from stages.checkpoints.strict_loading import INDEX_FILE, WEIGHTS_FILE, check_tensors, load_strictly
from weights.store import CheckpointError


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=2).save_pretrained(tmp_path)
    return tmp_path


def test_values_come_through(folder):
    state = load_strictly(AutoencoderKL, folder).state_dict()
    for name, tensor in load_file(folder / WEIGHTS_FILE).items():
        assert torch.equal(state[name], tensor)


def test_shards_load_like_one_file(folder):
    whole = load_strictly(AutoencoderKL, folder).state_dict()
    AutoencoderKL.from_pretrained(folder).save_pretrained(folder / "sharded", max_shard_size="20KB")
    assert len(list((folder / "sharded").glob("*.safetensors"))) > 1
    sharded = load_strictly(AutoencoderKL, folder / "sharded").state_dict()
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)


def test_attention_names_of_old_files_are_understood(folder):
    """The published kl-f8 was written before diffusers renamed its attention parameters."""
    state = load_file(folder / WEIGHTS_FILE)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in state.items():
        if ".attentions." in name:
            for new_part, old_part in old.items():
                name = name.replace(new_part, old_part)
        renamed[name] = tensor
    assert renamed.keys() != state.keys()
    save_file(renamed, folder / WEIGHTS_FILE)
    loaded = load_strictly(AutoencoderKL, folder).state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json is absent"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[" * 100_000), "is not JSON"),
        (lambda folder: (folder / "config.json").write_text(f'{{"a": {"7" * 5000}}}'), "is not JSON"),
        (lambda folder: (folder / WEIGHTS_FILE).unlink(), "pickled weights are never read"),
        (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b"12345678"), "is damaged"),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"})),
            "describes a UNet2DModel, but a AutoencoderKL was expected",
        ),
        (lambda folder: (folder / "config.json").write_text("[1]"), "holds a list, but a JSON object was expected"),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"block_out_channels": 3})),
            "config.json does not describe a AutoencoderKL",
        ),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"latent_channels": "two"})),
            "config.json does not describe a AutoencoderKL",
        ),
        (lambda folder: (folder / INDEX_FILE).write_text("{"), "index.json is not JSON"),
        (lambda folder: (folder / INDEX_FILE).write_text("[]"), "index.json holds a list"),
        (lambda folder: (folder / INDEX_FILE).write_text("{}"), "has no weight_map"),
        (lambda folder: (folder / INDEX_FILE).write_text('{"weight_map": {"a": 1}}'), "has no weight_map"),
    ],
    ids=[
        "no config",
        "broken config",
        "brackets in brackets",
        "too long a number",
        "no weights",
        "broken weights",
        "another class",
        "config no object",
        "widths no list",
        "channels no number",
        "broken index",
        "index no object",
        "index without files",
        "index of numbers",
    ],
)
def test_broken_folders(folder, spoil, said):
    spoil(folder)
    with pytest.raises(CheckpointError, match=said) as caught:
        load_strictly(AutoencoderKL, folder)
    assert "\n" not in str(caught.value)


def test_long_lists_are_counted():
    expected = {f"layer.{k}": torch.zeros(1) for k in range(10)}
    with pytest.raises(CheckpointError, match="missing: layer.0, layer.1, layer.2 and 7 more"):
        check_tensors("Network", "somewhere", {}, expected)
