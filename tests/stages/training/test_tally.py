"""Sums that stay on the device: what Python adds, and the first step that was not sound, however late it is read."""

import numpy as np
import pytest
import torch

from stages.training.curves import Diverged
from stages.training.tally import SKIPPED_AT_MOST, Tally


def added(tally, losses, gradients=None, first=0):
    """Add a step for each loss; which of them are left out."""
    gradients = gradients or [1.0] * len(losses)
    pairs = enumerate(zip(losses, gradients), first)
    return [bool(tally.add({"loss": torch.tensor(a), "gradient": torch.tensor(b)}, step)) for step, (a, b) in pairs]


def test_sums_are_those_of_python_to_the_last_bit():
    losses = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    tally, total = Tally("cpu", 0.1), 0.0
    added(tally, losses.tolist())
    for loss in losses:
        total += float(loss)
    assert tally.read() == {"loss": total, "gradient": 100.0} and tally.n_summed == 100
    tally.forget()
    added(tally, [2.0])
    assert tally.read()["loss"] == 2.0 and tally.n_summed == 1


def test_a_step_is_left_out_for_its_loss_and_for_its_gradient():
    nan, infinite = float("nan"), float("inf")
    assert added(Tally("cpu", 0.1), [1.0, nan, infinite, 1.0, 1.0], [1.0, 1.0, 1.0, -infinite, nan]) == [
        False,
        *[True] * 4,
    ]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_the_first_loss_that_is_not_finite_is_told_with_its_step(value):
    tally = Tally("cpu", 3e-4)
    added(tally, [1.0, 2.0, float(value), float("nan"), 1.0], first=998)
    for _ in range(2):
        with pytest.raises(Diverged, match=rf"loss is {value} at step 1,000 .* recipe.optimiser.learning_rate = 3e-05"):
            tally.read()
    with pytest.raises(Diverged):
        tally.state()


def test_gradients_running_are_counted_over_a_checkpoint():
    tally, nan = Tally("cpu", 0.1), float("nan")
    added(tally, [1.0] * 7, [nan, 1.0, *[nan] * 5])
    kept = tally.state()
    assert kept["skipped"] == 5 and kept["summed"] == 7
    again = Tally("cpu", 0.1)
    again.restore(kept)
    more = SKIPPED_AT_MOST - 5
    # It is told although gradients are finite again.
    added(again, [1.0] * (more + 3), [nan] * more + [1.0] * 3, first=7)
    with pytest.raises(Diverged, match=rf"20 gradients running were not finite \(step {6 + more}\)"):
        again.read()
    fewer = Tally("cpu", 0.1)
    fewer.restore(kept)
    added(fewer, [1.0] * more, [nan] * (more - 1) + [1.0], first=7)
    assert fewer.read()["loss"] == 7.0 + more


def test_whatever_comes_first_is_told():
    nan, many = float("nan"), SKIPPED_AT_MOST
    tally = Tally("cpu", 0.1)
    added(tally, [1.0] * many + [nan], [nan] * (many + 1))
    with pytest.raises(Diverged, match="20 gradients running"):
        tally.read()
    tally = Tally("cpu", 0.1)
    added(tally, [nan] + [1.0] * many, [nan] * (many + 1))
    with pytest.raises(Diverged, match="loss is nan at step 0"):
        tally.read()
