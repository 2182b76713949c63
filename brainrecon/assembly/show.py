"""The step from a predicted latent to the picture that it is the latent of."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.step import Step


class Show(Step):
    """Decode predicted values of a target into pictures.

    Parameters
    ----------
    reads : str
        The predicted values.
    source : brainrecon.assembly.targets.TargetSource
        The target, which has ``decode(values, batch_size) -> uint8 (n, height, width, 3)``.
    gives : str
        Name of the pictures.
    """

    def __init__(self, reads, source, gives="first_picture"):
        self.reads, self.gives, self.media, self._source = (reads,), (gives,), {gives: "picture"}, source

    def run(self, items, values, *, seed=0):
        # One at a time: what comes next starts from these bytes, which must not depend on who else is in the batch.
        (read,), (gives,) = self.reads, self.gives
        return {gives: self._source.target.decode(np.asarray(values[read], dtype=np.float32), batch_size=1)}
