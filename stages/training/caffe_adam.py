"""Adam as Caffe and the published GAN scripts apply it: rates and constants for PyTorch's own.

    >>> caffe_adam(2e-4, updates=0)
    {'lr': 0.0001488..., 'eps': 3.1622...e-07}

With moments m and v after n updates, Caffe takes
:math:`rate * sqrt(1 - b2^(i + 1)) / (1 - b1^(i + 1)) * m / (sqrt(v) + 1e-8)`, where i is the solver's own count. It differs from
PyTorch's in two ways. The constant beside the root is not corrected for the first steps. And the scripts of Dosovitskiy and Brox,
2016, from which Shen et al. 2019 took theirs, count an update before they apply it: i = n, a step ahead, so that the first update
is 0.74 times as long. A player that waits does not count.
"""

from __future__ import annotations

import math

EPSILON = 1e-8


def caffe_adam(rate, updates, milestones=(), betas=(0.9, 0.999)):
    """Return what PyTorch's Adam has to be told for its next update to be Caffe's.

    Parameters
    ----------
    rate : float
        Learning rate before it is halved.
    updates : int
        How often this optimiser has been applied.
    milestones : sequence of int
        Numbers, counted from 1, of the updates with which the rate is halved.
    betas : tuple of two floats

    Returns
    -------
    options : dict
        ``lr`` and ``eps`` of a parameter group.
    """
    number = updates + 1
    ahead, own = (math.sqrt(1 - betas[1] ** n) / (1 - betas[0] ** n) for n in (number + 1, number))
    halvings = sum(number >= milestone for milestone in milestones)
    return {"lr": rate * 0.5**halvings * ahead / own, "eps": EPSILON / math.sqrt(1 - betas[1] ** number)}


def updates_of(optimiser):
    """How often one of PyTorch's Adams has been applied, as its moments say."""
    return max((int(moments["step"]) for moments in optimiser.state.values()), default=0)
