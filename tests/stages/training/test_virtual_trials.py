"""Virtual trials: convex sums of random subsets, one for a step or one for each sample, that follow from seed and step alone."""

import numpy as np
import pytest

from stages.training.batches import Shuffled, VirtualTrials

N_TRIALS = 40
GROUPS = np.random.default_rng(0).permutation(np.repeat(np.arange(6), N_TRIALS))
UNEQUAL = np.random.default_rng(1).permutation(np.repeat(np.arange(12), np.tile([1, 2, 5, 9], 3)))


def found_in(groups, n_steps, batch_size=6, seed=0, **how):
    virtual = VirtualTrials(len(groups), batch_size, seed, groups, **how)
    return [virtual(step) for step in range(n_steps)]


@pytest.mark.parametrize("groups", [GROUPS, UNEQUAL])
@pytest.mark.parametrize("shared", [True, False])
def test_a_virtual_trial_lies_in_the_convex_hull_of_its_group(groups, shared):
    order = Shuffled(len(np.unique(groups)), 6, 0)
    for step, (rows, weights) in enumerate(found_in(groups, 40, shared=shared)):
        assert weights.dtype == np.float32 and (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
        for group, own, shares in zip(order(step), rows, weights):
            members = np.flatnonzero(groups == group)
            assert set(own[shares > 0]) <= set(members) and len(set(own[shares > 0])) == (shares > 0).sum()
            # Of several trials one is left out at least, but for a smaller group under a subset that is larger.
            if len(members) == np.bincount(groups).max() or not shared:
                assert 1 <= (shares > 0).sum() <= max(len(members) - 1, 1)


def test_a_step_has_one_subset_and_one_row_of_weights_for_all_samples():
    for _, weights in found_in(GROUPS, 20):
        assert (weights == weights[0]).all()
    apart = [weights for _, weights in found_in(GROUPS, 20, shared=False)]
    assert all(len({row.tobytes() for row in weights}) == 6 for weights in apart)


def test_smaller_groups_share_the_order_and_the_weights_as_far_as_they_go():
    order = Shuffled(12, 6, 0)
    for step, (_, weights) in enumerate(found_in(UNEQUAL, 30)):
        random, sizes = np.random.default_rng([0, step, 6]), np.bincount(UNEQUAL)[order(step)]
        n_taken = random.integers(1, max(sizes.max(), 2))
        ranks, logits = random.random((1, 9))[0], random.uniform(-1, 1, (1, 9))[0]
        for size, own in zip(sizes, weights):
            taken = sorted(range(size), key=ranks.__getitem__)[:n_taken]
            expected = np.zeros(9)
            expected[taken] = np.exp(logits[taken]) / np.exp(logits[taken]).sum()
            np.testing.assert_allclose(own, expected, rtol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_subsets_and_weights_are_distributed_as_published(shared):
    found = found_in(np.repeat([0, 1], 8), 4000, batch_size=2, seed=3, shared=shared)
    drawn = np.concatenate([weights[: 1 if shared else 2] for _, weights in found])
    sizes, bound = (drawn > 0).sum(axis=1), 4 / np.sqrt(len(drawn))
    # From 1 to n - 1, all as likely.
    assert set(sizes) == set(range(1, 8))
    assert np.abs(np.bincount(sizes)[1:] / len(drawn) - 1 / 7).max() < bound * np.sqrt(1 / 7 * 6 / 7)
    # A place is as likely as every other: 4 of 8 on average.
    assert np.abs((drawn > 0).mean(axis=0) - 0.5).max() < bound * 0.5
    # Logarithms of weights are uniform in a width of 2: of pairs they differ by at most that, and by 2/3 on average.
    pairs = drawn[sizes == 2]
    logits = np.log(np.sort(pairs, axis=1)[:, -2:])
    gaps = logits[:, 1] - logits[:, 0]
    assert gaps.max() < 2 + 1e-5 and abs(gaps.mean() - 2 / 3) < 4 * np.sqrt(2 / 9 / len(gaps))
    # One trial by itself is that trial.
    assert (drawn[sizes == 1].max(axis=1) == 1).all()


@pytest.mark.parametrize("shared", [True, False])
def test_a_step_is_the_same_whenever_it_is_asked_for_and_another_seed_has_others(shared):
    first = found_in(UNEQUAL, 9, shared=shared)
    again, other = (VirtualTrials(len(UNEQUAL), 6, seed, UNEQUAL, shared=shared) for seed in (0, 1))
    for step in reversed(range(9)):
        for one, two in zip(again(step), first[step]):
            np.testing.assert_array_equal(one, two)
    assert any((other(step)[1] != first[step][1]).any() for step in range(9))


def test_a_group_of_one_is_that_one():
    for rows, weights in found_in(np.arange(5), 10, batch_size=5):
        assert sorted(rows[:, 0]) == list(range(5)) and (weights == 1).all()
