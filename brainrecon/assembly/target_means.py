"""The mean of a target over the training stimuli, for objectives that leave out what all stimuli share."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Training


class TrainingMean:
    """The same row for every training stimulus of a subject: their mean. `brainrecon.assembly.learn.Learn` takes it as `derived`.

    >>> class Colour:
    ...     shape, n_targets = (3,), 3
    >>> TrainingMean("colour", TargetSource(Colour, checkpoints=())).shape
    (3,)

    Parameters
    ----------
    name : str
        Of the target in the chain.
    source : TargetSource
        The target itself, for its shape.
    """

    def __init__(self, name: str, source: TargetSource) -> None:
        self._name, self._source = name, source

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row."""
        return tuple(self._source.outline.shape)

    def __call__(self, training: Training, pretrained: Any = None) -> np.ndarray:
        """Rows of the training of one subject, array of shape (n_stimuli, *shape), which takes the memory of one."""
        values = training.features((self._name,))[self._name]
        mean = np.asarray(values, dtype=np.float32).mean(axis=0, dtype=np.float64).astype(np.float32)
        return np.broadcast_to(mean.reshape(self.shape), (len(values), *self.shape))
