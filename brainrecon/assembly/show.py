"""The step from a predicted latent to the picture that it is the latent of."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.step import Step
from stages.ground.item_seeds import named_generator


class Show(Step):
    """Decode predicted values of a target into pictures.

    >>> from brainrecon.assembly.targets import TargetSource
    >>> from brainrecon.assembly.values import Item
    >>> class Colour:
    ...     shape, n_targets = (3,), 3
    ...     def decode(self, values, batch_size):
    ...         return np.broadcast_to(values[:, None, None], (len(values), 8, 8, 3)).astype(np.uint8)
    >>> step = Show("colour", TargetSource(Colour, checkpoints=()))
    >>> found = step.run([Item("subj01", "nsd00042")], {"colour": [[200, 100, 0]]})
    >>> found["first_picture"].shape, found["first_picture"][0, 0, 0].tolist()
    ((1, 8, 8, 3), [200, 100, 0])

    Parameters
    ----------
    reads : str
        The predicted values.
    source : brainrecon.assembly.targets.TargetSource
        The target, which has ``decode(values, batch_size) -> uint8 (n, height, width, 3)``.
    gives : str
        Name of the pictures.
    options : mapping, optional
        What `decode` is told besides.
    draws : bool
        Whether `decode` takes ``generators``, one for each row. A stimulus has one picture, whatever its samples: its
        generator follows from the seed and from whose the values are.
    """

    def __init__(self, reads, source, gives="first_picture", *, options=None, draws=False):
        self.reads, self.gives, self.media, self._source = (reads,), (gives,), {gives: "picture"}, source
        self._options, self._draws = dict(options or {}), draws

    def run(self, items, values, *, seed=0):
        # One at a time: what comes next starts from these bytes, which must not depend on who else is in the batch.
        (read,), (gives,), options = self.reads, self.gives, dict(self._options)
        if self._draws:
            # Another stream than that of a sample's noise in stage two.
            options["generators"] = [named_generator(f"{seed}/{item.stimulus_id}/{gives}") for item in items]
        rows = np.asarray(values[read], dtype=np.float32)
        return {gives: self._source.target.decode(rows, batch_size=1, **options)}

    def told(self, present):
        return dict(self._options)
