"""Pictures as arrays: checked, resized, rounded, averaged, a few at a time.

Pictures are uint8, 0 to 255. Whatever takes pictures from outside, a reader of data, a target, a score, holds them against the
two laws of this file: `check_levels`, that 255 is white and not 1, and `check_shown`, that they are what people saw.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from stages.ground.errors import InputError
from stages.ground.not_finite import check_rows
from stages.ground.progress import SILENT, Progress

# Pictures read at a time.
_BLOCK = 256
# And to see whether they are pictures: usually the first of these tell. Of more than so many bytes, some at even spacing.
_FEW = 16
_LOOKED_THROUGH = 256 * 2**20
_AT_EVEN_SPACING = 64


def check_levels(pictures: Any, name: str) -> None:
    """Refuse uint8 pictures that hold 0 and 1 alone, a binary pattern that would be taken for black.

    >>> check_levels(np.ones((4, 8, 8, 3), np.uint8), "train pictures")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    stages.ground.errors.InputError: The train pictures are uint8 and their highest value is 1, where 255 is white: ...

    Pictures that are black everywhere pass, for a method may draw them, and so does one picture alone, for it may be dark. Of
    pictures of another type nothing is said.

    Parameters
    ----------
    pictures : array of shape (n, height, width, 3), uint8
        In memory, or anything that gives such an array for an array of rows. It is read until a value is above 1; of more
        than 256 MB, 64 pictures at most.
    name : str
        What they are, in the plural.

    Raises
    ------
    InputError
        Their highest value is 1.
    """
    highest = 0
    for block in _blocks(pictures):
        if block.dtype != np.uint8:
            return
        highest = max(highest, int(block.max(initial=0)))
        if highest > 1:
            return
    if highest == 1 and len(pictures) > 1:
        raise InputError(
            f"The {name} are uint8 and their highest value is 1, where 255 is white: all of them would be black; expected 0 to "
            "255, so multiply binary patterns by 255."
        )


def check_shown(pictures: Any, name: str) -> None:
    """Refuse what cannot be the pictures that somebody saw.

    >>> check_shown(np.zeros((4, 8, 8, 3)), "train pictures")
    Traceback (most recent call last):
    stages.ground.errors.InputError: The train pictures are float64 of shape (4, 8, 8, 3) and lie in 0 to 0; expected uint8 \
(n, height, width, 3), 0 to 255: pass np.rint(255 * pictures).astype(np.uint8).

    Parameters
    ----------
    pictures : array of shape (n, height, width, 3), uint8
        As for `check_levels`.
    name : str
        What they are, in the plural.

    Raises
    ------
    InputError
        They are of another type or shape, their highest value is 1, or several are one and the same.
    """
    shape, dtype = tuple(getattr(pictures, "shape", ())), getattr(pictures, "dtype", None)
    if dtype is not None and shape and (dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or 0 in shape[1:]):
        raise InputError(
            f"The {name} are {dtype} of shape {shape}{_lie_in(pictures)}; expected uint8 (n, height, width, 3), 0 to 255: "
            f"{how_to_convert(pictures)}."
        )
    check_levels(pictures, name)
    if len(pictures) > 1 and _all_the_same(pictures):
        raise InputError(
            f"The {len(pictures):,} {name} are one and the same; expected what was shown for each stimulus: put the pictures "
            "there that were seen, or leave pictures out."
        )


def how_to_convert(pictures: Any) -> str:
    """What to type to make an array of another type uint8 pictures, told from the values of the first ones.

    >>> how_to_convert(np.linspace(0, 255, 48).reshape(1, 4, 4, 3))
    'pass np.rint(pictures).astype(np.uint8)'

    Parameters
    ----------
    pictures : array of shape (n, ...)
        Of any type.

    Returns
    -------
    advice : str
        The end of a sentence.
    """
    ends = _ends(pictures)
    if ends is None:
        return "convert them to 8-bit RGB"
    low, high = ends
    if pictures.dtype == np.uint8:
        return "give them these axes, of grey ones np.stack([grey] * 3, axis=-1)"
    if 0 <= low and high <= 1:
        return "pass np.rint(255 * pictures).astype(np.uint8)"
    if 0 <= low and high <= 255:
        return "pass np.rint(pictures).astype(np.uint8)"
    if -1 <= low and high <= 1:
        return "pass np.rint(127.5 * (pictures + 1)).astype(np.uint8)"
    if 0 <= low and high <= 65535:
        return "pass np.rint(pictures / 257).astype(np.uint8)"
    return "bring them to 0 to 255 and pass np.rint(pictures).astype(np.uint8)"


def _blocks(pictures: Any) -> Iterator[NDArray[Any]]:
    """All pictures, some at a time; or, if they are many, some of them."""
    pictures = np.asarray(pictures) if isinstance(pictures, list | tuple) else pictures
    n = len(pictures)
    first = np.asarray(pictures[np.arange(min(n, _FEW))])
    yield first
    many = first.nbytes * n > _LOOKED_THROUGH * max(len(first), 1)
    rows = np.unique(np.linspace(0, n - 1, _AT_EVEN_SPACING).round().astype(int)) if many else np.arange(len(first), n)
    for start in range(0, len(rows), _FEW):
        yield np.asarray(pictures[rows[start : start + _FEW]])


def _all_the_same(pictures: Any) -> bool:
    first: Any = None
    for block in _blocks(pictures):
        first = block[0] if first is None else first
        if (block != first).any():
            return False
    return True


def _ends(pictures: Any) -> tuple[float, float] | None:
    """Lowest and highest value of the first pictures; None unless they are finite numbers."""
    if pictures.dtype.kind not in "biuf" or not len(pictures):
        return None
    block = next(_blocks(pictures))
    return (float(block.min()), float(block.max())) if block.size and np.isfinite(block).all() else None


def _lie_in(pictures: Any) -> str:
    ends = _ends(pictures)
    return "" if ends is None or pictures.dtype == np.uint8 else f" and lie in {ends[0]:.4g} to {ends[1]:.4g}"


def resized_pictures(images: Any, size: int, progress: Progress = SILENT) -> NDArray[np.uint8]:
    """Shrink or enlarge uint8 pictures to uint8 (n, size, size, 3), bilinear and antialiased, a few at a time.

    >>> resized_pictures(np.zeros((2, 425, 425, 3), dtype=np.uint8), 64).shape
    (2, 64, 64, 3)
    """
    pictures = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for start in range(0, len(images), _BLOCK):
        for row, image in enumerate(np.asarray(images[start : start + _BLOCK]), start=start):
            pictures[row] = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
        progress("reading pictures", min(start + _BLOCK, len(images)), len(images))
    return pictures


def resized_to(picture: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """One picture, uint8 (height, width, 3), brought to `shape` (height, width), bilinear and antialiased."""
    height, width = shape
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def to_uint8(pictures: ArrayLike) -> NDArray[np.uint8]:
    """Pictures in 0 to 255 as uint8: rounded, what lies outside cut off; NotFinite names rows that are not finite.

    >>> to_uint8([[-3.0, 0.4, 99.6, 300.0]]).tolist()
    [[0, 0, 100, 255]]
    """
    check_rows(pictures := np.asarray(pictures))
    return np.rint(np.clip(pictures, 0, 255)).astype(np.uint8)


def moments(images: Any, progress: Progress = SILENT) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over pictures at each pixel, float64 (height, width, 3), read in blocks."""
    total: Any = 0.0
    squares: Any = 0.0
    for start in range(0, len(images), _BLOCK):
        block = np.asarray(images[start : start + _BLOCK], dtype=np.float64)
        total, squares = total + block.sum(axis=0), squares + (block**2).sum(axis=0)
        progress("reading pictures", min(start + _BLOCK, len(images)), len(images))
    mean = total / len(images)
    return mean, np.sqrt(np.maximum(squares / len(images) - mean**2, 0))
