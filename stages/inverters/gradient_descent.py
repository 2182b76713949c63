r"""Gradient descent with momentum as KamitaniLab's icnn and bdpy do it: of a generator's input, or of pixels.

Each of n steps lowers :math:`E(x)`; with the step :math:`t` from 0 on

.. math::

    g &= \nabla E(x) / \overline{|\nabla E(x)|} \\
    v &\leftarrow \mu v + g + \lambda_p \, r_p / \overline{|r_p|} + \lambda_{TV} \, r_{TV} / \overline{|r_{TV}|} \\
    x &\leftarrow (1 - d_t) (x - \lambda_t v), \quad \lambda_t = \lambda_0 + t (\lambda_1 - \lambda_0) / n \\
    x &\leftarrow \min(\max(\mathrm{blur}_{\sigma_t}(x), a), b)

with the gradients :math:`r` of a p-norm and of total variation, if they are asked for; they become part of the momentum. Before a
step a picture may be shifted, and after the step, before decay, it is shifted back.
"""

from __future__ import annotations

import torch

from stages.inverters.pixel_regularisers import (
    blurred,
    p_norm_gradient,
    shifted,
    total_variation_gradient,
    usual_size,
    without_extremes,
)

_CLIPPED_EVERY = 4


def descend(loss, start, settings, bounds=None, shifts=None, stepped=lambda loss: None):
    """Lower the losses of several starts, each by itself.

    >>> from stages.inverters.picture_search_settings import PictureSearchSettings
    >>> settings = PictureSearchSettings(steps=50, learning_rate=0.1, decay=0.0)
    >>> before, after, losses = descend(lambda x: (x - 1).square().sum(1), torch.zeros(1, 2), settings)
    >>> before.round().tolist(), losses[0].tolist()
    ([[1.0, 1.0]], [2.0])

    Parameters
    ----------
    loss : callable
        ``loss(x) -> float tensor of shape (n,)``, differentiable.
    start : float tensor of shape (n, ...)
    settings : stages.inverters.picture_search_settings.PictureSearchSettings
    bounds : pair of float tensors, optional
        Lowest and highest values after each step; they may be None. The start need not keep to them.
    shifts : callable, optional
        ``shifts(step)`` gives (down, right) of each picture; nothing is shifted without it.
    stepped : callable, optional
        Called after each step with the losses, shape (n,).

    Returns
    -------
    before, after : float tensor of shape (n, ...)
        What was varied, before the last step and after it.
    losses : list of float tensor of shape (n,)
        Of each step, before it.
    """
    after, velocity, losses = start.detach().clone(), torch.zeros_like(start), []
    shifts_velocity = shifts is not None and settings.jittered == "picture and velocity"
    with torch.enable_grad():
        for step in range(settings.steps):
            before, moves = after, shifts(step) if shifts is not None else None
            x = (before if moves is None else shifted(before, moves)).detach().requires_grad_()
            each = loss(x)
            (gradient,) = torch.autograd.grad(each.sum(), x)
            losses.append(each.detach())
            with torch.no_grad():
                x, gradient = x.detach(), _sized(gradient, settings)
                velocity = shifted(velocity, moves) if shifts_velocity else velocity
                velocity = _regularised(settings.momentum * velocity + gradient, x, settings)
                x = x - settings.rate(step) * velocity
                if settings.clip_extremes and (step + 1) % _CLIPPED_EVERY == 0:
                    x = without_extremes(x, settings.clip_extremes)
                if moves is not None:
                    back = [(-down, -right) for down, right in moves]
                    x = shifted(x, back)
                    if shifts_velocity:
                        # As published: the newest gradient stays where it is.
                        velocity = shifted(velocity - gradient, back) + gradient
                x = (1 - settings.share(step)) * x
                x = blurred(x, settings.sigma(step)) if settings.blur or settings.last_blur else x
                after = within(x, bounds)
            stepped(losses[-1])
    return before, after, losses


def within(x, bounds):
    """Keep values to their bounds.

    >>> within(torch.tensor([-1.0, 3.0]), (torch.tensor(0.0), None)).tolist()
    [0.0, 3.0]

    Parameters
    ----------
    x : float tensor
    bounds : pair of float tensors, or None
        Lowest and highest values; they may be None.
    """
    low, high = bounds or (None, None)
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def _sized(gradient, settings):
    if settings.gradient == "as it is":
        return gradient
    size = gradient.abs().flatten(1).mean(1).reshape(-1, *(1,) * (gradient.ndim - 1))
    # As published: a gradient of 0 stays what it is.
    return gradient / torch.where(size > 0, size, torch.ones_like(size))


def _regularised(velocity, x, settings):
    if settings.p_norm:
        gradient = p_norm_gradient(x, settings.p_norm_order) / usual_size(x)
        velocity = velocity + settings.p_norm * _sized(gradient, settings)
    if settings.total_variation:
        gradient = total_variation_gradient(x, settings.total_variation_order) / usual_size(x)
        velocity = velocity + settings.total_variation * _sized(gradient, settings)
    return velocity
