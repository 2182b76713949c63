"""Batches of one row from every group: each group once in an epoch, never twice in a batch, its rows in turn."""

import numpy as np
import pytest

from stages.ground.errors import InputError
from stages.training.batches import InTurn

# Stimuli that were shown once, twice, three times and four times, in no order.
GROUPS = np.random.default_rng(0).permutation(np.repeat(np.arange(12), np.tile([1, 2, 3, 4], 3)))


def test_every_group_is_met_once_in_an_epoch():
    rows = InTurn(len(GROUPS), batch_size=4, seed=0, groups=GROUPS)
    epochs = [np.concatenate([rows(3 * epoch + part) for part in range(3)]) for epoch in range(5)]
    for epoch in epochs:
        assert sorted(GROUPS[epoch]) == list(range(12))
    assert len({tuple(GROUPS[epoch]) for epoch in epochs}) == 5


def test_rows_of_a_group_take_turns_by_the_number_of_the_step():
    rows = InTurn(len(GROUPS), batch_size=4, seed=0, groups=GROUPS)
    for step in range(60):
        for row in rows(step):
            members = np.flatnonzero(GROUPS == GROUPS[row])
            assert row == members[step % len(members)]


def test_a_step_has_the_same_rows_whenever_it_is_asked_for():
    rows = InTurn(len(GROUPS), batch_size=5, seed=3, groups=GROUPS)
    expected = [rows(step).tolist() for step in range(9)]
    again = InTurn(len(GROUPS), batch_size=5, seed=3, groups=GROUPS)
    assert [again(step).tolist() for step in reversed(range(9))][::-1] == expected
    other = InTurn(len(GROUPS), batch_size=5, seed=4, groups=GROUPS)
    assert [other(step).tolist() for step in range(9)] != expected


def test_groups_of_other_samples_are_refused():
    with pytest.raises(InputError, match="groups has 3 entries for 4 samples"):
        InTurn(4, 2, 0, groups=np.arange(3))
