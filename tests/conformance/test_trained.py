"""Laws of every training by gradient descent, for every learner of a table."""

import os
import signal

import numpy as np
import pytest
import torch
from small_learners import CASES, batch_at

from stages.training.curves import Diverged
from stages.training.loop import train
from stages.training.state import FILE

EVERY_LEARNER = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def trained(case, folder=None, batches=batch_at, seed=0, **options):
    learner = case.learner(seed)
    curves = train(
        learner, batches, case.recipe, folder, held_out=case.validation(), seconds_between_checkpoints=0.0, **options
    )
    return learner, curves


def assert_equal(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def killed_before(step, case, folder):
    """Train in another process, which is killed without warning when it asks for a step's batch."""

    def batches(asked):
        if asked == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch_at(asked)

    if not (process := os.fork()):
        try:
            trained(case, folder, batches)
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("step", [1, 6, 11])
@EVERY_LEARNER
def test_killed_and_started_again_it_ends_in_the_same_bytes(case, step, tmp_path):
    undisturbed, curves = trained(case, tmp_path / "whole")
    killed_before(step, case, tmp_path / "parts")
    asked = []
    # Other initial weights: all that counts is in the checkpoint.
    resumed, again = trained(case, tmp_path / "parts", lambda at: asked.append(at) or batch_at(at), seed=9)
    assert asked == list(range(step, case.recipe.steps))
    assert (tmp_path / "parts" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()
    assert_equal(resumed, undisturbed)
    assert again.lines == curves.lines


@EVERY_LEARNER
def test_once_finished_it_takes_no_step(case, tmp_path):
    first, curves = trained(case, tmp_path)
    again, same = trained(case, tmp_path, lambda step: pytest.fail("a batch was asked for"), seed=9)
    assert_equal(again, first)
    assert same.lines == curves.lines and not again.training


@EVERY_LEARNER
def test_it_depends_on_its_arguments_alone_and_leaves_the_random_state_alone(case):
    first, _ = trained(case)
    torch.manual_seed(77)
    np.random.seed(78)
    # A batch that is drawn from the global generators is a function of the step as well.
    second, _ = trained(case, batches=lambda step: (torch.rand(3), np.random.rand(2)) and batch_at(step))
    assert_equal(second, first)
    drawn = torch.rand(4), np.random.rand(4)
    torch.manual_seed(77)
    np.random.seed(78)
    assert torch.equal(drawn[0], torch.rand(4)) and np.array_equal(drawn[1], np.random.rand(4))


@EVERY_LEARNER
def test_parameters_that_are_not_trained_do_not_change_by_a_bit(case):
    before = case.learner()
    learner, _ = trained(case)
    for name, parameter in learner.named_parameters():
        assert parameter.requires_grad
        changed = not torch.equal(parameter, dict(before.named_parameters())[name])
        assert changed == (name not in case.left_alone), name


@EVERY_LEARNER
def test_a_loss_that_is_not_finite_stops_it_and_leaves_the_checkpoint_before(case, tmp_path):
    def batches(step):
        batch = batch_at(step)
        return batch | {"y": batch["y"] * np.float32("nan")} if step == 5 else batch

    with pytest.raises(Diverged, match="The loss is nan at step 5 .*, for example with recipe.optimiser.learning_rate"):
        trained(case, tmp_path, batches)
    asked = []
    learner, curves = trained(case, tmp_path, lambda step: asked.append(step) or batch_at(step))
    assert asked[0] == 5
    assert all(value.isfinite().all() for value in learner.state_dict().values())
    assert all(np.isfinite(curves["loss"][1]))


@EVERY_LEARNER
def test_curves_have_a_line_every_so_many_steps(case):
    _, curves = trained(case)
    assert curves["loss"][0] == [4, 8, 12]
    assert ("validation" in list(curves)) == bool(case.held_out)
    rates = [case.recipe.optimiser.learning_rate * case.recipe.schedule.factor(step, 12) for step in (3, 7, 11)]
    assert curves["rate"][1] == rates
