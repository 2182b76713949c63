"""The step from an output on the way, a caption or a picture, to the values of a target."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.step import Step
from stages.ground.errors import InputError
from stages.ground.media import CAPTION, PICTURE
from stages.ground.not_finite import check_rows, listed, named

# By what a target takes.
_MEDIA = {"images": PICTURE, "captions": CAPTION}


class Encode(Step):
    """Encode a caption or a picture that a step before has made: a decoded caption becomes the context of a generator.

    >>> from brainrecon.assembly.targets import TargetSource
    >>> from brainrecon.assembly.values import Item
    >>> class Lengths:
    ...     takes, shape, n_targets = "captions", (1,), 1
    ...     def encode(self, items, batch_size):
    ...         return np.float32([[len(caption) for caption in captions] for captions in items])
    >>> step = Encode("caption", "clip_text", TargetSource(Lengths, checkpoints=()))
    >>> step.run([Item("subj01", "nsd00042")], {"caption": ["a boat"]})
    {'clip_text': array([[6.]], dtype=float32)}

    The values are predictions of the target: its true values are those of the stimulus's own captions or picture.

    Parameters
    ----------
    value : str
        The output: captions for a target that takes captions, pictures for one that takes images.
    gives : str
        Name of the encoded values.
    target : brainrecon.assembly.targets.TargetSource
    before : callable, optional
        ``before(output) -> output``: what is encoded in its place, such as a caption behind the name of a style.
    """

    def __init__(self, value, gives, target, before=None):
        self.reads, self.gives, self.targets, self._source = (value,), (gives,), {gives: target}, target
        self._before = before

    def run(self, items, values, *, seed=0):
        """Encode one at a time: rounding does not depend on who else is in the batch.

        Raises
        ------
        InputError
            An output is of another kind than the target takes, or a caption has no words; they are named.
        NotFinite
            Encoded values are NaN or infinite.
        """
        (read,), (gives,), target = self.reads, self.gives, self._source.target
        medium = _MEDIA[target.takes]
        outputs = [self._checked(medium, read, output, item) for output, item in zip(values[read], items, strict=True)]
        if medium is CAPTION:
            silent = [named(item) for caption, item in zip(outputs, items) if not caption.strip()]
            if silent:
                raise InputError(
                    f"{len(silent)} of {len(items)} captions have no words{listed(silent)}; expected some in each to encode "
                    f"{gives}: let the captions be longer, or draw without {gives}."
                )
        if self._before is not None:
            outputs = [self._before(output) for output in outputs]
        if medium is CAPTION:
            outputs = [[caption] for caption in outputs]
        rows = np.empty((len(items), target.n_targets), dtype=np.float32)
        for row, output in enumerate(outputs):
            rows[row] = target.encode([output] if medium is CAPTION else output[None], batch_size=1)[0]
        check_rows(rows)
        return {gives: rows}

    @staticmethod
    def _checked(medium, read, output, item):
        try:
            return medium.check(output)
        except InputError as error:
            raise InputError(f"{read} of {named(item)} is no {medium.name}. {error}") from None
