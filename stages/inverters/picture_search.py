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

from dataclasses import dataclass

import numpy as np
import torch

from stages.ground.checks import Number, OneOf, check_all
from stages.ground.item_seeds import item_name, named_generator
from stages.inverters.feature_scaling import SCALINGS

_RULES = {
    "steps": Number(1, whole=True, example=200),
    "learning_rate": Number(0, above=True, example=2.0),
    "last_learning_rate": Number(0, example=1e-10),
    "momentum": Number(0, 1, below=True, example=0.9),
    "decay": Number(0, 1, below=True, example=0.01),
    "scaling": OneOf(*SCALINGS),
    "start": OneOf("noise", "shared noise", "zeros"),
    "start_seed": Number(whole=True),
    "bounds": OneOf("activation range", "none"),
    "clip": Number(0, 100, below=True, example=4.0),
    "greys": OneOf("cut off", "rounded"),
}


@dataclass(frozen=True)
class PictureSearchSettings:
    """How a picture is searched for; the defaults are those of KamitaniLab's scripts for natural pictures, but for the start.

    >>> [round(PictureSearchSettings().rate(step), 2) for step in (0, 100, 199)]
    [2.0, 1.0, 0.01]

    Attributes
    ----------
    steps : int
    learning_rate, last_learning_rate : float
        Of the first step, and what it falls to in a straight line.
    momentum : float
        Share of the step before that each step goes on with.
    decay : float
        Share that is taken off the generator's input after each step.
    scaling : {"feature_std", "spread", "none"}
        How decoded features get the spread of true ones; see `stages.inverters.feature_scaling`.
    start : {"noise", "shared noise", "zeros"}
        Standard normal noise of each stimulus and sample, or one such noise for all pictures, or nothing.
    start_seed : int
        Of the shared noise.
    bounds : {"activation range", "none"}
        Keep the input between 0 and the range of the layer that the generator draws from, or leave it free.
    clip : float
        Percent of the pixels' values that are cut off, half of them at either end, before the rest is stretched to 0 to 255.
    greys : {"cut off", "rounded"}
        How a picture becomes 8 bit.
    """

    steps: int = 200
    learning_rate: float = 2.0
    last_learning_rate: float = 1e-10
    momentum: float = 0.9
    decay: float = 0.01
    scaling: str = "feature_std"
    start: str = "noise"
    start_seed: int = 0
    bounds: str = "activation range"
    clip: float = 4.0
    greys: str = "cut off"

    def __post_init__(self):
        check_all(self, _RULES, where="search")

    def rate(self, step):
        """Learning rate of a step, counted from 0."""
        return self.learning_rate + step * (self.last_learning_rate - self.learning_rate) / self.steps

    def first(self, n_values, seed, item):
        """Input of the generator that the search for one picture begins with.

        >>> from stages.generators.generator import Item
        >>> start = PictureSearchSettings().first(4096, seed=0, item=Item("nsd00042"))
        >>> tuple(start.shape), bool(torch.equal(start, PictureSearchSettings().first(4096, 0, Item("nsd00042", sample=1))))
        ((4096,), False)

        Parameters
        ----------
        n_values : int
        seed : int
            The run's.
        item : object with `stimulus_id` and `sample`

        Returns
        -------
        start : float32 tensor of shape (n_values,)
        """
        if self.start == "zeros":
            return torch.zeros(n_values)
        own = item_name(seed, item.stimulus_id, item.sample) if self.start == "noise" else self.start_seed
        # Another stream than that of the noise in a diffusion after it.
        return torch.randn(n_values, generator=named_generator(f"{own}/start of a search"))


def search(draw, look, wanted, weights, start, settings, bound=None, stepped=lambda: None):
    """Search for the picture of one item.

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
