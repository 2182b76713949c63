"""What an objective is: a loss over named outputs of a network and the true values of the same stimuli."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class Objective(Protocol):
    """A loss; a `torch.nn.Module` if it has parameters of its own, which are trained with the network's.

    >>> from stages.objectives.regression import MeanSquaredError
    >>> objective: Objective = MeanSquaredError("clip_image")
    >>> objective.reads
    ('clip_image',)

    Attributes
    ----------
    reads : tuple of str
        Names of the outputs that it judges.

    Notes
    -----
    An objective that compares the samples of a batch with each other has `compares` true. It is called with whole batches,
    however these are cut into parts or shared by processes.

    An objective that is held to true values of other names than its outputs' says which: `held_to`, a tuple of str.

    An objective with `if_known` true is left out of a training in which what it is held to is not known, as of subjects before
    a new one what others teach is not.

    An objective that changes what the network reads, as mixing samples does, has ``before(patterns, step)`` too. It is called
    with the patterns of each batch, tensor of shape (n, n_voxels) on the CPU, and returns what takes their place; then the
    objective is called with what the network makes of these. Of a network of several subjects patterns are a dict of such tensors
    by subject: rows of outputs and targets stand in its order, those of one subject after those of the one before it.
    """

    reads: tuple[str, ...]

    def __call__(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Judge a batch.

        Parameters
        ----------
        outputs : mapping of str to tensor of shape (n, ...)
            What the network makes of n patterns.
        targets : mapping of str to tensor of the same shape
            True values, by the same names.
        step : int
            Of the training, from 0, for a loss that changes on the way.

        Returns
        -------
        loss : tensor without dimensions
            Averaged over the batch, weighted.
        parts : dict of str to tensor without dimensions
            What it is made of, before weights, for the curves.
        """
