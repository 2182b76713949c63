"""Contours of a picture, as a control net of edges reads them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.feature import canny

QUANTILES = (0.7, 0.9)
SIGMA = 1.0
_TIES = 1e-4
# Of the gradient of Sobel, which is 4 times the step between pixels: half a grey level of 255.
_LEAST = 4 * 0.5 / 255


def contours(picture, quantiles=QUANTILES, sigma=SIGMA):
    """Find edges by Canny's detector, whose thresholds are quantiles of the picture's own gradient.

    >>> picture = np.zeros((32, 32, 3), np.uint8)
    >>> picture[8:24, 8:24] = 255
    >>> int(contours(picture).sum())
    68
    """
    levels = np.asarray(picture, np.int64) @ (2125, 7154, 721)
    # In whole numbers, so that a constant that is added to all levels leaves no trace.
    smoothed = ndimage.gaussian_filter((levels - levels.min()) / (10_000 * 255), sigma, mode="nearest")
    # An edge between two pixels is as steep at both, and rounding would choose one here and the other there. What is added
    # chooses the darker one.
    smoothed -= (
        _TIES
        / max(smoothed.shape)
        * sum(np.square(places) for places in np.ogrid[: smoothed.shape[0], : smoothed.shape[1]])
    )
    gradient = np.hypot(ndimage.sobel(smoothed, axis=0), ndimage.sobel(smoothed, axis=1))
    low, high = (max(float(np.quantile(gradient, share)), _LEAST) for share in quantiles)
    return canny(smoothed, sigma=0, low_threshold=low, high_threshold=high, mode="nearest")
