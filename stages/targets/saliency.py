"""What stands out in a picture, without a network: the stand-in of the embedded default for networks of figures and of depth.

A pixel stands out as far as its colour is from every colour of the picture's border, where backgrounds reach and things seldom
do. In the drawn scenes of the simulated world that finds the thing; of photographs it knows little.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from skimage.color import rgb2lab
from skimage.filters import gaussian

SIDE = 64
"""Pixels to which the longer side of a larger picture is reduced first: the cost grows with the third power of it."""
_BORDER = 2
_EVERY = 3


def saliency(picture):
    """Return how far each pixel's colour is from all colours of the border, against the farthest one.

    >>> picture = np.zeros((32, 32, 3), np.uint8)
    >>> picture[10:20, 10:20] = 200
    >>> found = saliency(picture)
    >>> float(found[15, 15]), float(found[2, 2])
    (1.0, 0.0)

    Colours are CIE Lab, smoothed by a Gaussian of one pixel.

    Parameters
    ----------
    picture : uint8 array of shape (height, width, 3)

    Returns
    -------
    array of shape (height, width), float32
        0..1; 0 everywhere where the picture has no other colour than its border. A picture with a side of more than `SIDE`
        pixels is reduced to that, and so is what is returned.
    """
    height, width = picture.shape[:2]
    if max(height, width) > SIDE:
        smaller = (max(1, round(width * SIDE / max(height, width))), max(1, round(height * SIDE / max(height, width))))
        picture = np.asarray(Image.fromarray(picture).resize(smaller, Image.Resampling.BOX))
    colours = gaussian(rgb2lab(picture).astype(np.float32), 1, channel_axis=-1)
    inner = colours[_BORDER:-_BORDER]
    sides = (colours[:_BORDER], colours[-_BORDER:], inner[:, :_BORDER], inner[:, -_BORDER:])
    border = np.concatenate([side.reshape(-1, 3) for side in sides])[::_EVERY]
    flat = colours.reshape(-1, 3)
    nearest = np.full(len(flat), np.inf, np.float32)
    # One colour of the border after the other: all distances at once would be a thousand times the picture.
    for colour in border:
        np.minimum(nearest, np.square(flat - colour).sum(axis=1), out=nearest)
    distance = np.sqrt(nearest).reshape(colours.shape[:2])
    # Lab of one grey differs by rounding; the least difference that eyes see is about 1.
    return distance / distance.max() if distance.max() > 1 else np.zeros_like(distance)
