"""Adam and AdamW over anything that a loss is a function of: latents of a GAN, a generator's input, latents of a diffusion."""

from __future__ import annotations

import torch


def minimise(loss, variables, steps, learning_rate, weight_decay=None, schedule=None, stepped=lambda loss: None):
    """Lower a loss by Adam, in place.

    >>> x = torch.zeros(2, 3, requires_grad=True)
    >>> losses = minimise(lambda: (x - 1).square().mean(dim=1), [x], steps=100, learning_rate=0.1)
    >>> x.detach().round().tolist(), len(losses), tuple(losses[0].shape)
    ([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], 100, (2,))

    Adam's state begins anew with each call. It goes value by value, and the losses of rows are summed: no row's steps know of
    another, but for rounding.

    Parameters
    ----------
    loss : callable
        ``loss() -> float tensor``, of one loss or of one a row; of `variables`, as they are then.
    variables : sequence of float tensor
        Leaves that require a gradient.
    steps : int
        None at all is allowed.
    learning_rate : float
    weight_decay : float, optional
        AdamW's, which is taken then; Adam without it.
    schedule : callable, optional
        ``schedule(optimiser)`` gives a scheduler of `torch.optim.lr_scheduler`, which goes on after each step:
        ``lambda optimiser: torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.99)``.
    stepped : callable, optional
        Called after each step with the loss, without a gradient, on its device.

    Returns
    -------
    losses : list of float tensor
        Of each step, before it.
    """
    if not steps:
        return []
    variables, losses = list(variables), []
    if weight_decay is None:
        optimiser = torch.optim.Adam(variables, lr=learning_rate)
    else:
        optimiser = torch.optim.AdamW(variables, lr=learning_rate, weight_decay=weight_decay)
    scheduler = None if schedule is None else schedule(optimiser)
    with torch.enable_grad():
        for _ in range(steps):
            optimiser.zero_grad()
            each = loss()
            each.sum().backward()
            losses.append(each.detach())
            optimiser.step()
            if scheduler is not None:
                scheduler.step()
            stepped(losses[-1])
    return losses
