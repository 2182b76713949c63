"""Correlations of decoded features: against loops over units and over stimuli, streamed or not, and what they refuse."""

import numpy as np
import pytest

from brainrecon.evaluation.metrics.feature_correlation import FeatureCorrelation, columns_at_once, correlate_features
from brainrecon.evaluation.metrics.identification import identification_rates, two_way_identification
from stages.ground.errors import InputError


def simulated(n=20, n_units=70, seed=0, noise=1.0):
    random = np.random.default_rng(seed)
    true = random.normal(size=(n, n_units)) * random.lognormal(size=n_units) + 5 * random.normal(size=n_units)
    return true, true + noise * random.normal(size=true.shape) * true.std(axis=0)


def profile_written_out(true, predicted):
    """Unit by unit, as KamitaniLab's evaluation has it: a correlation for each, NaN if it does not vary, then nanmean."""
    with np.errstate(invalid="ignore"):
        each = [np.corrcoef(true[:, unit], predicted[:, unit])[0, 1] for unit in range(true.shape[1])]
    return np.nanmean(each), int(np.isnan(each).sum())


def pattern_written_out(true, predicted, mean, std):
    z, other = ((one - mean) / std for one in (true, predicted))
    return np.array([[np.corrcoef(z[i], other[j])[0, 1] for j in range(len(z))] for i in range(len(z))])


class Columns:
    """Values that are read by columns alone, and notes the widest block."""

    def __init__(self, values):
        self._values, self.shape, self.widest = values, values.shape, 0

    def columns(self, start, stop):
        self.widest = max(self.widest, stop - start)
        return self._values[:, start:stop]


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_profile_and_patterns_are_those_of_loops(dtype):
    true, predicted = (one.astype(dtype) for one in simulated())
    mean, std = true.mean(axis=0) + 0.1, true.std(axis=0, ddof=1)
    found = correlate_features(true, predicted, (mean, std))
    assert found.profile == pytest.approx(profile_written_out(true, predicted)[0], abs=1e-6 if dtype == "f4" else 1e-12)
    np.testing.assert_allclose(found.patterns, pattern_written_out(true, predicted, mean, std), atol=1e-5)
    np.testing.assert_allclose(
        identification_rates(found.similarity), two_way_identification(true, predicted), atol=1e-12
    )
    assert (found.n_units, found.n_constant) == (70, 0)


def test_units_that_do_not_vary_are_left_out_and_counted():
    true, predicted = simulated()
    true[:, 3], predicted[:, 5] = 7.5, 0.5
    true[:, 8] = predicted[:, 8] = 2.0
    found = correlate_features(true, predicted)
    mean, n_constant = profile_written_out(true, predicted)
    assert (found.n_constant, n_constant, found.n_correlated) == (3, 3, 67)
    assert found.profile == pytest.approx(mean, abs=1e-12)
    # Numbers whose mean is not themselves, but for the last digit, do not vary either; and what barely varies does.
    true[:, 3], predicted[:, 5] = 0.1, 1e8 + 0.1
    true[:, 8] = 1e5 + 1e-6 * np.arange(20)
    assert correlate_features(true, predicted).n_constant == 3
    predicted[:, 8] = 1e5 + 1e-6 * np.arange(20)
    assert correlate_features(true, predicted).n_constant == 2


def test_nothing_that_varies_has_no_profile_and_a_flat_pattern_no_similarity():
    flat = correlate_features(np.ones((4, 6)), simulated(4, 6)[1])
    assert np.isnan(flat.profile) and np.isnan(flat.profile_values).all() and np.isnan(flat.similarity).all()
    assert flat.patterns is None and flat.n_correlated == 0


def test_a_prediction_of_the_training_mean_has_an_undefined_pattern():
    true, predicted = simulated()
    mean, std = true.mean(axis=0), true.std(axis=0)
    predicted[2] = mean
    patterns = correlate_features(true, predicted, (mean, std)).patterns
    assert np.isnan(patterns[:, 2]).all() and np.isfinite(np.delete(patterns, 2, axis=1)).all()


def test_a_training_deviation_of_zero_is_one():
    true, predicted = simulated()
    mean, std = true.mean(axis=0), true.std(axis=0)
    std[4] = 0.0
    found = correlate_features(true, predicted, (mean, std)).patterns
    std[4] = 1.0
    np.testing.assert_allclose(found, pattern_written_out(true, predicted, mean, std), atol=1e-12)


def test_blocks_of_columns_change_nothing_and_are_never_whole():
    n = 400
    width = columns_at_once(n)
    true, predicted = simulated(n, width + 70)
    lazy = Columns(true), Columns(predicted)
    mean, std = true.mean(axis=0), true.std(axis=0)
    streamed = correlate_features(*lazy, lambda start, stop: (mean[start:stop], std[start:stop]))
    assert lazy[0].widest == lazy[1].widest == width < true.shape[1]
    whole = FeatureCorrelation(n)
    whole.add(true, predicted, (mean, std))
    assert streamed.profile == pytest.approx(whole.profile, abs=1e-12)
    np.testing.assert_allclose(streamed.patterns, whole.patterns, atol=1e-10)
    np.testing.assert_allclose(streamed.profile_values, whole.profile_values, atol=1e-12)


def test_the_order_of_stimuli_and_of_units_changes_nothing():
    true, predicted = simulated()
    rows, units = np.random.default_rng(1).permutation(20), np.random.default_rng(2).permutation(70)
    one, other = (
        correlate_features(true, predicted),
        correlate_features(true[rows][:, units], predicted[rows][:, units]),
    )
    assert one.profile == pytest.approx(other.profile, abs=1e-12)
    np.testing.assert_allclose(one.profile_values[rows], other.profile_values, atol=1e-12)
    np.testing.assert_allclose(one.similarity[np.ix_(rows, rows)], other.similarity, atol=1e-12)


def test_a_permutation_of_responses_picks_other_entries():
    true, predicted = simulated()
    order = np.random.default_rng(3).permutation(20)
    picked = correlate_features(true, predicted).profiles[np.arange(20), order].mean()
    assert picked == pytest.approx(profile_written_out(true, predicted[order])[0], abs=1e-12)


def test_the_part_of_a_stimulus_is_its_influence():
    """Twice the weight of a stimulus, a little at a time, moves the correlation as its value says."""
    true, predicted = simulated(12, 30)
    found, step = correlate_features(true, predicted), 1e-6

    def weighted(weights):
        weights = weights / weights.sum()
        one, other = (side - weights @ side for side in (true, predicted))
        norms = np.sqrt((weights @ one**2) * (weights @ other**2))
        return np.mean((weights @ (one * other)) / norms)

    for row in range(12):
        heavier = np.ones(12)
        heavier[row] += step
        slope = (weighted(heavier) - weighted(np.ones(12))) / step * 12
        assert found.profile_values[row] - found.profile == pytest.approx(slope, abs=1e-4)
    assert found.profile_values.mean() == pytest.approx(found.profile, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
def test_magnitudes_do_not_matter(scale):
    true, predicted = simulated()
    assert correlate_features(true * scale, predicted).profile == pytest.approx(
        correlate_features(true, predicted).profile
    )


@pytest.mark.parametrize(
    "true, predicted, said",
    [
        (np.ones((5, 3)), np.ones((5, 4)), r"\(5, 3\) and decoded ones \(5, 4\)"),
        (np.ones((5, 0)), np.ones((5, 0)), r"expected \(n_stimuli, n_units\)"),
        (np.ones(5), np.ones(5), r"expected \(n_stimuli, n_units\)"),
        (np.ones((2, 9)), np.ones((2, 9)), "over 2 stimuli; expected at least 3"),
        (np.full((5, 3), np.nan), np.ones((5, 3)), "3 units hold NaN or infinite"),
        (np.ones((5, 3)), np.array([[np.inf, 1, 2]] * 5), "1 units hold NaN or infinite"),
    ],
)
def test_what_cannot_be_compared_is_refused(true, predicted, said):
    with pytest.raises(InputError, match=said):
        correlate_features(true, predicted)


def test_blocks_of_other_stimuli_are_refused():
    with pytest.raises(InputError, match=r"expected \(4, n_columns\) of both"):
        FeatureCorrelation(4).add(np.ones((5, 2)), np.ones((5, 2)))
