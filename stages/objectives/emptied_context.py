"""A context that is empty now and then in training, so that a network also learns to do without it, as guidance asks for."""

from __future__ import annotations

import torch


class EmptiedContext:
    """Another objective, under a context that is the empty one in a share of the samples, chosen by lot in every step.

    As NeuroPictor's second passes have it (Huo et al., ECCV 2024): from some step on, 5 % of the tokens that the brain gives are
    the empty text's.

    >>> from stages.objectives.regression import MeanSquaredError
    >>> objective = EmptiedContext(MeanSquaredError("tokens"), "tokens", torch.ones(2, 3), share=1.0, first_step=10)
    >>> outputs, targets = {"tokens": torch.zeros(4, 2, 3)}, {"tokens": torch.ones(4, 2, 3)}
    >>> objective(outputs, targets, step=9)[0].item(), objective(outputs, targets, step=10)[0].item()
    (1.0, 0.0)

    Parameters
    ----------
    objective : stages.objectives.objective.Objective
    name : str
        The context, among what it reads.
    empty : tensor of the shape of one sample's context
    share : float
        Probability that a sample's context is empty.
    first_step : int
        Before it, none is.
    """

    def __init__(self, objective, name, empty, share=0.05, first_step=0):
        self.reads, self.objective, self._empty = tuple(objective.reads), objective, empty
        self.name, self.share, self.first_step = name, float(share), first_step
        # What training depends on is told by plain attributes.
        self.of = repr(objective)

    def __call__(self, outputs, targets, step):
        if self.share and step >= self.first_step:
            outputs = {**outputs, self.name: self.emptied(outputs[self.name])}
        return self.objective(outputs, targets, step)

    def emptied(self, context):
        """Contexts (n, ...) of which a share is the empty one."""
        chosen = torch.rand(len(context), device=context.device) < self.share
        return torch.where(chosen.view(-1, *[1] * (context.ndim - 1)), self._empty.to(context), context)

    def __repr__(self):
        return f"EmptiedContext({self.of}, {self.name!r}, share={self.share}, first_step={self.first_step})"
