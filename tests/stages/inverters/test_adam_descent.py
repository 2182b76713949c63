"""Adam against torch's own and against its steps written out, with and without a schedule."""

import numpy as np
import pytest
import torch

from stages.inverters.adam_descent import minimise

RANDOM = np.random.default_rng(0)
MATRIX, WANTED, START = (torch.from_numpy(RANDOM.standard_normal(shape)) for shape in ((6, 4), (2, 6), (2, 4)))


def loss_of(x):
    return (x @ MATRIX.T - WANTED).square().sum(dim=1)


def adamw_written_out(start, steps, rate, weight_decay):
    """Loshchilov & Hutter (2019), with the bias of the two moments taken off."""
    x, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for step in range(1, steps + 1):
        gradient = 2 * (x @ MATRIX.T - WANTED) @ MATRIX
        x = x - rate * weight_decay * x
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        x = x - rate * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
    return x


@pytest.mark.parametrize("weight_decay", [0.01, 0.3])
def test_adamw_vs_its_steps_written_out(weight_decay):
    x = START.clone().requires_grad_()
    losses = minimise(lambda: loss_of(x), [x], 30, 0.1, weight_decay)
    np.testing.assert_allclose(x.detach(), adamw_written_out(START, 30, 0.1, weight_decay), rtol=1e-9)
    assert len(losses) == 30 and torch.equal(losses[0], loss_of(START)) and (losses[-1] < losses[0]).all()


def test_adam_vs_torchs_under_a_falling_rate():
    x, theirs = START.clone().requires_grad_(), START.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.2)
    for step in range(20):
        optimiser.param_groups[0]["lr"] = 0.2 * 0.9**step
        optimiser.zero_grad()
        loss_of(theirs).sum().backward()
        optimiser.step()
    minimise(lambda: loss_of(x), [x], 20, 0.2, schedule=lambda adam: torch.optim.lr_scheduler.ExponentialLR(adam, 0.9))
    np.testing.assert_allclose(x.detach(), theirs.detach(), rtol=1e-9)


def test_rows_do_not_know_of_each_other():
    together, alone = START.clone().requires_grad_(), START[1:].clone().requires_grad_()
    minimise(lambda: loss_of(together), [together], 20, 0.1)
    minimise(lambda: (alone @ MATRIX.T - WANTED[1:]).square().sum(dim=1), [alone], 20, 0.1)
    np.testing.assert_allclose(together.detach()[1:], alone.detach(), rtol=1e-9)


def test_each_call_begins_anew():
    """Ready-made optimisers of the scripts of spurious_reconstruction go on with the picture before."""
    first, again = START.clone().requires_grad_(), START.clone().requires_grad_()
    for x in (first, again):
        minimise(lambda x=x: loss_of(x), [x], 5, 0.1)
    assert torch.equal(first, again)


def test_no_steps_change_nothing():
    x = START.clone().requires_grad_()
    assert minimise(lambda: loss_of(x), [x], 0, 0.1) == [] and torch.equal(x.detach(), START)


def test_where_gradients_are_switched_off_it_goes_on_and_tells_of_each_step():
    x, told = START.clone().requires_grad_(), []
    with torch.no_grad():
        minimise(lambda: loss_of(x), [x], 3, 0.1, stepped=told.append)
    assert len(told) == 3 and not told[0].requires_grad and not torch.equal(x.detach(), START)
