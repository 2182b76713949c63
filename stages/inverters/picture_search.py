r"""Search for a picture with wanted features: among those that a generator draws, or pixel by pixel.

Shen and others (2019), "Deep image reconstruction from human brain activity", and what KamitaniLab published after it. With the
generator :math:`G` (or none), layers :math:`a_l` of networks, wanted features :math:`f_l`, their shares :math:`w_l` and a
distance :math:`D`

.. math:: E(x) = \sum_l w_l D(a_l(G(x)), f_l)

is lowered from a start :math:`x_0`, by one of three ways: see `stages.inverters.gradient_descent`,
`stages.inverters.adam_descent` and `stages.inverters.bounded_quasi_newton`.
"""

from __future__ import annotations

import torch

from stages.inverters.adam_descent import minimise
from stages.inverters.bounded_quasi_newton import minimise_within
from stages.inverters.feature_distances import DISTANCES
from stages.inverters.gradient_descent import descend, within


def search(
    draw, look, wanted, weights, start, settings, bounds=None, shifts=None, layers=None, stepped=lambda loss: None
):
    """Search for the pictures of one item or of several.

    >>> from stages.inverters.picture_search_settings import PictureSearchSettings
    >>> wanted = {"itself": torch.tensor([[1.0, 2.0]])}
    >>> settings = PictureSearchSettings(steps=50, learning_rate=0.1, decay=0.0)
    >>> found, losses = search(lambda z: z, lambda x: {"itself": x}, wanted, {"itself": 1.0}, torch.zeros(1, 2), settings)
    >>> [round(value) for value in found.flatten().tolist()], losses[0][0]
    ([1, 2], 5.0)

    Parameters
    ----------
    draw : callable
        ``draw(x) -> picture``, float tensors with a leading axis; differentiable.
    look : callable
        ``look(picture) -> dict of str to float tensor``: its features; differentiable.
    wanted : dict of str to float tensor of shape (n, ...)
        Of the shapes that `look` gives.
    weights : mapping of str to float or float tensor of shape (n,)
    start : float tensor of shape (n, ...)
    settings : PictureSearchSettings
    bounds : pair of float tensors, optional
        Lowest and highest values of x; they may be None. The start need not keep to them.
    shifts : callable, optional
        As `stages.inverters.gradient_descent.descend` takes it.
    layers : mapping of str to str, optional
        What a distance knows the layers by; by default their names.
    stepped : callable, optional
        Called after each step with the losses: a tensor of shape (n,), or a float of L-BFGS-B.

    Returns
    -------
    pictures : float tensor of shape (n, ...)
        NaN of an item of which a loss was not finite.
    losses : list of list of float
        Of each item, E of each step; of L-BFGS-B of each evaluation.
    """
    if settings.optimiser == "L-BFGS-B" and len(start) > 1:
        return _one_by_one(draw, look, wanted, weights, start, settings, bounds, layers, stepped)
    distance, layers, last = DISTANCES[settings.distance], layers or {}, {}
    held = bounds if settings.bounds_hold == "when used" and settings.optimiser != "L-BFGS-B" else None

    def loss(x):
        # Only what is drawn keeps to these bounds; the gradient passes as if there were none.
        used = x if held is None else x + (within(x, held) - x).detach()
        last["picture"] = draw(used)
        features = look(last["picture"])
        return sum(weights[name] * distance(features[name], wanted[name], layers.get(name, name)) for name in wanted)

    before, after, losses = _descended(loss, start, settings, bounds if held is None else None, shifts, stepped)
    with torch.no_grad():
        if before is None or settings.found == "after the last step":
            pictures = draw(within(after, held))
        else:
            # Drawn already, but for a shift.
            pictures = last["picture"].detach() if shifts is None else draw(before)
        if losses is not None:
            finite = losses.isfinite().all(1).reshape(-1, *(1,) * (pictures.ndim - 1))
            pictures, losses = torch.where(finite, pictures, torch.nan), losses.tolist()
    return pictures, losses or [[] for _ in start]


def _descended(loss, start, settings, bounds, shifts, stepped):
    """What is varied before the last step (None: there is no such) and after it, and losses of shape (n, n_steps) or None."""
    if settings.optimiser == "none":
        return None, start, None
    if settings.optimiser == "L-BFGS-B":
        found, losses = minimise_within(loss, start, settings.steps, bounds, stepped)
        return None, found, torch.tensor([losses])
    if settings.optimiser == "gradient descent":
        before, after, losses = descend(loss, start, settings, bounds, shifts, stepped)
        return before, after, torch.stack(losses, dim=1)
    x = start.detach().clone().requires_grad_()

    def bounded(losses):
        with torch.no_grad():
            x.copy_(within(x, bounds))
        stepped(losses)

    def schedule(optimiser):
        return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: settings.rate(step) / settings.learning_rate)

    losses = minimise(
        lambda: loss(x), [x], settings.steps, settings.learning_rate, settings.weight_decay, schedule, bounded
    )
    return x.detach(), x.detach(), torch.stack(losses, dim=1)


def _one_by_one(draw, look, wanted, weights, start, settings, bounds, layers, stepped):
    found = []
    for row in range(len(start)):
        own = {name: values[row : row + 1] for name, values in wanted.items()}
        shares = {
            name: share[row : row + 1] if isinstance(share, torch.Tensor) else share for name, share in weights.items()
        }
        first = start[row : row + 1]
        found.append(search(draw, look, own, shares, first, settings, bounds, layers=layers, stepped=stepped))
    pictures, losses = zip(*found)
    return torch.cat(pictures), [one for each in losses for one in each]
