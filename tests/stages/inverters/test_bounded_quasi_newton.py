"""L-BFGS-B of a loss in torch against SciPy's with the gradient by hand."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from stages.inverters.bounded_quasi_newton import minimise_within

RANDOM = np.random.default_rng(0)
MATRIX, WANTED, START = RANDOM.standard_normal((8, 5)), RANDOM.standard_normal(8), 3 * RANDOM.standard_normal(5)
LOW, HIGH = np.array([-1.0, 0, 0, -0.2, -9]), np.array([1.0, 0.5, 0.3, 0.2, 9])


def loss(x):
    return (x @ torch.from_numpy(MATRIX).T - torch.from_numpy(WANTED)).square().sum(dim=1) + x.pow(4).sum(dim=1)


def value_and_gradient(x):
    error = MATRIX @ x - WANTED
    return error @ error + (x**4).sum(), 2 * MATRIX.T @ error + 4 * x**3


@pytest.mark.parametrize("is_bounded", [True, False])
@pytest.mark.parametrize("steps", [1, 3, 50])
def test_vs_scipy(steps, is_bounded):
    bounds = (torch.from_numpy(LOW), torch.from_numpy(HIGH)) if is_bounded else None
    found, losses = minimise_within(loss, torch.from_numpy(START)[None], steps, bounds)
    expected = minimize(
        value_and_gradient,
        START,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(LOW, HIGH)) if is_bounded else None,
        options={"maxiter": steps},
    )
    np.testing.assert_allclose(found[0], expected.x, rtol=1e-7, atol=1e-9)
    assert len(losses) == expected.nfev and min(losses) == pytest.approx(expected.fun, rel=1e-9)
    if is_bounded:
        assert (found[0].numpy() >= LOW).all() and (found[0].numpy() <= HIGH).all()


def test_one_bound_may_be_absent_and_one_may_fit_all():
    found, _ = minimise_within(loss, torch.from_numpy(START)[None], 50, (torch.zeros(()), None))
    assert found.min() == 0 and found.max() > 0


def test_each_iteration_is_told_with_its_loss():
    told = []
    _, losses = minimise_within(loss, torch.from_numpy(START)[None], 4, stepped=told.append)
    assert len(told) == 4 and told == sorted(told, reverse=True) and set(told) <= set(losses)


def test_a_loss_that_is_not_finite_gives_nothing_finite():
    """SciPy by itself would give back the start."""
    found, losses = minimise_within(lambda x: loss(x) * float("nan"), torch.zeros(1, 5).double(), 10)
    assert found.isnan().all() and len(losses) == 1


def test_the_type_of_the_start_is_kept():
    assert minimise_within(lambda x: x.square().sum(1), torch.ones(1, 2, 3), 5)[0].dtype == torch.float32
