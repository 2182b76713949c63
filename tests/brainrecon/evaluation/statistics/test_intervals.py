"""Bootstrap intervals: what they cover, and what they refuse."""

import numpy as np
import pytest
from scipy import stats

from brainrecon.evaluation.statistics.intervals import (
    bootstrap_difference,
    bootstrap_mean,
    difference_over_subjects,
    mean_over_subjects,
)
from stages.ground.errors import InputError

# How to draw n scores, and their true mean. Binary is the agreement of labels; success rates near the ceiling look like
# the skewed one.
SHAPES = {
    "normal": (lambda random, n: random.normal(0.3, 2.0, n), 0.3),
    "uniform": (lambda random, n: random.random(n), 0.5),
    "skewed": (lambda random, n: random.beta(6, 1, n), 6 / 7),
    "binary": (lambda random, n: (random.random(n) < 0.3).astype(float), 0.3),
    "exponential": (lambda random, n: random.exponential(size=n), 1.0),
}


def coverage(shape, n, experiments, interval=bootstrap_mean, n_resamples=2000):
    random = np.random.default_rng(n)
    draw, true_mean = SHAPES[shape]
    covered = 0
    for experiment in range(experiments):
        estimate = interval(draw(random, n), n_resamples=n_resamples, seed=experiment)
        covered += estimate.ci_low <= true_mean <= estimate.ci_high
    return covered / experiments


@pytest.mark.parametrize("shape, n", [("normal", 20), ("normal", 100), ("skewed", 100), ("binary", 50)])
def test_covers_the_mean(shape, n):
    assert 0.93 <= coverage(shape, n, 1000) <= 0.97


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
    monkeypatch.setattr("brainrecon.evaluation.statistics.bootstrap._DRAWS_PER_BLOCK", 1000)
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


@pytest.mark.parametrize("confidence", [0, 1, 95, np.nan])
def test_refuses_a_confidence_that_is_no_fraction(confidence):
    with pytest.raises(InputError, match="between 0 and 1"):
        bootstrap_mean([0.1, 0.2], confidence=confidence)


def test_less_confidence_is_a_narrower_interval_inside():
    values = np.random.default_rng(0).normal(size=30)
    narrow, wide = bootstrap_mean(values, confidence=0.8), bootstrap_mean(values)
    assert wide.ci_low < narrow.ci_low < narrow.ci_high < wide.ci_high


def test_subjects_count_once_each_whatever_their_stimuli():
    random = np.random.default_rng(0)
    per_subject = [random.normal(k, 1, size) for k, size in enumerate((10, 1000, 30, 5, 70, 20))]
    means = [scores.mean() for scores in per_subject]
    estimate = mean_over_subjects(per_subject, seed=3)
    assert estimate == mean_over_subjects(means, seed=3)
    assert estimate.n == 6 and estimate.mean == pytest.approx(np.mean(means), abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_few_subjects_have_students_t(n):
    means = np.random.default_rng(n).normal(size=n)
    estimate = mean_over_subjects(list(means))
    expected = stats.t.interval(0.95, n - 1, means.mean(), means.std(ddof=1) / np.sqrt(n))
    np.testing.assert_allclose([estimate.ci_low, estimate.ci_high], expected, atol=1e-12)
    low, high = mean_over_subjects(list(means), bounds=(means.min(), means.max()))[2:]
    assert (low, high) == (max(expected[0], means.min()), min(expected[1], means.max()))


def test_many_subjects_are_resampled():
    means = np.random.default_rng(0).normal(size=8)
    assert mean_over_subjects(list(means), seed=3) == bootstrap_mean(means, seed=3)


@pytest.mark.parametrize("n, low, high", [(2, 0.93, 0.97), (4, 0.93, 0.97), (8, 0.92, 0.96)])
def test_covers_over_subjects_as_often_as_it_says(n, low, high):
    assert (
        low
        <= coverage("normal", n, 1000, lambda values, **options: mean_over_subjects(list(values), **options))
        <= high
    )


def test_one_subject_falls_back_to_its_stimuli():
    random = np.random.default_rng(0)
    own, other = random.normal(size=(2, 40))
    assert mean_over_subjects([own], seed=5) == bootstrap_mean(own, seed=5)
    assert difference_over_subjects([(own, other)], seed=5) == bootstrap_difference(own, other, seed=5)
    assert mean_over_subjects([0.7]) == (1, 0.7, None, None)
    assert difference_over_subjects([(0.75, 0.5)]) == (1, 0.25, None, None)


def test_difference_over_subjects_is_paired_within_each():
    random = np.random.default_rng(0)
    pairs = []
    for offset, size in zip(random.normal(0, 10, 8), range(20, 100, 10)):  # subjects differ more than methods do
        other = offset + 5 * random.normal(size=size)
        pairs.append((other + random.normal(0.5, 0.1, size), other))
    estimate = difference_over_subjects(pairs)
    assert 0.45 < estimate.ci_low < estimate.ci_high < 0.55 and estimate.n == 8
    means = difference_over_subjects([(own.mean(), other.mean()) for own, other in pairs])
    np.testing.assert_allclose(means, estimate, atol=1e-12)
    opposite = difference_over_subjects([(other, own) for own, other in pairs])
    np.testing.assert_allclose(opposite.mean, -estimate.mean)


@pytest.mark.parametrize(
    "per_subject, words",
    [
        ([], "at least one"),
        ([[0.1], []], "Subject 2"),
        ([[0.1, 0.2], [0.1, np.inf]], "Subject 2 .* 1 that are not finite"),
        ([np.zeros((3, 2))], "Subject 1 .* shape"),
    ],
)
def test_hostile_subjects(per_subject, words):
    with pytest.raises(InputError, match=words):
        mean_over_subjects(per_subject)
    with pytest.raises(InputError, match="same stimuli"):
        difference_over_subjects([([1.0, 2.0], [1.0])])


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 100])
@pytest.mark.parametrize("shape", ["normal", "uniform", "skewed", "binary"])
def test_covers_in_two_thousand_experiments(shape, n):
    assert 0.93 <= coverage(shape, n, 2000) <= 0.97


@pytest.mark.slow
def test_falls_short_where_the_documentation_says_so():
    assert 0.90 <= coverage("exponential", 20, 2000) < 0.93
    assert 0.93 <= coverage("exponential", 100, 2000) <= 0.97
