"""A head of one value: as many parameters as its layers, written out in NumPy, all of them trained."""

import numpy as np
import pytest
import torch
from scipy.special import erf

from stages.networks.token_head import TokenHead

SIZES = {"hidden": 12, "n_blocks": 2, "projected": 7}


def head(gives, n_voxels=9, **changed):
    torch.manual_seed(0)
    network = TokenHead(n_voxels, gives, **SIZES | changed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network.eval()


def written_out(network, patterns):
    """What the layers do, in float64."""
    known = {name: one.detach().double().numpy() for name, one in network.mlp.named_parameters()}

    def linear(values, name):
        return values @ known[f"{name}.weight"].T + known[f"{name}.bias"]

    def norm(values, name):
        mean, variance = values.mean(-1, keepdims=True), values.var(-1, keepdims=True)
        return (values - mean) / np.sqrt(variance + 1e-5) * known[f"{name}.weight"] + known[f"{name}.bias"]

    def gelu(values):
        return values * (1 + erf(values / np.sqrt(2))) / 2

    values = gelu(norm(linear(patterns, "lin0.0"), "lin0.1"))
    for block in range(2):
        values = gelu(norm(linear(values, f"mlp.{block}.0"), f"mlp.{block}.1")) + values
    n_tokens, width = network.mlp.shape
    values = linear(values, "lin1").reshape(-1, n_tokens, width)
    for normed, layer in ((0, 2), (3, 5), (6, 8)):
        values = linear(gelu(norm(values, f"projector.{normed}")), f"projector.{layer}")
    return values


@pytest.mark.parametrize("shape", [(3, 8), (8,)])
def test_it_is_its_layers_written_out(shape):
    network, patterns = head({"clip_text": shape}), np.random.default_rng(0).standard_normal((5, 9))
    found = network(torch.from_numpy(patterns).float())
    assert list(found) == ["clip_text"] and found["clip_text"].shape == (5, *shape)
    expected = written_out(network, patterns).reshape(5, *shape)
    np.testing.assert_allclose(found["clip_text"].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(257, 768), (77, 768), (768,)])
def test_parameters_at_full_size(shape):
    with torch.device("meta"):
        network = TokenHead(4000, {"value": shape})
    n, h, outputs = 4000, 2048, int(np.prod(shape))
    # MindEye's projector of 768 and 2,048 values is of the size that is recorded of it.
    expected = n * h + h + 2 * h + 4 * (h * h + h + 2 * h) + h * outputs + outputs + 7_354_624
    assert sum(one.numel() for one in network.parameters()) == expected
    assert sum(one.numel() for one in network.mlp.projector.parameters()) == 7_354_624
    keys = {f"mlp.{name}" for name in ("lin1.weight", "lin1.bias")}
    keys |= {
        f"mlp.{layer}.{part}.{kind}"
        for layer in ("lin0", *(f"mlp.{block}" for block in range(4)))
        for part in (0, 1)
        for kind in ("weight", "bias")
    }
    keys |= {f"mlp.projector.{part}.{kind}" for part in (0, 2, 3, 5, 6, 8) for kind in ("weight", "bias")}
    assert set(network.state_dict()) == keys


def test_every_parameter_is_trained():
    network = head({"clip_text": (3, 8)}).train()
    network(torch.randn(6, 9))["clip_text"].square().sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in network.parameters())


def test_dropout_is_what_was_asked_for():
    network = TokenHead(9, {"value": (8,)}, **SIZES)
    shares = [one.p for one in network.modules() if isinstance(one, torch.nn.Dropout)]
    assert shares == [0.5, 0.15, 0.15]
    shares = [
        one.p
        for one in TokenHead(9, {"value": (8,)}, **SIZES, dropout=[0, 0]).modules()
        if isinstance(one, torch.nn.Dropout)
    ]
    assert shares == [0, 0, 0]
