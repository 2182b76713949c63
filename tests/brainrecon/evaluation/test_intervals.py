"""Bootstrap intervals: what they cover, and what they refuse."""

import numpy as np
import pytest
from scipy import stats

from brainrecon.evaluation.intervals import bootstrap_difference, bootstrap_mean
from brainrecon.evaluation.metrics import two_way_identification
from stages.errors import InputError


def coverage(n, experiments, draw, true_mean, n_resamples=2000):
    random = np.random.default_rng(n)
    covered = 0
    for experiment in range(experiments):
        estimate = bootstrap_mean(draw(random, n), n_resamples=n_resamples, seed=experiment)
        covered += estimate.ci_low <= true_mean <= estimate.ci_high
    return covered / experiments


@pytest.mark.parametrize("n", [20, 100])
def test_covers_a_normal_mean(n):
    covered = coverage(n, 1000, lambda random, n: random.normal(0.3, 2.0, n), 0.3)
    assert 0.93 <= covered <= 0.97


def test_covers_a_bounded_skewed_mean():
    # Success rates near the ceiling look like this.
    covered = coverage(100, 1000, lambda random, n: random.beta(6, 1, n), 6 / 7)
    assert 0.93 <= covered <= 0.97


def test_agrees_with_student_on_normal_values():
    values = np.random.default_rng(0).normal(size=50)
    estimate = bootstrap_mean(values, n_resamples=50_000)
    low, high = stats.t.interval(0.95, 49, loc=values.mean(), scale=stats.sem(values))
    width = high - low
    assert estimate.mean == pytest.approx(values.mean(), abs=1e-15)
    assert abs(estimate.ci_low - low) < 0.05 * width and abs(estimate.ci_high - high) < 0.05 * width


def test_same_seed_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_more_stimuli_narrow_the_interval():
    values = np.random.default_rng(0).normal(size=1600)
    widths = [(lambda e: e.ci_high - e.ci_low)(bootstrap_mean(values[:n])) for n in (25, 100, 400, 1600)]
    assert (np.diff(widths) < 0).all()


def test_shifts_and_scales_with_the_values():
    values = np.random.default_rng(0).random(40)
    one, other = bootstrap_mean(values), bootstrap_mean(10 + 2 * values)
    np.testing.assert_allclose(other[1:], 10 + 2 * np.array(one[1:]))


def test_paired_difference_is_that_of_the_pairs():
    random = np.random.default_rng(1)
    easy = random.normal(size=60) * 5  # stimuli differ a lot, conditions a little
    better, worse = easy + 0.5, easy + random.normal(size=60) * 0.1
    difference = bootstrap_difference(better, worse)
    assert difference.ci_low > 0.4 and difference.ci_high < 0.6
    opposite = bootstrap_difference(worse, better)
    np.testing.assert_allclose(
        [opposite.mean, opposite.ci_low, opposite.ci_high],
        [-difference.mean, -difference.ci_high, -difference.ci_low],
        atol=0.01,
    )


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_mean(np.ones(10)) == (10, 1.0, 1.0, 1.0)


def test_one_value_has_no_interval():
    assert bootstrap_mean([0.4]) == (1, 0.4, None, None)


def test_memory_blocks_change_nothing_but_memory(monkeypatch):
    values = np.random.default_rng(0).normal(size=30)
    whole = bootstrap_mean(values)
    monkeypatch.setattr("brainrecon.evaluation.intervals._DRAWS_PER_BLOCK", 1000)
    np.testing.assert_allclose(bootstrap_mean(values)[1:], whole[1:], atol=0.02)


@pytest.mark.parametrize(
    "values, options, words",
    [
        ([], {}, "at least one"),
        ([0.1, np.nan], {}, "not finite"),
        ([[0.1, 0.2]], {}, "shape"),
        ([0.1, 0.2], {"n_resamples": 100}, "too few"),
    ],
)
def test_hostile_input(values, options, words):
    with pytest.raises(InputError, match=words):
        bootstrap_mean(values, **options)
    with pytest.raises(InputError, match="same stimuli"):
        bootstrap_difference([1.0, 2.0], [1.0])


@pytest.mark.slow
def test_covers_in_two_thousand_experiments():
    assert 0.93 <= coverage(100, 2000, lambda random, n: random.normal(size=n), 0.0, 10_000) <= 0.97


@pytest.mark.slow
def test_covers_chance_for_shuffled_identification():
    random = np.random.default_rng(0)
    # Features that share a strong common part, as features of real pictures do.
    reference = random.normal(size=(100, 40)) + 2 * random.normal(size=40)
    covered = 0
    for permutation in range(400):
        scores = two_way_identification(reference, reference[random.permutation(100)])
        estimate = bootstrap_mean(scores, seed=permutation)
        covered += estimate.ci_low <= 0.5 <= estimate.ci_high
    assert covered / 400 >= 0.93
