"""Contours of a picture, as a control net of edges reads them: 1 on an edge, 0 elsewhere.

Canny's detector with thresholds that follow from the picture: of a blurred one, as decoders draw it, fixed thresholds leave
nearly nothing.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.feature import canny

from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.targets.picture_maps import PictureMaps

QUANTILES = (0.7, 0.9)
RESIZED = ("bicubic", "bilinear", "lanczos")
# Share of red, green and blue in a grey level, in ten thousandths (ITU-R 709).
_GREY = (2125, 7154, 721)
# Sobel's gradient is 8 times the slope, so this is a quarter of a grey level from pixel to pixel.
_LEAST = 8 * 0.25 / 255
_TIES = 1e-4


class Contour(PictureMaps):
    """Edges of pictures, 512 x 512 values.

    >>> picture = np.zeros((1, 32, 32, 3), np.uint8)
    >>> picture[0, 8:24, 8:24] = 255
    >>> target = Contour(size=64)
    >>> target.encode(picture).shape, target.preprocessing["quantiles"]
    ((1, 4096), [0.7, 0.9])

    Parameters
    ----------
    size : int
        Side of the map in pixels; pictures are resized to it first.
    quantiles : tuple of two float
        See `contours`.
    sigma : float
        Likewise.
    interpolation : {"bicubic", "bilinear", "lanczos"}
        How pictures are resized: Pillow's filters on 8-bit pixels.
    """

    name = "contour"

    def __init__(self, size=512, quantiles=QUANTILES, sigma=1.0, interpolation="bicubic"):
        check("size", size, Number(3, whole=True, example=512))
        check("sigma", sigma, Number(0, above=True, example=1.0))
        self.quantiles = low, high = tuple(map(float, quantiles))
        if not 0 <= low <= high <= 1:
            raise InputError(
                f"quantiles are {list(self.quantiles)}; expected two numbers of 0 to 1, the lower one first, such as "
                f"{list(QUANTILES)}."
            )
        self.shape, self.sigma = (size, size), float(sigma)
        self.interpolation = check("interpolation", interpolation, OneOf(*RESIZED))

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {
            "resize": list(self.shape),
            "interpolation": f"{self.interpolation}, 8 bit",
            "edges": "Canny, thresholds by quantiles of the picture's own gradient",
            "quantiles": list(self.quantiles),
            "sigma": self.sigma,
        }

    def _map(self, picture):
        if picture.shape[:2] != self.shape:
            how = Image.Resampling[self.interpolation.upper()]
            picture = np.asarray(Image.fromarray(picture).resize(self.shape, how))
        return contours(picture, self.quantiles, self.sigma)


def contours(picture, quantiles=QUANTILES, sigma=1.0):
    """Find edges by Canny's detector, whose thresholds are quantiles of the picture's own gradient.

    >>> picture = np.zeros((32, 32, 3), np.uint8)
    >>> picture[8:24, 8:24] = 255
    >>> edges = contours(picture)
    >>> abs(int(edges.sum()) - 4 * 16) <= 4
    True

    Parameters
    ----------
    picture : uint8 array of shape (height, width, 3)
    quantiles : tuple of two float
        Of the magnitude of the gradient over all pixels, 0..1: below the first nothing is an edge, above the second everything
        that is steepest across its edge is one, and between them what touches such an edge. A slope of less than a quarter
        of a grey level is none.
    sigma : float
        Pixels of the Gaussian before the gradient.

    Returns
    -------
    edges : bool array of shape (height, width)
        A constant that is added to all levels changes nothing.
    """
    # In whole numbers, so that what is added to all levels leaves no trace of rounding.
    levels = np.asarray(picture, np.int64) @ _GREY
    smoothed = ndimage.gaussian_filter((levels - levels.min()) / (10_000 * 255), sigma, mode="nearest")
    # An edge between two pixels is as steep at both; without a slight dome, rounding would choose now the one, now the other.
    rows, columns = np.ogrid[: smoothed.shape[0], : smoothed.shape[1]]
    smoothed -= _TIES / max(smoothed.shape) * (np.square(rows) + np.square(columns))
    gradient = np.hypot(ndimage.sobel(smoothed, axis=0), ndimage.sobel(smoothed, axis=1))
    low, high = (max(float(np.quantile(gradient, share)), _LEAST) for share in quantiles)
    return canny(smoothed, sigma=0, low_threshold=low, high_threshold=high, mode="nearest")
