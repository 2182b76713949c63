"""MindEye's networks: as many parameters as published, under their names, and their arithmetic written out."""

import pytest
import torch
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.voxel_mlp import BlurryLatent, VoxelMLP


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_are_as_many_as_published_and_bear_their_names():
    with torch.device("meta"):
        network, blurry = VoxelMLP(15724), BlurryLatent(15724)
    assert (n_parameters(network), n_parameters(network.projector)) == (947_579_904, 7_354_624)
    assert (n_parameters(blurry), n_parameters(blurry.upsampler)) == (206_065_604, 6_841_668)
    both = ("weight", "bias")
    expected = {f"lin0.{layer}.{kind}" for layer in (0, 1) for kind in both}
    expected |= {f"mlp.{block}.{layer}.{kind}" for block in range(4) for layer in (0, 1) for kind in both}
    expected |= {f"lin1.{kind}" for kind in both}
    expected |= {f"projector.{layer}.{kind}" for layer in (0, 2, 3, 5, 6, 8) for kind in both}
    assert network.state_dict().keys() == expected
    own = {name for name in blurry.state_dict() if not name.startswith("upsampler.")}
    expected = {"lin0.0.weight", "lin1.weight", "norm.weight", "norm.bias"} | {f"lin0.1.{kind}" for kind in both}
    expected |= {f"mlp.{block}.{name}" for block in range(4) for name in ("0.weight", "1.weight", "1.bias")}
    expected |= {f"maps_projector.{layer}.{kind}" for layer in (1, 4, 6) for kind in both}
    expected |= {"maps_projector.0.weight", "maps_projector.3.weight"}
    assert own == expected


def test_the_network_vs_its_layers_written_out():
    torch.manual_seed(0)
    network = VoxelMLP(n_voxels=20, n_tokens=3, width=4, hidden=10, n_blocks=2, projected=6).eval()
    weights, patterns = network.state_dict(), torch.randn(5, 20)

    def linear(x, name):
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x, name):
        return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = functional.gelu(norm(linear(patterns, "lin0.0"), "lin0.1"))
    for block in range(2):
        x = functional.gelu(norm(linear(x, f"mlp.{block}.0"), f"mlp.{block}.1")) + x
    expected = linear(x, "lin1").reshape(5, 3, 4)
    x = expected
    for first, second in ((0, 2), (3, 5), (6, 8)):
        x = linear(functional.gelu(norm(x, f"projector.{first}")), f"projector.{second}")
    with torch.inference_mode():
        backbone, projected = network(patterns)
    torch.testing.assert_close(backbone, expected)
    torch.testing.assert_close(projected, x)


def test_training_leaves_out_the_published_shares():
    with torch.device("meta"):
        network, blurry = VoxelMLP(10), BlurryLatent(10)
    for model, share in ((network, 0.15), (blurry, 0.25)):
        assert model.lin0[3].p == 0.5 and {block[3].p for block in model.mlp} == {share}


def test_a_latent_has_four_times_the_sides_of_its_map():
    torch.manual_seed(0)
    network = BlurryLatent(30, hidden=16, map_shape=(32, 4, 4), channels=(32, 32, 64)).eval()
    with torch.inference_mode():
        latents, places = network(torch.randn(2, 30))
        (alone, _) = network(torch.zeros(1, 30))
    assert latents.shape == (2, 4, 16, 16) and places.shape == (2, 16, 512) and alone.shape == (1, 4, 16, 16)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="n_voxels is 0"):
        VoxelMLP(0)
    with pytest.raises(InputError, match="n_blocks is -1"):
        BlurryLatent(5, n_blocks=-1)
