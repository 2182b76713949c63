"""Distances of features against their formulas, picture by picture."""

import numpy as np
import pytest
import torch

from stages.inverters.feature_distances import DISTANCES, DISTS_SHARES, dists, normalised_squares
from stages.networks.vgg19_names import LAYERS


def features(shape, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(0.5, 1, (3, *shape)))


SHAPES = [(4, 5, 6), (7,)]


def likeness(found, wanted, layer):
    """Of one picture, channel by channel, in NumPy."""
    alpha, beta = DISTS_SHARES.get(layer, (1.0, 1.0))
    channels = zip(found, wanted) if found.ndim == 3 else [(found, wanted)]
    terms = []
    for one, other in channels:
        means = (2 * one.mean() * other.mean() + 1e-6) / (one.mean() ** 2 + other.mean() ** 2 + 1e-6)
        covariance = ((one - one.mean()) * (other - other.mean())).mean()
        terms.append(alpha * means + beta * (2 * covariance + 1e-6) / (one.var() + other.var() + 1e-6))
    return -np.mean(terms) / (alpha + beta)


def by_hand(name, found, wanted, layer="conv3_1"):
    difference = found - wanted
    if name == "squares":
        return (difference**2).sum()
    if name == "absolute":
        return np.abs(difference).sum()
    if name == "inner product":
        return -(found * wanted).sum()
    if name == "Gram":
        rows = [one.reshape(len(one), -1) for one in (found, wanted)]
        n, m = rows[0].shape
        return ((rows[0] @ rows[0].T - rows[1] @ rows[1].T) ** 2).sum() / (4 * n**2 * m**2)
    return 4 * likeness(found, wanted, layer) + (difference**2).sum() / (wanted**2).sum()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", DISTANCES)
def test_distances_vs_their_formulas(name, shape):
    found, wanted = features(shape, 0), features(shape, 1)
    expected = [by_hand(name, *pair) for pair in zip(found.numpy(), wanted.numpy())]
    np.testing.assert_allclose(DISTANCES[name](found, wanted, "conv3_1"), expected, rtol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_features_are_at_the_least_distance(shape):
    values = features(shape, 0)
    for name, least in (("squares", 0), ("absolute", 0), ("Gram", 0), ("DISTS and squares", -4)):
        found = values.clone().requires_grad_()
        distance = DISTANCES[name](found, values, "fc6")
        np.testing.assert_allclose(distance.detach(), least, atol=1e-6)
        (gradient,) = torch.autograd.grad(distance.sum(), found)
        assert gradient.abs().max() < 1e-5 or name == "absolute"
    for layer in ("conv1_1", "fc8", "of another network"):
        np.testing.assert_allclose(dists(values, values, layer), -1, atol=1e-9)


def test_nothing_found_is_at_1_from_whatever_is_wanted():
    for shape in SHAPES:
        np.testing.assert_allclose(normalised_squares(torch.zeros(3, *shape), features(shape, 1)), 1)


def test_shares_are_known_of_all_layers_before_their_rectifiers():
    assert list(DISTS_SHARES) == [name for name in LAYERS if name.startswith(("conv", "fc"))]
    # Some layers count by their means, some by their covariances.
    assert DISTS_SHARES["conv5_4"][0] > 100 * DISTS_SHARES["conv5_4"][1]
    assert DISTS_SHARES["conv2_1"][1] > 100 * DISTS_SHARES["conv2_1"][0]


def test_bdpys_critic_of_normalised_squares():
    critic = pytest.importorskip("bdpy.recon.torch.modules.critic").TargetNormalizedMSE()
    for shape in SHAPES:
        found, wanted = features(shape, 0), features(shape, 1)
        torch.testing.assert_close(normalised_squares(found, wanted), critic.compare_layer(found, wanted, ""))
