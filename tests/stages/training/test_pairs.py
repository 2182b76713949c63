"""Pictures beside trials of a category: every picture once in an epoch, convex sums, and nothing but seed and step."""

import numpy as np
import pytest

from stages.ground.errors import InputError
from stages.training.pairs import PairedTrials, Pairs

CATEGORIES = np.array([3, 3, 7, 7, 7, 11, 3, 11])
"""Of eight stimuli."""
STIMULI = np.random.default_rng(0).permutation(np.repeat(np.arange(8), 5))


def paired(of, shared=True, seed=0, batch_size=4):
    return PairedTrials(STIMULI, batch_size, seed, Pairs(of, shared, CATEGORIES))


@pytest.mark.parametrize("of", ["any", "own"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_picture_stands_beside_a_convex_sum_of_trials_of_one_category(of, shared):
    own = other = 0
    for step in range(40):
        for picture, rows, weights in zip(*paired(of, shared)(step)):
            assert (weights >= 0).all() and abs(weights.sum() - 1) < 1e-6
            (category,) = np.unique(CATEGORIES[STIMULI[rows]])
            assert set(np.flatnonzero(CATEGORIES[STIMULI] == category)) >= set(rows)
            own, other = own + (category == CATEGORIES[picture]), other + (category != CATEGORIES[picture])
    assert (other == 0) == (of == "own") and own


def test_any_category_is_as_likely_as_every_other():
    found = np.concatenate([CATEGORIES[STIMULI[paired("any")(step)[1][:, 0]]] for step in range(600)])
    shares = np.unique(found, return_counts=True)[1] / len(found)
    # Four standard deviations of a share of a third.
    assert np.abs(shares - 1 / 3).max() < 4 * np.sqrt(2 / 9 / len(found))


@pytest.mark.parametrize("of", ["any", "own"])
def test_every_picture_is_gone_through_once_in_an_epoch(of):
    found = np.concatenate([paired(of)(step)[0] for step in range(6)])
    assert all(sorted(found[first : first + 8]) == list(range(8)) for first in range(0, 24, 8))


def test_one_row_of_weights_for_a_step_or_one_for_each():
    # Categories have 15, 15 and 10 trials: compared are those of the largest.
    _, rows, weights = paired("any", True, batch_size=200)(0)
    large = CATEGORIES[STIMULI[rows[:, 0]]] != 11
    assert (weights[large] == weights[large][0]).all()
    _, _, apart = paired("any", False, batch_size=200)(0)
    assert len(np.unique(apart, axis=0)) > 150


@pytest.mark.parametrize("of", ["any", "own"])
def test_a_step_follows_from_seed_and_step_alone(of):
    one, again, other = paired(of), paired(of), paired(of, seed=1)
    first = [one(step) for step in range(6)]
    for step in reversed(range(6)):
        for found, known in zip(again(step), first[step]):
            np.testing.assert_array_equal(found, known)
    assert any((other(step)[2] != first[step][2]).any() for step in range(6))


def test_only_pictures_and_categories_of_its_trials_occur():
    kept = np.isin(STIMULI, (0, 2, 4))
    sampler = PairedTrials(STIMULI[kept], 4, 0, Pairs("any", True, CATEGORIES))
    for step in range(9):
        pictures, rows, _ = sampler(step)
        assert set(pictures) <= {0, 2, 4} and set(CATEGORIES[STIMULI[kept][rows[:, 0]]]) <= {3, 7}


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="of is 'all'; expected"):
        Pairs(of="all")
    with pytest.raises(InputError, match="0 categories for 8 stimuli"):
        PairedTrials(STIMULI, 4, 0, Pairs())
