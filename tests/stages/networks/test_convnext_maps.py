"""The network of places: timm's ConvNeXt and the projector written out, the published names, the published size."""

import pytest
import timm
import torch
from random_checkpoints import published_place_name
from timm.models.convnext import checkpoint_filter_fn
from torch.nn import functional

from stages.networks.convnext_maps import ConvNeXtMaps, own_name

SMALL = ((1, 2, 3, 1), (8, 12, 16, 20), (14, 10, 6))


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ConvNeXtMaps(*SMALL).eval()
        for parameter in network.parameters():
            # Gains and biases as well, which would be 1 and 0.
            torch.nn.init.normal_(parameter, 0.2, 0.3)
    return network


def published(network):
    return {published_place_name(name): value for name, value in network.state_dict().items()}


def test_it_is_timms_network_under_the_published_names(network):
    depths, widths, _ = SMALL
    theirs = timm.models.convnext.ConvNeXt(depths=depths, dims=widths, num_classes=0, ls_init_value=None).eval()
    state = {name.removeprefix("backbone."): value for name, value in published(network).items() if "backbone" in name}
    loaded = theirs.load_state_dict(checkpoint_filter_fn(state, theirs), strict=False)
    assert all(name.startswith("head") for name in (*loaded.missing_keys, *loaded.unexpected_keys)), loaded
    pictures = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = theirs.stages(theirs.stem(pictures)).flatten(2).transpose(1, 2)
        mine = network.features(pictures).flatten(2).transpose(1, 2)
        torch.testing.assert_close(mine, maps, rtol=1e-4, atol=1e-4 * maps.std().item())


def test_places_are_the_last_map_normalised_and_projected(network):
    state = network.state_dict()
    pictures = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        values = network.features(pictures).flatten(2).transpose(1, 2)
        values = functional.layer_norm(values, (20,), state["norm.weight"], state["norm.bias"], 1e-6)
        for first in ("0", "3"):
            values = values @ state[f"maps_projector.{first}.weight"].T + state[f"maps_projector.{first}.bias"]
            second = f"maps_projector.{int(first) + 1}"
            values = functional.layer_norm(
                values, values.shape[-1:], state[f"{second}.weight"], state[f"{second}.bias"]
            )
            values = values.clamp(min=0)
        expected = values @ state["maps_projector.6.weight"].T
        torch.testing.assert_close(network(pictures), expected, rtol=1e-5, atol=1e-5)
    assert expected.shape == (2, 6, 6) and "maps_projector.6.bias" not in state


def test_names_are_those_of_the_published_file(network):
    names = published(network)
    assert {own_name(f"module.{name}") for name in names} == set(network.state_dict())
    assert {own_name(name) for name in names} == set(network.state_dict())
    for name in ("backbone.stages.0.0.gamma", "module.projector.3.weight", "classifier.weight"):
        assert own_name(name) is None
    assert own_name("backbone.head.weight") == "head.weight"


def test_the_published_size():
    with torch.device("meta"):
        network = ConvNeXtMaps()
        theirs = timm.create_model("convnext_xlarge", num_classes=0)
    scales = sum(one.numel() for name, one in theirs.named_parameters() if name.endswith("gamma"))
    own = sum(one.numel() for name, one in network.named_parameters() if not name.startswith("maps_projector"))
    assert own == sum(one.numel() for one in theirs.parameters()) - scales == 348_111_872
    assert sum(one.numel() for one in network.maps_projector.parameters()) == 1_575_936
    assert network(torch.empty(1, 3, 512, 512, device="meta")).shape == (1, 256, 512)
    # MindEye2 holds its blurry latents against places of 224 pixels.
    assert network(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 49, 512)
