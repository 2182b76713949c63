"""What a decoder is: it predicts named values from patterns, says what it learnt in rows, and lies in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from numpy.typing import NDArray

Row = dict[str, str | int | float]
"""A line of a table: first what it is about, by the kind of thing that is, then plain numbers by their names."""

Curve = tuple[Sequence[int], Sequence[float | None]]
"""The course of a number in training: steps, and its value at each; None if it was not measured there."""


@runtime_checkable
class Decoder(Protocol):
    """From patterns (n_stimuli, n_voxels) to named values, once it is fitted.

    >>> import numpy as np
    >>> from brainrecon import Decoder as Ridge
    >>> rng = np.random.default_rng(0)
    >>> patterns, targets = rng.standard_normal((40, 20)), rng.standard_normal((40, 6))
    >>> decoder: Decoder = Ridge().fit(patterns, targets, groups={"layout": 4, "meaning": 2})
    >>> dict(decoder.gives)
    {'layout': (4,), 'meaning': (2,)}
    >>> for name, columns, values in decoder.predict_blocks(patterns[:3]):
    ...     print(name, columns, values.shape)
    layout slice(0, 4, None) (3, 4)
    meaning slice(0, 2, None) (3, 2)

    How it is fitted is its own affair: a solved decoder is a scikit-learn estimator, ``fit(X, y)``. Nobody outside reads
    what a fit found by the names of attributes: the command line and the report print `summary`, `notes` and `curves`.

    Attributes
    ----------
    gives : mapping of str to tuple of int
        Name and shape of each predicted value, for one stimulus, in the order of `predict_blocks`.
    """

    @property
    def gives(self) -> Mapping[str, tuple[int, ...]]: ...

    def predict_blocks(
        self, patterns: NDArray, *, subject: str | None = None, start: int = 0
    ) -> Iterator[tuple[str, slice, NDArray]]:
        """Predict some columns of one value at a time, so that never all of them are in memory.

        Parameters
        ----------
        patterns : array of shape (n_stimuli, n_voxels)
            In the units of the training patterns, finite.
        subject : str, optional
            Whose they are, for a decoder of several subjects.
        start : int
            Blocks that are there already, and are left out.

        Yields
        ------
        name : str
            Of `gives`, in that order.
        columns : slice
            Of the value, laid flat. The blocks of a name cover all of its columns, one after the other.
        values : array of shape (n_stimuli, n_columns), float32 or float64

        Raises
        ------
        InputError
            At once, for another number of voxels, or values that are not finite.
        """

    def summary(self) -> list[Row]:
        """What was learnt, for people: rows of equal keys."""

    def notes(self) -> list[str]:
        """What else people have to know of it, a sentence each."""

    def curves(self) -> Mapping[str, Curve]:
        """The course of training by label. A solved decoder has none."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``."""

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Open what `save_pretrained` wrote; an InputError if files are missing or do not belong together."""
