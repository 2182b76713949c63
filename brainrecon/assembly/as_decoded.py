"""The step that takes a decoded embedding for a likely one, as it is but for its length."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.step import Step


class AsDecoded(Step):
    """Hand a predicted value on where another chain makes it likelier first.

    >>> from brainrecon.assembly.targets import TargetSource
    >>> from brainrecon.assembly.values import Item
    >>> class Tokens:
    ...     shape, n_targets = (2, 3), 6
    >>> step = AsDecoded("decoded", "likely", TargetSource(Tokens, checkpoints=()))
    >>> step.run([Item("subj01", "nsd00042")], {"decoded": [[3, 0, 4, 1, 1, 1]]})["likely"].round(1).tolist()
    [[0.6..., 0.0, 0.8..., 0.2..., 0.2..., 0.2...]]

    Parameters
    ----------
    reads, gives : str
    source : brainrecon.assembly.targets.TargetSource
        The target that the values are embeddings of.
    unit_token : bool
        Bring the first token of each embedding to unit length, and the others with it.
    """

    def __init__(self, reads, gives, source, unit_token=True):
        self.reads, self.gives, self.targets = (reads,), (gives,), {gives: source}
        self._source, self._unit_token = source, unit_token

    def run(self, items, values, *, seed=0):
        (read,), (gives,) = self.reads, self.gives
        rows = np.asarray(values[read], dtype=np.float32)
        if self._unit_token:
            # The first token's values come first.
            first = rows[:, : self._source.outline.shape[-1]]
            rows = rows / (np.linalg.norm(first, axis=1, keepdims=True) + np.float32(1e-6))
        return {gives: rows}

    def told(self, present):
        return {"prior": "none"}
