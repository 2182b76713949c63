"""Pictures of a further experiment, brought to the size of those that are trained on.

The core's pictures filled a square in the middle of the screen. What lay beside it is cut off, as no decoder of the core
could ever draw it, and the rest is resized (bicubic).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.ground.lazy_rows import LazyRows

LUMINANCES = ("matched", "stored")
FEW = 16
"""So many pictures, evenly spaced, stand for all in a fingerprint."""


class MiddlePictures(LazyRows):
    """Lazily read pictures of any shapes as (n, height, width, 3) uint8.

    >>> wide = np.zeros((4, 8, 3), np.uint8)
    >>> MiddlePictures([lambda: wide], (2, 2))[0].shape
    (2, 2, 3)

    Parameters
    ----------
    sources : sequence of callable
        Each reads one picture, uint8 (height, width, 3).
    size : (int, int)
        Height and width to cut and resize to.
    luminance : {"matched", "stored"}
        "matched" takes the square root of values that a screen of linear light showed, so that they look, as values of
        the core's pictures, as bright as they were.
    """

    takes_any_order = True

    def __init__(
        self, sources: Sequence[Callable[[], NDArray]], size: tuple[int, int], luminance: str = "stored"
    ) -> None:
        super().__init__((len(sources), *size, 3), np.uint8)
        self._sources, self._size, self._luminance = list(sources), size, luminance

    def _read(self, rows):
        return np.stack([self._picture(self._sources[row]()) for row in rows])

    def _picture(self, picture):
        if self._luminance == "matched":
            picture = matched()[picture]
        height, width = self._size
        picture = middle(picture, height, width)
        if picture.shape[:2] == (height, width):
            return picture
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def middle(picture: NDArray, height: int, width: int) -> NDArray:
    """The largest part in the middle of a picture that has the shape of others, such as a square.

    >>> middle(np.zeros((714, 1360, 3), np.uint8), 425, 425).shape
    (714, 714, 3)
    """
    # Cut before it is resized: a resampling filter would take in what lies beside.
    there = picture.shape[:2]
    scale = min(there[0] / height, there[1] / width)
    tall, wide = (max(1, min(whole, round(side * scale))) for whole, side in zip(there, (height, width)))
    top, left = (there[0] - tall) // 2, (there[1] - wide) // 2
    return np.ascontiguousarray(picture[top : top + tall, left : left + wide])


def matched() -> NDArray:
    """For each value from 0 to 255 on a screen of linear light, the core's value of that luminance: 255 times its root.

    >>> matched()[[0, 64, 128, 255]].tolist()
    [0, 128, 181, 255]
    """
    return np.rint(255 * np.sqrt(np.arange(256) / 255)).astype(np.uint8)


def digest(images: LazyRows | None) -> str:
    """Hex digest of a few of some pictures, "" if there are none."""
    if images is None:
        return ""
    rows = np.unique(np.linspace(0, len(images) - 1, FEW).round().astype(int))
    return sha256(b"".join(np.ascontiguousarray(images[[row]]).tobytes() for row in rows)).hexdigest()
