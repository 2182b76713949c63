"""Trials of which no two of a batch are of one stimulus: every law of an order, and what cannot be."""

import numpy as np
import pytest

from stages.training.apart import Apart
from stages.training.trouble import CannotTrain


def groups_of(*counts, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


@pytest.mark.parametrize(
    "counts, batch_size",
    [([3] * 20, 6), ([1] * 10, 3), ([3] * 7, 7), ([50, *[1] * 12], 6), ([2, 5, 1, 9, 9, 4, 3], 4), ([3] * 1000, 24)],
)
def test_no_batch_holds_a_group_twice_and_no_epoch_a_trial(counts, batch_size):
    groups = groups_of(*counts)
    order = Apart(len(groups), batch_size, 3, groups)
    for epoch in range(3):
        batches = [order(epoch * order.n_batches + place) for place in range(order.n_batches)]
        assert all(len(set(groups[rows])) == batch_size for rows in batches)
        taken = np.concatenate(batches)
        assert len(set(taken)) == len(taken) == order.n_in_epoch
    # As many as can be: with one more, somebody would be twice in a batch.
    n = order.n_batches + 1
    assert np.minimum(counts, n).sum() < n * batch_size


def test_it_is_a_function_of_seed_and_step():
    groups = groups_of(*[3] * 30)
    order = Apart(90, 9, 5, groups)
    in_order = [order(step) for step in range(25)]
    for step in (24, 3, 11, 0):
        np.testing.assert_array_equal(Apart(90, 9, 5, groups)(step), in_order[step])
    assert not np.array_equal(in_order[0], in_order[10]) and not np.array_equal(in_order[0], Apart(90, 9, 6, groups)(0))


def test_all_trials_come_equally_often_and_meet_others():
    """Of whole epochs each trial is in nearly every one, and beside a stimulus are any others, whichever trial it is."""
    groups = groups_of(*[3] * 25)
    order = Apart(75, 7, 0, groups)
    n_epochs, seen, met = 600, np.zeros(75), np.zeros((25, 25))
    for step in range(n_epochs * order.n_batches):
        rows = order(step)
        seen[rows] += 1
        met[np.ix_(groups[rows], groups[rows])] += 1
    expected = n_epochs * order.n_in_epoch / 75
    assert np.abs(seen - expected).max() < 6 * np.sqrt(n_epochs * (1 - order.n_in_epoch / 75) * order.n_in_epoch / 75)
    pairs = met[~np.eye(25, dtype=bool)]
    assert pairs.std() / pairs.mean() < 0.06


def test_fewer_stimuli_than_samples_are_told():
    with pytest.raises(
        CannotTrain, match="batch of 8 samples is to hold no stimulus twice but there are 5 .*batch_size = 2"
    ):
        Apart(50, 8, 0, groups_of(*[10] * 5))
