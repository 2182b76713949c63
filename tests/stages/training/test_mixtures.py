"""Mixtures of repeats: the published formula for any number of them, each group once in an epoch."""

import numpy as np
import pytest

from stages.ground.errors import InputError
from stages.training.batches import Mixtures, Shuffled

# Stimuli that were shown once, twice, three times and four times, in no order.
GROUPS = np.random.default_rng(0).permutation(np.repeat(np.arange(12), np.tile([1, 2, 3, 4], 3)))


def kind_of(step, seed=0):
    """Which of the three kinds a step takes, and the numbers that its weights are made of."""
    random = np.random.default_rng([seed, step, 6])
    r = random.random()
    return ("combined" if r <= 0.5 else "averaged" if r <= 0.8 else "single"), 1 - random.random((4, 4))


def test_weights_are_the_formula():
    mixtures, order, seen = Mixtures(len(GROUPS), 4, 0, GROUPS), Shuffled(12, 4, 0), set()
    for step in range(60):
        rows, weights = mixtures(step)
        kind, drawn = kind_of(step)
        seen.add(kind)
        for place, group in enumerate(order(step)):
            members = np.flatnonzero(GROUPS == group)
            assert rows[place, : len(members)].tolist() == members.tolist()
            assert (GROUPS[rows[place]] == group).all()
            own = drawn[place, : len(members)]
            expected = {
                "combined": own / own.sum(),
                "averaged": np.full(len(members), 1 / len(members)),
                "single": np.eye(len(members))[own.argmax()],
            }[kind]
            np.testing.assert_allclose(weights[place, : len(members)], expected, rtol=1e-6)
            assert not weights[place, len(members) :].any()
    assert seen == {"combined", "averaged", "single"}


def test_kinds_are_as_frequent_as_published_and_single_rows_equally_likely():
    groups = np.repeat(np.arange(8), 3)
    mixtures, kinds, singles = Mixtures(24, 8, 3, groups), [], []
    for step in range(3000):
        _, weights = mixtures(step)
        single, even = (weights.max(axis=1) == 1).all(), np.ptp(weights) < 1e-6
        kinds.append("single" if single else "averaged" if even else "combined")
        if single:
            singles += weights.argmax(axis=1).tolist()
    for kind, share in {"combined": 0.5, "averaged": 0.3, "single": 0.2}.items():
        assert abs(np.mean(np.array(kinds) == kind) - share) < 4 * np.sqrt(share * (1 - share) / 3000)
    counts = np.bincount(singles) / len(singles)
    assert np.abs(counts - 1 / 3).max() < 4 * np.sqrt(2 / 9 / len(singles))


def test_every_group_is_met_once_in_an_epoch_and_a_step_is_the_same_whenever_it_is_asked_for():
    mixtures = Mixtures(len(GROUPS), 4, 1, GROUPS)
    found = [mixtures(step) for step in range(9)]
    for epoch in range(3):
        assert sorted(GROUPS[np.concatenate([rows[:, 0] for rows, _ in found[3 * epoch : 3 * epoch + 3]])]) == list(
            range(12)
        )
    again = Mixtures(len(GROUPS), 4, 1, GROUPS)
    for step in reversed(range(9)):
        for one, other in zip(again(step), found[step]):
            np.testing.assert_array_equal(one, other)


def test_a_group_of_one_is_that_one():
    mixtures = Mixtures(5, 5, 0, np.arange(5))
    for step in range(20):
        rows, weights = mixtures(step)
        assert sorted(rows[:, 0]) == list(range(5)) and (weights == 1).all()


def test_groups_of_other_samples_are_refused():
    with pytest.raises(InputError, match="groups has 3 entries for 4 samples"):
        Mixtures(4, 2, 0, groups=np.arange(3))
