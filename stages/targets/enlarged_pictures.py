"""Pictures as Brain-Diffuser's scripts hand them to CLIP: enlarged, through floats, and cut off to 8 bit."""

import numpy as np
from PIL import Image

SIDE = 512


def _cut_off():
    """What the scripts make of each grey level: to -1..1 in float32, back to 0..255, cut off."""
    shares = np.arange(256, dtype=np.float32) / np.float32(255)
    there = shares * np.float32(2) - np.float32(1)
    back = (there + np.float32(1)) / np.float32(2) * np.float32(255)
    return back.astype(np.uint8)


CUT_OFF = _cut_off()
"""Grey level of each grey level, uint8 (256,): 1 to 63 become the next lower one, which the sum with 1 has rounded down."""


def enlarged(picture):
    """Enlarge a picture to 512 pixels as the published scripts do, with the grey levels that they lose.

    >>> enlarged(np.full((425, 425, 3), 63, dtype=np.uint8))[0, 0].tolist()
    [62, 62, 62]

    Ozcelik and VanRullen's script resizes (bilinear, 8 bit), and Versatile Diffusion's code takes the pixels to −1..1 and back
    before its image processor, that of transformers 4.19, makes 8 bit of them again, by cutting off. Whatever the size is, it
    is resized.

    Parameters
    ----------
    picture : uint8 array of shape (height, width, 3)

    Returns
    -------
    picture : uint8 array of shape (512, 512, 3)
    """
    return CUT_OFF[np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR))]
