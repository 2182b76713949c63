"""Responses of both hemispheres side by side, read by rows when asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.nsd.hemispheres import HemisphereFiles
from stages.ground.errors import InputError
from stages.ground.lazy_rows import ArrayRows, LazyRows
from stages.ground.reading.numpy_files import read_npy

AGAIN = "copy it again from the challenge's data"


class SideBySide(LazyRows):
    """Lazy arrays with as many rows each, whose columns follow each other.

    >>> SideBySide([ArrayRows(np.eye(2)), ArrayRows(np.ones((2, 1)))])[:].tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]

    Parameters
    ----------
    parts : sequence of LazyRows
        Of shape (n_rows, n_columns of the part).
    """

    takes_any_order = True

    def __init__(self, parts: Sequence[LazyRows]) -> None:
        super().__init__((len(parts[0]), sum(part.shape[1] for part in parts)), np.float32)
        self._parts = list(parts)

    def _read(self, rows: NDArray) -> NDArray:
        return np.concatenate([part._values(rows).astype(np.float32, copy=False) for part in self._parts], axis=1)

    def _of_columns(self, places: NDArray) -> LazyRows:
        ends = np.cumsum([part.shape[1] for part in self._parts])
        owners = np.searchsorted(ends, places, side="right")
        if (np.diff(owners) < 0).any():
            return super()._of_columns(places)
        starts = ends - [part.shape[1] for part in self._parts]
        chosen = [(part, places[owners == number] - starts[number]) for number, part in enumerate(self._parts)]
        return SideBySide([part.columns(own) for part, own in chosen if len(own)] or [self._parts[0].columns(places)])


def mapped_responses(files: HemisphereFiles) -> tuple[SideBySide, int]:
    """Responses of both hemispheres, mapped from disk, and how many columns are the left one's.

    Raises
    ------
    InputError
        A file is absent or damaged, holds no numbers (pictures, vertices), or one hemisphere has other rows.
    """
    halves = []
    for path in files:
        if not path.is_file():
            raise InputError(
                f"There is no {path}; copy it there from the challenge's data, both hemispheres are needed."
            )
        values = read_npy(path, mapped=True, remedy=AGAIN)
        if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
            raise InputError(
                f"{path} holds {values.dtype} {values.shape}; expected numbers (pictures, vertices): {AGAIN}."
            )
        halves.append(ArrayRows(values))
    left, right = halves
    if len(left) != len(right):
        raise InputError(
            f"{files.lh} has {len(left):,} rows but {files.rh.name} {len(right):,}; copy both of one subject and release."
        )
    return SideBySide(halves), left.shape[1]
