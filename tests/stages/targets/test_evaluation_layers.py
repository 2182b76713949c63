"""Layers of the evaluation network: its trunk written out, its own features, and the heads that read them."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.evaluation_network import EvaluationNetwork
from stages.targets.evaluation_layers import EvaluationLayer, layers_of
from stages.targets.evaluation_names import LAYERS
from weights import store


@pytest.fixture(scope="module")
def network():
    return EvaluationNetwork.from_pretrained(store.path("tiny-evaluation"))


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def test_maps_vs_the_modules_one_by_one(network, pictures):
    """A halving and a residual block make a level; what is behind them is what the next one reads."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    with torch.no_grad():
        for level, layer in enumerate(LAYERS[:-1]):
            halving, residual = network.trunk[2 * level], network.trunk[2 * level + 1]
            x = functional.relu(halving.norm(halving.convolution(x)))
            change = residual.second_norm(residual.second(functional.relu(residual.first_norm(residual.first(x)))))
            x = functional.relu(x + change)
            target = EvaluationLayer(network, layer)
            assert target.shape == tuple(x.shape[1:])
            np.testing.assert_allclose(target.encode(pictures, batch_size=2), x.flatten(1).numpy(), atol=1e-4)


def test_the_features_are_the_networks_own(network, pictures):
    found = EvaluationLayer(network, "features").encode(pictures)
    np.testing.assert_allclose(found, network.embed(pictures), atol=1e-5)
    larger = pictures.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(EvaluationLayer(network, "features").encode(larger), network.embed(larger), atol=1e-5)


def test_a_gradient_passes_to_pictures(network):
    pictures = torch.rand(1, 3, 64, 64, requires_grad=True)
    found = layers_of(network, pictures, ("features", "maps1"))
    assert list(found) == ["features", "maps1"]
    (gradient,) = torch.autograd.grad(found["features"].square().sum(), pictures)
    assert float(gradient.abs().sum()) > 0


def test_another_layer_is_refused(network):
    with pytest.raises(InputError, match="layer is 'maps4'; expected"):
        EvaluationLayer(network, "maps4")
