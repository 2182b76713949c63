"""What a diffusion prior is trained with, beside the network that it is led by."""

from __future__ import annotations


class PriorError:
    """The mean squared error of the clean values that a prior finds in noise, led by a value that the brain gives.

    Its gradient reaches the prior and, through the value, the network before it.

    Parameters
    ----------
    name : str
        The value that leads; its target is what the prior is to make.
    prior : stages.priors.diffusion.DiffusionPrior
        Whose network is a part of the one that is trained.
    weight : float
        Published by Scotti et al. (2023): 30.
    """

    def __init__(self, name, prior, weight=30.0):
        self.reads, self.prior, self.weight = (name,), prior, weight

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        error = self.prior.loss(outputs[name], targets[name])
        return self.weight * error, {f"{name} prior error": error.detach()}

    def __repr__(self):
        return f"PriorError({self.reads[0]!r}, weight={self.weight})"
