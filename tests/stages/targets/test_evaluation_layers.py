"""Layers of the embedded evaluation network as targets, against hooks on the network."""

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.networks.evaluation_network import EvaluationNetwork
from stages.targets.evaluation_layers import EvaluationLayer, layers_of
from stages.targets.evaluation_names import LAYERS
from stages.targets.network_layers import Units
from weights import store


@pytest.fixture(scope="module")
def network():
    return EvaluationNetwork.from_pretrained(store.path("tiny-evaluation"))


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 50, 90, 3), dtype=np.uint8)


def test_every_layer_vs_hooks(network, pictures):
    """What `embed` and `classify` go through, one module after the other."""
    seen, modules = {}, dict(zip(LAYERS, [*network.trunk, network.features, network.heads["category"]], strict=True))
    hooks = [
        module.register_forward_hook(
            lambda module, given, found, name=name: seen.update({name: found.flatten(1).numpy()})
        )
        for name, module in modules.items()
    ]
    network.classify(pictures)
    for hook in hooks:
        hook.remove()
    for name, expected in seen.items():
        target = EvaluationLayer(network, name)
        assert target.n_targets == expected.shape[1] and target.name == f"evaluation_{name}"
        np.testing.assert_allclose(
            target.encode(pictures, batch_size=2), expected, atol=1e-4 * expected.std(), rtol=1e-4
        )
    np.testing.assert_array_equal(EvaluationLayer(network, "features").encode(pictures), network.embed(pictures, 8))


def test_some_units_of_a_layer(network, pictures):
    target = EvaluationLayer(network, "features", units=Units(5, 2501, LAYERS))
    np.random.seed(2501)
    drawn = [np.random.permutation(EvaluationLayer(network, layer).n_targets)[:5] for layer in LAYERS]
    expected = network.embed(pictures)[:, drawn[LAYERS.index("features")]]
    np.testing.assert_allclose(target.encode(pictures), expected, atol=1e-5)
    with pytest.raises(InputError, match="layer is 'maps7'"):
        EvaluationLayer(network, "maps7")


def test_a_gradient_passes_to_pictures(network):
    pictures = torch.rand(1, 3, 64, 64, requires_grad=True)
    found = layers_of(network, pictures, ("features", "maps1"))
    assert list(found) == ["features", "maps1"]
    (gradient,) = torch.autograd.grad(found["features"].square().sum(), pictures)
    assert float(gradient.abs().sum()) > 0
