"""Grey pictures of any numbers as 8-bit pictures of three channels, all by one range.

A picture that is brought to 0 to 255 by its own lowest and highest value loses its contrast and its brightness, which are what
early visual areas respond to. Here one value is black and one is white for all pictures of train and test.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows, MappedRows, as_rows

BLOCK_BYTES = 16 * 2**20
EXAMPLE = "write range=-0.5,0.5"


def read_range(given: Any) -> tuple[float, float] | None:
    """The values that are black and white, from what was asked for.

    >>> read_range("-0.5,0.5"), read_range([0, 1]), read_range(None)
    ((-0.5, 0.5), (0.0, 1.0), None)

    Raises
    ------
    InputError
        These are not two numbers, the lower first.
    """
    if given is None:
        return None
    parts = re.split(r"[,;\s]+", given.strip(" []()")) if isinstance(given, str) else given
    try:
        low, high = (float(part) for part in parts if not isinstance(part, bool))
    except (TypeError, ValueError):
        raise InputError(f"range is {given!r}; expected the values of black and of white: {EXAMPLE}.") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"range is {given!r}; expected the value of black, then a higher one of white: {EXAMPLE}.")
    return low, high


def check_pictures(pictures: Any, n_pictures: int, name: str, where: Path) -> None:
    """Raise an InputError unless there is a grey picture for each row of responses."""
    if pictures.ndim != 3 or 0 in pictures.shape or pictures.dtype.kind not in "fiu":
        raise InputError(
            f"{name} in {where} is {pictures.dtype} {pictures.shape}; expected grey pictures (n, height, width): copy the file "
            "again."
        )
    if len(pictures) != n_pictures:
        raise InputError(
            f"{name} in {where} has {len(pictures):,} pictures but there are responses to {n_pictures:,}; take both from one "
            "release."
        )


def lowest_and_highest(several: Sequence[Any], where: Path) -> tuple[float, float]:
    """The range of all pictures of several arrays, which are read in blocks.

    Raises
    ------
    InputError
        A value is not finite, or all are one and the same.
    """
    low, high = math.inf, -math.inf
    for pictures in several:
        step = max(1, BLOCK_BYTES // max(1, pictures.dtype.itemsize * math.prod(pictures.shape[1:])))
        for start in range(0, len(pictures), step):
            block = np.asarray(pictures[start : start + step])
            _check_finite(block, where)
            low, high = min(low, float(block.min())), max(high, float(block.max()))
    if low == high:
        raise InputError(
            f"All pictures of {where} are one and the same grey, {low + 0.0:.4g}; expected what was shown: copy the file again."
        )
    return low, high


def in_grey_levels(pictures: Any, ends: tuple[float, float], where: Path) -> LazyRows:
    """Pictures as uint8 (n, height, width), converted when they are read.

    >>> in_grey_levels(np.array([[[-0.5, 0.5, 0.1]]]), (-0.5, 0.5), "Stimuli.mat")[:].tolist()
    [[[0, 255, 153]]]

    Parameters
    ----------
    pictures : array of shape (n, height, width)
        In memory, or lazy.
    ends : tuple of (float, float)
        The values of black and of white.
    where : path
        For messages.

    Raises
    ------
    InputError
        On reading: a value is not finite, or lies outside.
    """
    low, high = ends

    def convert(block: NDArray) -> NDArray:
        _check_finite(block, where)
        if block.size and (block.min() < low or block.max() > high):
            raise InputError(
                f"Pictures in {where} run from {float(block.min()):.6g} to {float(block.max()):.6g} but range is {low:.6g} to "
                f"{high:.6g}; name values that hold all of them, or leave range out."
            )
        return np.rint((block.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)

    return MappedRows(as_rows(pictures), convert, dtype=np.uint8, block_bytes=BLOCK_BYTES)


def in_three_channels(grey: Any) -> LazyRows:
    """Grey pictures, uint8 (n, height, width), as pictures (n, height, width, 3)."""
    return MappedRows(
        as_rows(grey),
        lambda block: np.repeat(block[..., None], 3, axis=-1),
        (*grey.shape[1:], 3),
        np.uint8,
        BLOCK_BYTES,
    )


def _check_finite(block: NDArray, where: Path) -> None:
    if not np.isfinite(block).all():
        n_bad = int((~np.isfinite(block)).any(axis=(1, 2)).sum())
        raise InputError(f"{n_bad:,} pictures of {where} hold values that are not finite; copy the file again.")
