"""Pictures made smaller as kornia does it: a Gaussian before bicubic interpolation between the pixels of the corners."""

from __future__ import annotations

import torch
from torch.nn import functional


def smoothed(pictures, size):
    """Resize pictures without aliases.

    >>> smoothed(torch.ones(1, 3, 425, 425), 224).shape
    torch.Size([1, 3, 224, 224])
    >>> blank = torch.full((1, 1, 64, 48), 0.25)
    >>> torch.allclose(smoothed(blank, 32), torch.tensor(0.25))
    True

    A side of s pixels that becomes t of them is blurred along itself, before it is interpolated, by a Gaussian of
    max((s / t - 1) / 2, 0.001) pixels that is cut off at about two of these; pixels are mirrored at the edges. So has kornia
    0.7 it (``resize``, bicubic, ``antialias`` and ``align_corners``). If no side becomes shorter, nothing is blurred, and
    pictures of this size stay as they are.

    Parameters
    ----------
    pictures : float tensor of shape (n, channels, height, width)
    size : int
        Side in pixels; what is no square is squeezed into one.

    Returns
    -------
    pictures : float tensor of shape (n, channels, size, size)
        Not cut off: bicubic interpolation overshoots a little at edges.
    """
    height, width = pictures.shape[-2:]
    if (height, width) == (size, size):
        return pictures
    if max(height, width) > size:
        rows, columns = (_gaussian(side / size, pictures) for side in (height, width))
        margins = [len(columns) // 2] * 2 + [len(rows) // 2] * 2
        around = functional.pad(pictures, margins, mode="reflect").flatten(0, 1)[:, None]
        blurred = functional.conv2d(functional.conv2d(around, columns[None, None, None]), rows[None, None, :, None])
        pictures = blurred.view_as(pictures)
    return functional.interpolate(pictures, size=(size, size), mode="bicubic", align_corners=True)


def _gaussian(factor, like):
    """Weights of the blur along a side that becomes shorter by a factor, an odd number of them."""
    sigma = max((factor - 1) / 2, 0.001)
    length = int(max(4 * sigma, 3))
    places = torch.arange(length + 1 - length % 2, dtype=like.dtype, device=like.device)
    weights = torch.exp(-((places - len(places) // 2) ** 2) / (2 * sigma**2))
    return weights / weights.sum()
