r"""Search for a picture with wanted features, by gradient descent over what a generator draws it from.

Shen and others (2019), "Deep image reconstruction from human brain activity", natural pictures; steps and their order as in
KamitaniLab's icnn and bdpy. With the generator :math:`G`, layers :math:`a_l` of a network, wanted features :math:`f_l` and their
weights :math:`w_l`

.. math:: E(z) = \sum_l w_l |a_l(G(z)) - f_l|^2

is lowered from a start :math:`z_0`. Each of n steps, t from 0 on, is

.. math::

    g &= \nabla E(z) / \overline{|\nabla E(z)|} \\
    v &\leftarrow \mu v + g \\
    z &\leftarrow (1 - d) (z - \lambda_t v), \quad \lambda_t = \lambda_0 + t (\lambda_1 - \lambda_0) / n \\
    z &\leftarrow \min(\max(z, 0), b)

The picture that is found is the one before the last step, as published.
"""

from __future__ import annotations

import numpy as np
import torch

from stages.ground.item_seeds import item_name, named_generator


def first_input(settings, n_values, seed, item):
    """Input of the generator that the search for one picture begins with.

    >>> from stages.generators.generator import Item
    >>> from stages.inverters.picture_search_settings import PictureSearchSettings
    >>> usual = PictureSearchSettings()
    >>> start = first_input(usual, 4096, seed=0, item=Item("nsd00042"))
    >>> tuple(start.shape), torch.equal(start, first_input(usual, 4096, 0, Item("nsd00042", sample=1)))
    ((4096,), False)

    Parameters
    ----------
    settings : PictureSearchSettings
    n_values : int
    seed : int
        The run's.
    item : object with `stimulus_id` and `sample`

    Returns
    -------
    start : float32 tensor of shape (n_values,)
    """
    if settings.start == "zeros":
        return torch.zeros(n_values)
    own = item_name(seed, item.stimulus_id, item.sample) if settings.start == "noise" else settings.start_seed
    # Another stream than that of the noise in a diffusion after it.
    return torch.randn(n_values, generator=named_generator(f"{own}/start of a search"))


def search(draw, look, wanted, weights, start, settings, bound=None, stepped=lambda: None):
    """Search for the picture of one item.

    >>> from stages.inverters.picture_search_settings import PictureSearchSettings
    >>> wanted = {"itself": torch.tensor([[1.0, 2.0]])}
    >>> settings = PictureSearchSettings(steps=50, learning_rate=0.1, decay=0.0)
    >>> found, losses = search(lambda z: z, lambda x: {"itself": x}, wanted, {"itself": 1.0}, torch.zeros(1, 2), settings)
    >>> [round(value) for value in found.flatten().tolist()], losses[0]
    ([1, 2], 5.0)

    Parameters
    ----------
    draw : callable
        ``draw(z) -> picture``, both float tensors with a leading axis of length 1; differentiable.
    look : callable
        ``look(picture) -> dict of str to float tensor``: its features; differentiable.
    wanted : dict of str to float tensor
        Of the shapes that `look` gives.
    weights : mapping of str to float
    start : float tensor of shape (1, n_values)
    settings : PictureSearchSettings
    bound : float tensor of shape (n_values,), optional
        Largest values of z, of which the smallest is 0 then. The start need not keep to them.
    stepped : callable, optional
        Called after each step.

    Returns
    -------
    picture : float tensor
        That of the last step, before z is changed for the last time.
    losses : list of float
        E of each step.
    """
    latent, velocity, losses = start.clone(), torch.zeros_like(start), []
    with torch.enable_grad():
        for step in range(settings.steps):
            latent = latent.detach().requires_grad_()
            picture = draw(latent)
            features = look(picture)
            loss = sum(weights[name] * (features[name] - wanted[name]).square().sum() for name in wanted)
            (gradient,) = torch.autograd.grad(loss, latent)
            losses.append(loss.detach())
            with torch.no_grad():
                size = gradient.abs().mean()
                # As published: a gradient of 0 stays what it is.
                gradient = gradient / torch.where(size > 0, size, torch.ones_like(size))
                velocity = settings.momentum * velocity + gradient
                latent = (1 - settings.decay) * (latent - settings.rate(step) * velocity)
                if bound is not None:
                    latent = torch.minimum(latent.clamp(min=0), bound)
            stepped()
    return picture.detach(), torch.stack(losses).tolist()


def displayed(greys, clip=4.0, rounded=False):
    """Make 8 bit of a picture: extremes are cut off, and the rest is stretched from black to white.

    >>> displayed(np.linspace(-300.0, 500.0, 48).reshape(4, 4, 3), clip=0)[[0, -1], [0, -1]].tolist()
    [[0, 5, 10], [244, 249, 255]]

    Parameters
    ----------
    greys : array of shape (height, width, 3)
        On any scale.
    clip : float
        Percent of all values, in the three colours together; half of them at either end.
    rounded : bool
        Or cut off, as published.

    Returns
    -------
    picture : uint8 array of shape (height, width, 3)
        Black if all values are equal.
    """
    low, high = np.percentile(greys, [clip / 2, 100 - clip / 2])
    values = np.clip(np.asarray(greys, dtype=np.float64), low, high) - low
    values = 255 * (values / (high - low)) if high > low else values
    return (np.rint(values) if rounded else values).astype(np.uint8)
