"""What keeps a searched picture smooth: blur, shifts, total variation, p-norm, and extremes cut off, as in KamitaniLab's icnn.

All take float tensors of shape (n, channels, height, width), each picture by itself, on any device.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

_LEAST = 1e-5
# Of whole greys of 0 to 255 by lot: icnn divides regularisers by the square of half the norm of such a picture.
_MEAN_SQUARE_OF_GREYS = 255 * (2 * 255 + 1) / 6


def blurred(pictures, sigma):
    """Blur each channel with a Gaussian, which mirrors pictures at their edges.

    >>> picture = torch.zeros(1, 1, 5, 5)
    >>> picture[0, 0, 2, 2] = 1.0
    >>> blurred(picture, 1.0)[0, 0, 2].mul(100).round().tolist()
    [2.0, 10.0, 16.0, 10.0, 2.0]

    Parameters
    ----------
    pictures : float tensor of shape (n, channels, height, width)
    sigma : float
        Standard deviation in pixels, of which four are reached; 0 leaves pictures as they are.
    """
    if not sigma > 0:
        return pictures
    # A matrix for each axis: the same on every device, and exact at the edges.
    rows, columns = (
        torch.from_numpy(gaussian_filter1d(np.eye(length), sigma, axis=0)).to(pictures)
        for length in pictures.shape[-2:]
    )
    return rows @ pictures @ columns.T


def shifted(pictures, shifts):
    """Shift pictures, each by its own pixels; what leaves at one edge comes in at the other.

    >>> shifted(torch.arange(3.0)[None, None, None], [(0, 1)]).flatten().tolist()
    [2.0, 0.0, 1.0]

    Parameters
    ----------
    pictures : float tensor of shape (n, channels, height, width)
    shifts : sequence of (int, int)
        Down and to the right, of each picture.
    """
    return torch.stack([torch.roll(picture, tuple(shift), (-2, -1)) for picture, shift in zip(pictures, shifts)])


def total_variation_gradient(pictures, order=2.0):
    """Gradient of the sum over pixels of the differences to the next pixel below and to the right, to the power of `order`.

    >>> total_variation_gradient(torch.tensor([[[[0.0, 1.0, 1.0]]]])).flatten().tolist()
    [-2.0, 2.0, 0.0]

    Parameters
    ----------
    pictures : float tensor of shape (n, channels, height, width)
    order : float
        2 for the sum of squares. Below it differences near 0 are counted as larger ones, so that the gradient stays finite.
    """
    down, right = torch.zeros_like(pictures), torch.zeros_like(pictures)
    down[..., :-1, :] = pictures[..., 1:, :] - pictures[..., :-1, :]
    right[..., :, :-1] = pictures[..., :, 1:] - pictures[..., :, :-1]
    power = (down.square() + right.square()).sqrt().pow(order).clamp(min=_LEAST)
    factor = order * power.pow(2 * (order / 2 - 1) / order)
    down, right = factor * down, factor * right
    gradient = -down - right
    gradient[..., 1:, :] += down[..., :-1, :]
    gradient[..., :, 1:] += right[..., :, :-1]
    return gradient


def p_norm_gradient(pictures, order=3.0):
    """Gradient of the sum of absolute values to the power of `order`.

    >>> p_norm_gradient(torch.tensor([[[[-1.0, 2.0]]]])).flatten().tolist()
    [-3.0, 12.0]

    Parameters
    ----------
    pictures : float tensor of shape (n, channels, height, width)
    order : float
        1 or more.
    """
    return order * pictures.abs().pow(order - 1) * pictures.sign()


def usual_size(pictures):
    """Square of half the norm that a picture of this shape has on average if its greys are drawn by lot.

    >>> usual_size(torch.zeros(1, 3, 2, 2))
    65152.5

    Parameters
    ----------
    pictures : float tensor of shape (n, channels, height, width)
    """
    return pictures[0].numel() * _MEAN_SQUARE_OF_GREYS / 4


def without_extremes(pictures, percent):
    """Cut off the lowest and the highest values of each picture, half of `percent` at either end.

    >>> without_extremes(torch.arange(5.0)[None, None, None], 50).flatten().tolist()
    [1.0, 1.0, 2.0, 3.0, 3.0]

    Parameters
    ----------
    pictures : float tensor of shape (n, channels, height, width)
    percent : float
    """
    values = pictures.detach().flatten(1).double().cpu().numpy()
    limits = torch.from_numpy(np.percentile(values, [percent / 2, 100 - percent / 2], axis=1)).to(pictures)
    low, high = limits[..., None, None, None]
    return torch.minimum(torch.maximum(pictures, low), high)
