"""A network of depth in two halves, held against transformers' own whole one."""

import json

import pytest
import torch
from random_checkpoints import save_dpt
from safetensors.torch import load_file, save_file
from transformers import DPTForDepthEstimation

from stages.networks.dpt_depth import (
    hidden_levels,
    level_shape,
    load_depth_reader,
    load_dpt,
    load_dpt_level,
    read_depth,
)
from weights.manifest import CheckpointError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_dpt(tmp_path_factory.mktemp("dpt") / "network")


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_depth_of_true_states_is_the_depth_that_the_network_predicts(folder, pixels):
    with torch.no_grad():
        expected = DPTForDepthEstimation.from_pretrained(folder).eval()(pixels).predicted_depth
    levels = hidden_levels(load_dpt(folder), pixels)
    found = read_depth(load_depth_reader(folder), levels)
    assert found.shape == (2, 64, 64) and float(found.std()) > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    other = read_depth(load_depth_reader(folder), levels[::-1])
    assert not torch.allclose(other, expected, atol=1e-3), "the order of the levels matters"


def test_states_vs_the_blocks_one_by_one(folder, pixels):
    network = load_dpt(folder)
    with torch.no_grad():
        states, behind = network.dpt.embeddings(pixels).last_hidden_states, []
        for block in network.dpt.encoder.layer:
            states = block(states)
            behind.append(states)
    levels = hidden_levels(network, pixels)
    for level, block in enumerate([0, 2, 3, 5]):
        torch.testing.assert_close(levels[level], behind[block])
        # The blocks behind a level are not computed for it.
        (alone,) = hidden_levels(load_dpt_level(folder, level), pixels)
        torch.testing.assert_close(alone, levels[level])
    assert tuple(levels[0].shape[1:]) == level_shape(network.config) == (17, 8)


def test_a_layer_that_nothing_reads_may_be_there_or_not(folder, pixels, tmp_path):
    whole = save_dpt(tmp_path / "whole", whole=True)
    assert len(load_file(whole / "model.safetensors")) == len(load_file(folder / "model.safetensors")) + 4
    depths = [read_depth(network, hidden_levels(network, pixels)) for network in map(load_dpt, (whole, folder))]
    assert torch.equal(*depths)


@pytest.mark.parametrize(
    ("lost", "more", "said"),
    [
        ("neck.fusion_stage.layers.1.residual_layer1.convolution1.bias", {}, "layers.1.residual_layer1"),
        ("dpt.encoder.layer.3", {}, "layer.3"),
        (None, {"dpt.pooler.dense.bias": torch.ones(8)}, "pooler"),
        (None, {"head.head.4.bias": torch.ones(2)}, "head.head.4.bias"),
    ],
)
def test_another_file_is_refused(folder, tmp_path, lost, more, said):
    tensors = load_file(folder / "model.safetensors")
    kept = {name: one for name, one in tensors.items() if lost is None or not name.startswith(lost)}
    save_file(kept | more, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(CheckpointError, match=said):
        load_dpt(tmp_path)


def test_another_backbone_is_refused(tmp_path):
    from transformers import Dinov2Config, DPTConfig

    sizes = dict(hidden_size=8, num_hidden_layers=4, num_attention_heads=2, image_size=8, patch_size=4)
    backbone = Dinov2Config(**sizes, out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=False)
    config = DPTConfig(backbone_config=backbone, neck_hidden_sizes=[4, 4, 4, 4], fusion_hidden_size=4)
    DPTForDepthEstimation(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="another backbone, but its levels must be"):
        load_dpt(tmp_path)
    assert "backbone_config" in json.loads((tmp_path / "config.json").read_text())
