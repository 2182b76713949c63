"""Spectral normalisation against singular values, and against the published formula written out."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from stages.networks.spectral_norm import SpectralConv2d, SpectralLinear, estimated_norm


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_one_step_is_the_published_formula(generator):
    weight, u = torch.randn(5, 3, 2, 2, generator=generator), torch.randn(1, 5, generator=generator)
    matrix, vector = weight.numpy().reshape(5, 12).astype(np.float64), u.numpy()[0].astype(np.float64)
    v = matrix.T @ vector
    v /= np.sqrt((v**2).sum())
    better = matrix @ v / np.sqrt(((matrix @ v) ** 2).sum())
    norm, found = estimated_norm(weight, u)
    assert norm.item() == pytest.approx(better @ matrix @ v, rel=1e-5)
    assert norm.item() == pytest.approx(np.linalg.norm(matrix @ v), rel=1e-5)
    np.testing.assert_allclose(found.numpy()[0], better, atol=1e-6)


@pytest.mark.parametrize("layer", [SpectralLinear(7, 5), SpectralConv2d(3, 5), SpectralConv2d(3, 5, kernel=1)])
def test_training_approaches_the_largest_singular_value(layer):
    largest = torch.linalg.svdvals(layer.weight.flatten(1))[0].item()
    before, _ = estimated_norm(layer.weight, layer.u0)
    assert before <= largest * (1 + 1e-6)
    layer.train()
    for _ in range(200):
        layer.normalised()
    assert layer.sv0.item() == pytest.approx(largest, rel=1e-5)
    assert torch.linalg.svdvals(layer.normalised().flatten(1))[0].item() == pytest.approx(1, rel=1e-5)


def test_evaluation_leaves_the_stored_vector_and_uses_no_stored_norm(generator):
    layer = SpectralLinear(7, 5).eval()
    layer.sv0.fill_(1000)
    kept, x = layer.u0.clone(), torch.randn(2, 7, generator=generator)
    norm, _ = estimated_norm(layer.weight, kept)
    torch.testing.assert_close(layer(x), functional.linear(x, layer.weight / norm, layer.bias))
    assert torch.equal(layer.u0, kept)


def test_the_length_of_the_stored_vector_does_not_matter(generator):
    weight, u = torch.randn(5, 7, generator=generator), torch.randn(1, 5, generator=generator)
    assert estimated_norm(weight, u)[0].item() == pytest.approx(estimated_norm(weight, 30 * u)[0].item(), rel=1e-5)


@pytest.mark.parametrize("layer, shape", [(SpectralLinear(7, 5), (2, 7)), (SpectralConv2d(3, 5), (2, 3, 4, 4))])
def test_dividing_once_changes_nothing(layer, shape, generator):
    x = torch.randn(shape, generator=generator)
    layer.eval()
    before = layer(x)
    layer.divide()
    layer.divide()
    torch.testing.assert_close(layer(x), before)


def test_the_gradient_takes_the_vectors_for_constants(generator):
    weight = torch.randn(5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    u = torch.randn(1, 5, generator=generator, dtype=torch.float64)
    norm, left = estimated_norm(weight, u)
    norm.backward()
    v = functional.normalize(u @ weight.detach(), dim=1)
    torch.testing.assert_close(weight.grad, left.t() @ v)
