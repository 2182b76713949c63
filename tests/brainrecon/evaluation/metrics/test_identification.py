"""Identification against loops written out, against every subset of candidates, and the laws it obeys."""

from itertools import combinations

import numpy as np
import pytest

from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.evaluation.metrics.identification import (
    identification_rates,
    n_way_chance,
    n_way_identification,
    n_way_rates,
    sampled_pools,
    success_matrix,
    two_way_identification,
)
from stages.ground.errors import InputError


def published_identification(reference, predicted):
    """The published evaluation, loop by loop: column-wise over all pairs, ties fail, denominator n - 1."""
    n = len(reference)
    r = np.corrcoef(reference.reshape(n, -1), predicted.reshape(n, -1))[:n, n:]
    congruent = np.diag(r)
    scores = []
    for column in range(n):
        success = 0
        for row in range(n):
            if row != column and r[row, column] < congruent[column]:
                success += 1
        scores.append(success / (n - 1))
    return np.array(scores)


def every_subset(correlation, n_way, top_k):
    """n-way identification by trying every choice of candidates."""
    n = len(correlation)
    scores = []
    for column in range(n):
        others = [row for row in range(n) if row != column]
        found = [
            sum(not correlation[row, column] < correlation[column, column] for row in drawn) < top_k
            for drawn in combinations(others, min(n_way - 1, n - 1))
        ]
        scores.append(np.mean(found))
    return np.array(scores)


@pytest.mark.parametrize("seed", range(40))
def test_identification_vs_published_loop(seed):
    random = np.random.default_rng(seed)
    n, d = int(random.integers(2, 30)), int(random.integers(3, 60))
    reference = random.normal(size=(n, d)).astype(np.float32)
    predicted = (random.random() * reference + random.normal(size=(n, d))).astype(np.float32)
    np.testing.assert_array_equal(
        two_way_identification(reference, predicted), published_identification(reference, predicted)
    )


def test_correlations_closer_than_float32_are_told_apart():
    random = np.random.default_rng(0)
    base = random.normal(size=20_000)
    # References that differ in the tenth digit, and predictions that are each a little nearer to one of them.
    reference = base + 1e-5 * random.normal(size=(20, 20_000))
    predicted = base + random.normal(size=(20, 20_000)) + 1e-5 * reference
    scores = two_way_identification(reference, predicted)
    np.testing.assert_array_equal(scores, published_identification(reference, predicted))
    r = correlation_matrix(reference, predicted)
    assert np.ptp(r, axis=0).max() < 1e-6 and 0 < scores.mean() < 1


def test_ties_fail():
    random = np.random.default_rng(0)
    reference = random.normal(size=(5, 40)).astype(np.float32)
    reference[3] = reference[1]  # twins cannot be told apart
    scores = two_way_identification(reference, reference)
    np.testing.assert_array_equal(scores, [1, 0.75, 1, 0.75, 1])
    same = np.repeat(random.normal(size=(1, 333)), 5, axis=0)
    assert (two_way_identification(same, random.normal(size=(5, 333))) == 0).all()


@pytest.mark.parametrize("n, d", [(67, 1001), (9, 100_000)])
def test_scaled_twins_tie_in_every_position(n, d):
    # Rows that are equal up to rounding must tie wherever they stand in the matrix.
    random = np.random.default_rng(1)
    base = random.normal(size=d)
    reference = np.stack([base * scale + shift for scale, shift in random.random((n, 2)) + 0.5])
    assert (two_way_identification(reference, reference) == 0).all()
    assert (two_way_identification(reference, random.normal(size=(n, d))) == 0).all()


def test_shuffled_predictions_are_at_chance():
    random = np.random.default_rng(5)
    reference = random.normal(size=(60, 30)) + random.normal(size=30)
    means = [two_way_identification(reference, reference[random.permutation(60)]).mean() for _ in range(60)]
    assert abs(np.mean(means) - 0.5) < 4 * np.std(means) / np.sqrt(len(means)) + 0.01


def test_identification_grows_with_signal():
    random = np.random.default_rng(6)
    reference, noise = random.normal(size=(2, 80, 50))
    means = [two_way_identification(reference, signal * reference + noise).mean() for signal in (0, 0.1, 0.3, 1)]
    assert (np.diff(means) > 0).all() and means[-1] > 0.99


def test_identification_follows_its_stimuli():
    random = np.random.default_rng(7)
    reference = random.normal(size=(12, 9))
    predicted = reference + random.normal(size=(12, 9))
    order = random.permutation(12)
    scores = two_way_identification(reference, predicted)
    np.testing.assert_array_equal(two_way_identification(reference[order], predicted[order]), scores[order])
    np.testing.assert_array_equal(two_way_identification(reference, predicted[order], order), scores[order])


def test_several_samples_of_one_stimulus_each_compete_alone():
    random = np.random.default_rng(8)
    reference = random.normal(size=(7, 9))
    first, second = reference + random.normal(size=(2, 7, 9))
    for options in ({"n_way": 2, "top_k": 1}, {"n_way": 5, "top_k": 2}):
        both = n_way_identification(reference, np.concatenate([first, second]), np.tile(np.arange(7), 2), **options)
        np.testing.assert_array_equal(both[:7], n_way_identification(reference, first, **options))
        np.testing.assert_array_equal(both[7:], n_way_identification(reference, second, **options))


@pytest.mark.parametrize("function", [two_way_identification, n_way_identification])
def test_identification_within_categories(function):
    random = np.random.default_rng(9)
    categories = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    reference = random.normal(size=(8, 9))
    predicted = reference + random.normal(size=(8, 9))
    scores = function(reference, predicted, allowed=categories[:, None] == categories)
    for category in (0, 1):
        members = categories == category
        np.testing.assert_array_equal(scores[members], two_way_identification(reference[members], predicted[members]))
    assert np.isnan(scores[7])  # the only one of its category


def test_cosine_identification_sees_the_mean():
    # Same shape, other mean: Pearson cannot tell these references apart.
    shape = np.array([1.0, -1.0, 1.0, -1.0])
    reference = np.stack([shape + 1, shape - 3])
    assert (two_way_identification(reference, reference) == 0).all()
    assert (two_way_identification(reference, reference, similarity="cosine") == 1).all()


def test_success_matrix_holds_every_comparison():
    random = np.random.default_rng(10)
    correlation = random.normal(size=(6, 9))
    correlation[2, 4] = np.nan
    targets, allowed = random.integers(0, 6, 9), random.random((6, 9)) < 0.7
    success, competes = success_matrix(correlation, targets, allowed)
    assert success.dtype == competes.dtype == bool
    for row in range(6):
        for column in range(9):
            rival = allowed[row, column] and row != targets[column]
            assert competes[row, column] == rival
            assert success[row, column] == (rival and correlation[row, column] < correlation[targets[column], column])
    rates = identification_rates(correlation, targets, allowed)
    np.testing.assert_array_equal(rates, success.sum(axis=0) / competes.sum(axis=0))


@pytest.mark.parametrize("n_way, top_k", [(2, 1), (3, 1), (3, 2), (5, 1), (5, 4), (8, 3), (50, 1), (50, 5)])
def test_n_way_vs_every_subset_of_candidates(n_way, top_k):
    random = np.random.default_rng(n_way)
    correlation = np.round(random.normal(size=(8, 8)) + 0.7 * np.eye(8), 1)  # rounded: with ties
    np.testing.assert_allclose(
        n_way_rates(correlation, n_way=n_way, top_k=top_k), every_subset(correlation, n_way, top_k), rtol=0, atol=1e-15
    )


def test_two_candidates_are_two_way_identification():
    random = np.random.default_rng(11)
    reference = random.normal(size=(50, 20))
    predicted = reference + 3 * random.normal(size=(50, 20))
    np.testing.assert_array_equal(
        n_way_identification(reference, predicted), two_way_identification(reference, predicted)
    )


@pytest.mark.parametrize("n_way, top_k", [(2, 1), (10, 1), (10, 5), (50, 1)])
def test_n_way_without_information_is_at_chance(n_way, top_k):
    random = np.random.default_rng(12)
    scores = [n_way_rates(random.normal(size=(50, 50)), n_way=n_way, top_k=top_k).mean() for _ in range(200)]
    assert abs(np.mean(scores) - n_way_chance(n_way, top_k)) < 4 * np.std(scores) / np.sqrt(200)


def test_more_candidates_are_harder_and_more_guesses_easier():
    correlation = np.random.default_rng(13).normal(size=(40, 40)) + np.eye(40)
    by_candidates = [n_way_rates(correlation, n_way=n_way).mean() for n_way in (2, 5, 10, 40)]
    by_guesses = [n_way_rates(correlation, n_way=20, top_k=top_k).mean() for top_k in (1, 2, 5, 19)]
    assert (np.diff(by_candidates) < 0).all() and (np.diff(by_guesses) > 0).all()


def test_an_undefined_own_correlation_is_never_found():
    correlation = np.zeros((4, 4))
    correlation[1, 1] = np.nan
    correlation[0, 0] = 1
    for n_way, top_k in ((2, 1), (4, 3), (300, 200)):
        scores = n_way_rates(correlation, n_way=n_way, top_k=top_k)
        assert scores[1] == 0 and scores[0] == 1


def test_a_thousand_candidates_do_not_overflow():
    random = np.random.default_rng(14)
    correlation = random.normal(size=(1000, 1000)) + 2 * np.eye(1000)
    scores = n_way_rates(correlation, n_way=300)
    assert np.isfinite(scores).all() and 0 <= scores.min() < scores.max() <= 1
    found, drawn = sampled_pools(correlation, 300, 300, seed=0)
    assert abs(scores - found / drawn).max() < 0.35


@pytest.mark.parametrize("n_way, top_k", [(2, 1), (7, 1), (7, 3), (30, 1), (30, 5)])
def test_sampled_pools_converge_to_the_closed_form(n_way, top_k):
    correlation = np.random.default_rng(15).normal(size=(30, 30)) + 2 * np.eye(30)
    expected = n_way_rates(correlation, n_way=n_way, top_k=top_k)
    errors = []
    for repeats in (1000, 20_000):
        found, drawn = sampled_pools(correlation, n_way, repeats, seed=1, top_k=top_k)
        errors.append(abs(found / drawn - expected))
    expected_error = np.sqrt(expected * (1 - expected) / (20_000 * n_way / 30))
    assert (errors[1] <= 4.5 * expected_error + 1e-12).all()
    assert errors[1].mean() <= errors[0].mean()


def test_sampled_pools_count_the_draws():
    found, drawn = sampled_pools(np.eye(10), 4, 1, seed=0)
    assert drawn.sum() == 4 and drawn.max() == 1 and (found == drawn).all()
    np.testing.assert_array_equal(sampled_pools(np.eye(10), 4, 1, seed=0), (found, drawn))
    found, drawn = sampled_pools(np.eye(10), 300, 7, seed=0)
    assert (found == 7).all() and (drawn == 7).all()


def test_sampled_pools_find_nothing_that_is_tied_or_undefined():
    flat = np.ones((5, 5))
    flat[:, 2] = np.nan
    found, drawn = sampled_pools(flat, 5, 3, seed=0)
    assert not found.any() and (drawn == 3).all()
    found, _ = sampled_pools(flat, 5, 3, seed=0, top_k=4)
    assert not found.any()


def test_arguments_are_left_alone():
    random = np.random.default_rng(16)
    correlation, allowed, targets = random.normal(size=(6, 6)), np.ones((6, 6), dtype=bool), np.arange(6)
    before = correlation.copy(), allowed.copy(), targets.copy()
    identification_rates(correlation, targets, allowed)
    n_way_rates(correlation, targets, allowed, 3)
    sampled_pools(correlation, 3, 5, 0)
    for array, copy in zip((correlation, allowed, targets), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: two_way_identification(np.ones((1, 4)), np.ones((1, 4))), "at least 2"),
        (lambda: two_way_identification(np.eye(4), np.eye(4)[:3]), "targets="),
        (lambda: two_way_identification(np.eye(4), np.ones((4, 5))), "same network"),
        (lambda: two_way_identification(np.eye(4), np.eye(4), allowed=np.ones((3, 4))), "mask"),
        (lambda: two_way_identification(np.full((3, 4), np.inf), np.ones((3, 4))), "infinite"),
        (lambda: two_way_identification(np.ones((3, 0)), np.ones((3, 0))), "no values"),
        (lambda: identification_rates(np.eye(3), targets=[0, 1, 3]), "row of the references"),
        (lambda: identification_rates(np.eye(3), targets=[0, 1, -1]), "row of the references"),
        (lambda: identification_rates(np.eye(3), targets=[0, 1]), "row of the references"),
        (lambda: identification_rates(np.eye(3), targets=[0.0, 1.0, 2.0]), "row of the references"),
        (lambda: n_way_rates(np.eye(3), n_way=1), "at least 2 candidates"),
        (lambda: n_way_rates(np.eye(3), n_way=3, top_k=3), "fewer best ones"),
        (lambda: n_way_rates(np.eye(3), n_way=3, top_k=0), "fewer best ones"),
        (lambda: n_way_rates(np.eye(3), n_way=2.5), "whole numbers"),
        (lambda: sampled_pools(np.eye(3), 1, 5, 0), "at least 2 candidates"),
        (lambda: sampled_pools(np.ones((3, 4)), 2, 5, 0), "targets="),
        (lambda: sampled_pools(np.eye(3), 2, 0, 0), "0 pools; expected at least 1"),
    ],
)
def test_hostile_input(call, words):
    with pytest.raises(InputError, match=words):
        call()
