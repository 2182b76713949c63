"""Bringing pictures to the form in which they are compared: resize, crop, normalise.

Pictures come in as 8-bit and are never changed; what is compared is a copy.
"""

from dataclasses import dataclass

import numpy as np
import torch

from stages.errors import InputError

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
VALUES = ("floats", "bytes")

_PICTURES_PER_BLOCK = 64


@dataclass(frozen=True)
class Resize:
    """To what square pictures are brought.

    Attributes
    ----------
    size : int
        Pixels on each side.
    interpolation : {"nearest", "bilinear", "bicubic"}
    antialias : bool
        Whether shrinking widens the interpolation kernel, as Pillow does and older torchvision did not.
    values : {"floats", "bytes"}
        "floats": as torchvision resizes tensors in 0..1. "bytes": as Pillow resizes 8-bit pictures, rounding to 8 bits;
        Pillow always antialiases.
    """

    size: int
    interpolation: str
    antialias: bool
    values: str = "floats"


@dataclass(frozen=True)
class Preparation:
    """What is done to pictures before a network looks at them.

    Attributes
    ----------
    resize : Resize or None
    crop : int or None
        Side of the centre crop after resizing.
    mean, std : tuple of 3 floats or None
        Subtracted from and divided into pictures in 0..1, per channel. Without them the network takes uint8
        (n, height, width, 3) and normalises by itself; with them float32 (n, 3, height, width).
    """

    resize: Resize | None = None
    crop: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def resize_pictures(images, resize):
    """Pictures at a protocol's size.

    Parameters
    ----------
    images : uint8 array of shape (n, height, width, 3)
        Left as they are.
    resize : brainrecon.evaluation.protocol.Resize
        Size, interpolation, antialiasing.

    Returns
    -------
    pictures : float32 array of shape (n, size, size, 3), in 0..1
        The given values divided by 255 where the size is already right.

    Raises
    ------
    InputError
        If the pictures are not 8-bit RGB.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
        raise InputError(
            f"Pictures are {images.dtype} of shape {images.shape}; expected uint8 of shape "
            "(n, height, width, 3). Convert them to 8-bit RGB."
        )
    pictures = np.empty((len(images), resize.size, resize.size, 3), dtype=np.float32)
    for start in range(0, len(images), _PICTURES_PER_BLOCK):
        block = slice(start, start + _PICTURES_PER_BLOCK)
        values = images[block].astype(np.float32) / 255
        if values.shape[1:3] != (resize.size, resize.size):
            values = _interpolate(values, resize)
        pictures[block] = values
    return pictures


def _interpolate(values, resize):
    """Float32 (n, height, width, 3) in 0..1 to (n, size, size, 3), as torchvision resizes tensors."""
    tensor = torch.from_numpy(np.ascontiguousarray(values)).permute(0, 3, 1, 2)
    smooth = resize.interpolation != "nearest"
    resized = torch.nn.functional.interpolate(
        tensor,
        size=(resize.size, resize.size),
        mode=resize.interpolation,
        align_corners=False if smooth else None,
        antialias=resize.antialias and smooth,
    )
    return resized.clamp(0, 1).permute(0, 2, 3, 1).numpy()
