"""The coarse colours of a picture: means over the cells of a grid, as a T2I-adapter of colours reads them."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 8


def colours_of(pictures, side=SIDE):
    """Mean colour of each cell, float32 (n, side, side, 3), 0..1."""
    planes = np.asarray(pictures).astype(np.float32) / 255
    n, height, width, _ = planes.shape
    if height % side == 0 and width % side == 0:
        return planes.reshape(n, side, height // side, side, width // side, 3).mean(axis=(2, 4))
    resized = [
        np.stack([Image.fromarray(one[..., c]).resize((side, side), Image.Resampling.BOX) for c in range(3)], -1)
        for one in planes
    ]
    return np.stack(resized)
