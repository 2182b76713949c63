"""Decoded features at their usual spread, against the published formula; what a layer counts."""

import numpy as np
import pytest

from stages.ground.errors import InputError
from stages.inverters.feature_scaling import SCALINGS, layer_weights, scaled, spread_of


def features(shape, seed=0):
    return (3 + 2 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


SHAPES = [(4, 5, 6), (40,)]


def by_hand(values, ddof):
    """Mean over channels of each channel's standard deviation, in loops."""
    channels = values.reshape(len(values), -1) if values.ndim == 3 else values[None]
    spreads = []
    for channel in channels.astype(np.float64):
        mean = sum(channel) / len(channel)
        spreads.append((sum((channel - mean) ** 2) / (len(channel) - ddof)) ** 0.5)
    return sum(spreads) / len(spreads)


@pytest.mark.parametrize("shape", SHAPES)
def test_spread_vs_loops(shape):
    for ddof in (0, 1):
        assert spread_of(features(shape), ddof) == pytest.approx(by_hand(features(shape), ddof), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_feature_std_vs_the_formula(shape):
    values = features(shape)
    expected = (values - values.mean()) / by_hand(values, 1) * 0.7 + values.mean()
    np.testing.assert_allclose(scaled(values, 0.7), expected, rtol=1e-5)
    assert scaled(values, 0.7).dtype == np.float32 and scaled(values, 0.7).shape == shape
    # No matter how weak the decoded features are, they come out with the usual spread about their own mean.
    np.testing.assert_allclose(scaled(0.01 * (values - 3) + 3, 0.7), (values - values.mean()) / by_hand(values, 1) * 0.7
                               + 0.01 * (values.mean() - 3) + 3, rtol=1e-3)  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_of_the_usual_spread_already_nothing_changes_and_the_mean_never_does(shape):
    values = features(shape)
    np.testing.assert_allclose(scaled(values, spread_of(values)), values, rtol=1e-5)
    assert scaled(values, 5.0).mean() == pytest.approx(values.mean(), rel=1e-5)
    about = scaled(values, 5.0, "feature_std_train_mean_center", features(shape, seed=1))
    assert about.mean() == pytest.approx(values.mean(), rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_spread_alone_takes_no_mean_off(shape):
    values = features(shape)
    np.testing.assert_allclose(scaled(values, 0.7, "spread"), values / by_hand(values, 0) * 0.7, rtol=1e-5)
    np.testing.assert_array_equal(scaled(values, 0.7, "none"), values)


def test_about_the_training_mean():
    values, mean = features((4, 5, 6)), features((4, 5, 6), seed=1)
    difference = values - mean
    expected = (difference - difference.mean()) / by_hand(difference, 1) * 0.7 + difference.mean() + mean
    found = scaled(values, 0.7, "feature_std_train_mean_center", mean)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_about_the_training_mean_by_the_spread_of_what_is_not_centred(shape):
    """Each channel by its own usual spread, where there is one for each."""
    values, mean, usual = features(shape), features(shape, seed=1), np.float32([0.5, 1, 2, 4])[:, None, None]
    usual = usual if len(shape) == 3 else 0.7
    expected = (values - mean) / by_hand(values, 1) * usual + mean
    np.testing.assert_allclose(scaled(values, usual, "spread_train_mean_center", mean), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaling", ["feature_std", "spread", "feature_std_train_mean_center"])
def test_usual_spreads_of_channels_are_averaged(scaling):
    values, mean, usual = features((4, 5, 6)), features((4, 5, 6), seed=1), np.float32([0.5, 1, 2, 4])
    found = scaled(values, usual[:, None, None], scaling, mean)
    np.testing.assert_allclose(found, scaled(values, 1.875, scaling, mean), rtol=1e-6)


@pytest.mark.parametrize("scaling", ["feature_std_train_mean_center", "spread_train_mean_center"])
def test_a_training_mean_that_is_needed_is_asked_for(scaling):
    with pytest.raises(InputError, match="training mean of shape None for features of shape"):
        scaled(features((40,)), 1.0, scaling)
    with pytest.raises(InputError, match=r"training mean of shape \(40,\) for features of shape \(4, 5, 6\)"):
        scaled(features((4, 5, 6)), 1.0, scaling, features((40,)))


@pytest.mark.parametrize("scaling", SCALINGS)
def test_features_that_do_not_vary_stay_as_they_are(scaling):
    for values in (np.zeros((2, 3, 3)), np.full(7, 4.0), np.ones((5, 1, 1))):
        np.testing.assert_array_equal(scaled(values, 2.0, scaling, np.zeros_like(values)), values)


def test_weights_are_shares_of_one_over_the_squared_norm():
    layers = {"a": features((4, 5, 6)), "b": features((40,)), "c": np.float32([0.5])}
    norms = np.array([np.linalg.norm(values.ravel()) for values in layers.values()])
    expected = norms**-2.0 / (norms**-2.0).sum()
    weights = layer_weights(layers)
    np.testing.assert_allclose(list(weights.values()), expected, rtol=1e-6)
    assert sum(weights.values()) == pytest.approx(1)
    doubled = layer_weights(layers | {"a": 2 * layers["a"]})
    assert doubled["a"] / doubled["b"] == pytest.approx(weights["a"] / weights["b"] / 4)


def test_zeros_count_for_all_and_make_no_nan():
    assert layer_weights({"a": np.zeros(3), "b": np.ones(2)}) == {
        "a": pytest.approx(1),
        "b": pytest.approx(0, abs=1e-30),
    }
    assert layer_weights({"a": np.zeros(3), "b": np.zeros(2)}) == {"a": 0.5, "b": 0.5}


def test_an_unknown_way_is_refused():
    with pytest.raises(InputError, match="scaling is 'standard'"):
        scaled(np.ones(3), 1.0, "standard")
