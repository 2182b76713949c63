"""What a subject's files hold, whichever copy they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.ground.errors import InputError
from stages.ground.lazy_rows import BLOCK_BYTES, LazyRows

SPLITS = {"train": "train", "test": "val"}
"""Split -> what its stimuli are called after: train0001, val0001."""
NAMES = ("Other", "V1", "V2", "V3", "V3A", "V3B", "V4", "LatOcc")
"""Areas by the number that stands for each."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Responses and areas of one person, checked against each other.

    Attributes
    ----------
    where : pathlib.Path
        The file of the responses.
    responses : dict of str to LazyRows of shape (n_pictures, n_voxels)
        Of train and test, as they are stored.
    codes : array of shape (n_voxels,)
        The number of each voxel's area, an index of `names`.
    names : tuple of str
    places : array of shape (n_voxels,), or None
        The number of each voxel in the volume, from 1 and column by column, if the files say so.
    """

    where: Path
    responses: dict[str, LazyRows]
    codes: NDArray
    names: tuple[str, ...] = NAMES
    places: NDArray | None = field(default=None)

    def __post_init__(self) -> None:
        n_voxels = len(self.codes)
        for split, rows in self.responses.items():
            _check_matrix(rows, n_voxels, split, self.where)
        codes = whole_numbers(self.codes, "areas", self.where)
        if codes.min() < 0 or codes.max() >= len(self.names):
            wrong = codes.min() if codes.min() < 0 else codes.max()
            raise InputError(
                f"{self.where} gives a voxel the area {wrong}; expected 0 to {len(self.names) - 1}, from {self.names[0]} to "
                f"{self.names[-1]}: copy the file again."
            )
        object.__setattr__(self, "codes", codes)

    def with_values(self) -> NDArray[np.bool_]:
        """Mask (n_voxels,) of the voxels with a finite response to every picture, of training and of test."""
        there = np.ones(len(self.codes), dtype=bool)
        for rows in self.responses.values():
            step = max(1, BLOCK_BYTES // max(1, rows.dtype.itemsize * len(there)))
            for start in range(0, len(rows), step):
                there &= np.isfinite(rows[start : start + step]).all(axis=0)
        if not there.any():
            raise InputError(
                f"Every voxel of {self.where} lacks a response to some picture; expected numbers for most: copy the file again."
            )
        return there


def _check_matrix(rows: LazyRows, n_voxels: int, split: str, where: Path) -> None:
    if rows.ndim == 2 and rows.shape[1] == n_voxels and len(rows) and n_voxels and rows.dtype.kind in "fiu":
        return
    turned = rows.ndim == 2 and rows.shape[0] == n_voxels != rows.shape[1]
    remedy = "transpose them to a row for each picture" if turned else "copy the file again"
    raise InputError(
        f"The {split} responses in {where} are {rows.dtype} {rows.shape} but areas are told of {n_voxels:,} voxels; expected "
        f"numbers (pictures, voxels): {remedy}."
    )


def whole_numbers(values: Any, what: str, where: Path) -> NDArray[np.int64]:
    """Values as whole numbers; an InputError if some are none, or there are none at all."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf" or not values.size or not (values == np.rint(values)).all():
        raise InputError(
            f"The numbers of {what} in {where} are {values.dtype} {values.shape} and not all whole; copy the file again."
        )
    return values.astype(np.int64)
