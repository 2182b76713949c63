"""L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995) in SciPy, of a loss that torch computes; as KamitaniLab's icnn searches pixels."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize


def minimise_within(loss, start, steps, bounds=None, stepped=lambda loss: None):
    """Lower the loss of one start within bounds.

    >>> bounds = (torch.tensor(0.0), torch.tensor([[0.5, 9.0]]))
    >>> found, losses = minimise_within(lambda x: (x - 1).square().sum(1), torch.zeros(1, 2), 20, bounds)
    >>> found.tolist(), losses[0], losses[-1]
    ([[0.5, 1.0]], 2.0, 0.25)

    Steps are computed in float64 on the CPU, the loss in the type and on the device of the start. SciPy's own limits apply: it
    ends when a step lowers the loss by less than 2.2e-9 of it, or after 15,000 evaluations.

    Parameters
    ----------
    loss : callable
        ``loss(x) -> float tensor of shape (1,)``, differentiable.
    start : float tensor of shape (1, ...)
        Brought within the bounds first.
    steps : int
        The most iterations; each takes one evaluation of the loss or a few.
    bounds : pair of float tensors, optional
        Lowest and highest values, of a shape that fits the start's; they may be None.
    stepped : callable, optional
        Called with the loss, a float, after each iteration.

    Returns
    -------
    found : float tensor of shape (1, ...)
    losses : list of float
        Of each evaluation. If one is not finite, the search ends with it.
    """
    losses = []

    def value_and_gradient(values):
        with torch.enable_grad():
            x = torch.from_numpy(values).to(start).reshape(start.shape).requires_grad_()
            each = loss(x).sum()
            (gradient,) = torch.autograd.grad(each, x)
        losses.append(each.item())
        if not np.isfinite(losses[-1]):
            raise _NotFiniteLoss
        return losses[-1], gradient.detach().double().cpu().numpy().ravel()

    limits = [
        np.full(start.numel(), side) if bound is None else bound.expand(start.shape).double().cpu().numpy().ravel()
        for bound, side in zip(bounds or (None, None), (-np.inf, np.inf))
    ]
    first = np.clip(start.detach().double().cpu().numpy().ravel(), *limits)
    try:
        found = minimize(
            value_and_gradient,
            first,
            method="L-BFGS-B",
            jac=True,
            bounds=np.stack(limits, axis=1),
            options={"maxiter": steps},
            callback=lambda values: stepped(losses[-1]),
        ).x
    except _NotFiniteLoss:
        found = np.full(start.numel(), np.nan)
    return torch.from_numpy(found).to(start).reshape(start.shape), losses


class _NotFiniteLoss(Exception):
    """SciPy would search on along the line, and give the start."""
