"""Layers of VGG19 as targets: what the network is given, in either order of the colours, and what each layer is called."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from random_vgg19 import save_vgg19, vgg19

from stages.checkpoints.outlines import count_operations, outlines
from stages.ground.errors import InputError
from stages.networks.vgg19 import VGG19
from stages.targets.vgg19_layers import VGG19Layer

MEANS = np.array([104.00698793, 116.66876762, 122.67891434])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("vgg19") / "network"
    save_vgg19(place)
    return place


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize("channels", ["BGR", "RGB"])
@pytest.mark.parametrize("layer", ["conv1_2", "conv3_4", "fc6", "fc8", "relu7"])
def test_values_vs_the_steps_written_out(folder, pictures, layer, channels):
    """The means are those of blue, green and red in this order, whichever colour comes first."""
    target = VGG19Layer.from_pretrained(folder, layer, channels=channels)
    given = np.stack([np.array(Image.fromarray(one).resize((32, 32), Image.BICUBIC)) for one in pictures]).astype(float)
    given = given[..., ::-1] - MEANS if channels == "BGR" else given - MEANS
    shown = torch.from_numpy(given.transpose(0, 3, 1, 2).astype(np.float32).copy())
    expected = vgg19()(shown, (layer,))[layer].flatten(1).numpy()
    found = target.encode(pictures, batch_size=2)
    assert found.shape == (3, target.n_targets) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.std(), rtol=1e-4)


def test_the_order_of_the_colours_is_seen(folder, pictures):
    """It is no matter of the last picture alone: a network that tells channels apart has other values for either order."""
    one, other = (
        VGG19Layer.from_pretrained(folder, "fc7", channels=order).encode(pictures) for order in ("BGR", "RGB")
    )
    assert np.abs(one - other).max() > 0.01 * one.std()
    # Of a picture whose colours are swapped beforehand the two agree.
    swapped = VGG19Layer.from_pretrained(folder, "fc7", channels="RGB").encode(pictures[..., ::-1])
    np.testing.assert_allclose(swapped, one, atol=1e-5 * one.std(), rtol=1e-4)


def test_layers_have_names_and_keys_of_their_own(folder):
    layers = [
        VGG19Layer.from_pretrained(folder, name, channels=order) for name in ("fc6", "fc7") for order in ("BGR", "RGB")
    ]
    assert [one.name for one in layers] == ["vgg19_fc6"] * 2 + ["vgg19_fc7"] * 2
    assert len({json.dumps(one.preprocessing) for one in layers}) == 4
    with pytest.raises(InputError, match="layer is 'fc9'"):
        VGG19Layer.from_pretrained(folder, "fc9")
    with pytest.raises(InputError, match="channels is 'GRB'"):
        VGG19Layer.from_pretrained(folder, "fc8", channels="GRB")


def test_published_sizes_of_the_layers_that_are_decoded():
    with torch.device("meta"):
        network = VGG19().eval()
    names = ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4", "fc6", "fc7", "fc8")
    sizes = [VGG19Layer(network, name).n_targets for name in names]
    assert sizes == [3_211_264, 1_605_632, 802_816, 401_408, 100_352, 4096, 4096, 1000] and sum(sizes) == 6_130_664


def test_an_outline_counts_what_a_layer_costs(folder, pictures):
    with outlines():
        costs = [
            count_operations(lambda layer=layer: VGG19Layer.from_pretrained(folder, layer, "meta").encode(pictures[:1]))
            for layer in ("conv1_2", "conv4_4", "fc8")
        ]
    assert 0 < costs[0] < costs[1] < costs[2]


def test_the_leaky_variant_is_another_target(folder, pictures):
    """From the same file; the original's key stays what it was."""
    original = VGG19Layer.from_pretrained(folder, "fc7")
    leaky = VGG19Layer.from_pretrained(folder, "fc7", variant="leaky")
    assert (original.name, leaky.name) == ("vgg19_fc7", "vgg19_leaky_fc7")
    assert leaky.preprocessing == original.preprocessing | {"slope": 0.2, "pooling": "average"}
    assert list(original.preprocessing) == ["resize", "interpolation", "channels", "less", "layer"]
    one, other = original.encode(pictures), leaky.encode(pictures)
    assert np.abs(one - other).max() > 0.1 * one.std()
