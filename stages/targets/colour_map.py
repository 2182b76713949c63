"""The coarse colours of a picture: means over the cells of a grid, as a T2I-adapter of colours reads them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from stages.ground.checks import Number, check
from stages.targets.picture_maps import PictureMaps


class ColourMap(PictureMaps):
    """Mean colours of 8 x 8 cells, 192 values of 0 to 1.

    >>> picture = np.zeros((1, 64, 64, 3), np.uint8)
    >>> picture[0, :8, :8] = 255
    >>> found = ColourMap().encode(picture).reshape(8, 8, 3)
    >>> found[0, 0].tolist(), float(found.sum())
    ([1.0, 1.0, 1.0], 3.0)

    Enlarged without interpolation, a map has itself as its map.

    Parameters
    ----------
    side : int
        Cells along a side; the published adapter was trained with 8 of 64 pixels.
    """

    name = "colour_map"

    def __init__(self, side=8):
        check("side", side, Number(1, whole=True, example=8))
        self.shape = (side, side, 3)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {"colours": "means of cells, sRGB levels", "cells": list(self.shape[:2])}

    def _map(self, picture):
        return mean_colours(picture, self.shape[0])


def mean_colours(picture, side):
    """Mean colours of the cells of a uint8 picture, float32 (side, side, 3), 0..1.

    Cells that no whole number of pixels fills are Pillow's box: a pixel belongs to the one that holds its middle.
    """
    planes = [Image.fromarray(picture[..., channel].astype(np.float32)) for channel in range(3)]
    return np.stack([plane.resize((side, side), Image.Resampling.BOX) for plane in planes], axis=-1) / np.float32(255)
