"""The step that gives decoded directions the length that true values of the training stimuli have."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.arrays_step import ArraysStep
from brainrecon.assembly.targets import TargetSource
from stages.decoders.ridge.target_blocks import read_columns

# Columns of a target that are in memory at a time.
_WIDTH = 4096


class UsualLength(ArraysStep):
    """Scale each row to the mean length of the target's true rows: a loss of angles leaves lengths to chance.

    >>> from brainrecon.assembly.values import Item
    >>> class Tokens:
    ...     shape, n_targets = (2, 2), 4
    >>> step = UsualLength("direction", "clip_image", TargetSource(Tokens, checkpoints=()), "length")
    >>> step.fitted = {"length": np.array([10.0])}
    >>> step.run([Item("subj01", "nsd00042")], {"direction": np.float32([[0, 3, 0, 4]])})["clip_image"].tolist()
    [[0.0, 6.0, 0.0, 8.0]]

    A row of zeros stays what it is.

    Parameters
    ----------
    reads, gives : str
    source : brainrecon.assembly.targets.TargetSource
        The target that both are predictions of.
    part : str
    """

    def __init__(self, reads: str, gives: str, source: TargetSource, part: str) -> None:
        self.reads, self.gives, self.targets, self.part = (reads,), (gives,), {gives: source}, part
        self.fitted = {}

    def fit(self, training, workspace):
        (name,) = self.gives
        table = training.features((name,))[name]
        squares = np.zeros(table.shape[0])
        for start in range(0, table.shape[1], _WIDTH):
            block = np.asarray(read_columns(table, slice(start, min(start + _WIDTH, table.shape[1]))), dtype=np.float64)
            squares += (block**2).sum(axis=1)
        self.fitted = {"length": np.sqrt(squares).mean(keepdims=True)}

    def run(self, items, values, *, seed=0):
        (read,), (gives,) = self.reads, self.gives
        rows = np.asarray(values[read], dtype=np.float32)
        # Row by row, so that a sum does not depend on who stands beside.
        lengths = np.array([np.linalg.norm(row.astype(np.float64)) for row in rows])
        scale = np.divide(self._length, lengths, out=np.ones_like(lengths), where=lengths > 0)
        return {gives: rows * scale[:, None].astype(np.float32)}

    @property
    def _length(self):
        return float(self.fitted["length"][0])

    def summary(self):
        return [{"value": self.gives[0], "length": self._length}]
