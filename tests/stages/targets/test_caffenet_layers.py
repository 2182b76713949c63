"""Layers of CaffeNet as targets: the recipe's preparation, and its thousand units of each layer."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from random_caffenet import save_caffenet

from stages.ground.errors import InputError
from stages.networks.caffenet import CONVOLUTIONS, FULL, load_caffenet
from stages.targets.caffenet_layers import CaffeNetLayer
from stages.targets.network_layers import Units

LAYERS = (*CONVOLUTIONS, *FULL)
MEANS = np.array([104.00698793, 116.66876762, 122.67891434])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("caffenet")
    save_caffenet(place)
    return place


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 50, 90, 3), dtype=np.uint8)


@pytest.mark.parametrize("layer", ["conv1", "conv5", "fc6", "fc8"])
def test_values_vs_the_recipe_written_out(folder, pictures, layer):
    """Bicubic to the square without keeping the aspect, blue first, less the means; before the rectifier."""
    target = CaffeNetLayer.from_pretrained(folder, layer)
    side = target.network.config.picture
    squares = np.stack([np.array(Image.fromarray(one).resize((side, side), Image.BICUBIC)) for one in pictures])
    given = (squares[..., ::-1].astype(float) - MEANS).transpose(0, 3, 1, 2).astype(np.float32)
    expected = load_caffenet(folder)(torch.from_numpy(given), (layer,))[layer].flatten(1).numpy()
    found = target.encode(pictures, batch_size=2)
    assert (found < 0).any() and target.name == f"caffenet_{layer}"
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.std(), rtol=1e-4)


def test_units_are_the_recipes_draw(folder, pictures):
    """The generator is seeded once; each layer's permutation comes after those of the layers before it."""
    sizes = {layer: CaffeNetLayer.from_pretrained(folder, layer).n_targets for layer in LAYERS}
    np.random.seed(2501)
    drawn = {layer: np.random.permutation(sizes[layer])[:20] for layer in LAYERS}
    for layer in ("conv1", "conv3", "fc6", "fc8"):
        target = CaffeNetLayer.from_pretrained(folder, layer, units=Units(20, 2501, LAYERS))
        whole = CaffeNetLayer.from_pretrained(folder, layer).encode(pictures)
        np.testing.assert_array_equal(target.encode(pictures), whole[:, drawn[layer]])
        assert target.shape == (min(20, sizes[layer]),) == (target.n_targets,)


def test_choices_of_units_have_keys_of_their_own_and_are_plain(folder):
    chosen = [
        None,
        Units(20, 2501, LAYERS),
        Units(20, 2502, LAYERS),
        Units(10, 2501, LAYERS),
        Units(20, 2501, LAYERS[::-1]),
    ]
    keys = {json.dumps(CaffeNetLayer.from_pretrained(folder, "fc6", units=units).preprocessing) for units in chosen}
    assert len(keys) == len(chosen)
    with pytest.raises(InputError, match="layer is 'conv9'"):
        CaffeNetLayer.from_pretrained(folder, "conv9")
    with pytest.raises(InputError, match="layer is 'fc8'"):
        CaffeNetLayer.from_pretrained(folder, "fc8", units=Units(20, 2501, ("conv1", "fc6")))
