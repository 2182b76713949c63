"""Pictures as arrays: resized, rounded, averaged, a few at a time."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from stages.ground.progress import SILENT, Progress

# Pictures read at a time.
_BLOCK = 256


def resized_pictures(images: Any, size: int, progress: Progress = SILENT) -> NDArray[np.uint8]:
    """Shrink or enlarge uint8 pictures to uint8 (n, size, size, 3), bilinear and antialiased, a few at a time."""
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
    """Pictures in 0 to 255 as uint8: rounded, what lies outside cut off."""
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
