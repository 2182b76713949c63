"""Targets in turn: each step its own, and trials of a stimulus beside them."""

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.objectives.in_turn import InTurn
from stages.objectives.regression import UnitSquaredError
from stages.objectives.retrieval import SoftContrast
from stages.training import batches

NAMES = ("text", "second", "third")
TRUE = {name: torch.randn(4, 6, generator=torch.Generator().manual_seed(place)) for place, name in enumerate(NAMES)}


def test_each_step_has_its_own_target():
    plain, found = SoftContrast("text", temperature=0.1), torch.randn(4, 6)
    objective = InTurn(plain, NAMES)
    for step in range(7):
        loss, parts = objective({"text": found}, TRUE, step)
        expected, _ = plain({"text": found}, {"text": TRUE[NAMES[step % 3]]}, step)
        assert loss == expected and list(parts) == ["text contrast"]
    assert objective.compares and objective.reads == ("text",)
    assert not InTurn(UnitSquaredError("text"), NAMES).compares


def test_a_trial_stands_beside_its_own_target():
    order = batches.InTurn(n_samples=12, batch_size=4, seed=0, groups=np.arange(12) % 4)
    for step in range(6):
        # Trial t of stimulus s is row s + 4 t.
        assert set(order(step) // 4) == {step % 3}


def test_trainings_with_other_targets_or_weights_are_others():
    told = {
        InTurn(UnitSquaredError("text", weight), names).told for weight in (1.0, 2.0) for names in (NAMES, NAMES[:2])
    }
    assert len(told) == 4


def test_what_the_objective_reads_comes_first():
    for names in ((), NAMES[1:]):
        with pytest.raises(InputError, match="expected it first"):
            InTurn(UnitSquaredError("text"), names)
