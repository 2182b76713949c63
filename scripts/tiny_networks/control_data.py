"""What the embedded control nets learn from: contours, nearness and colours of the pool's pictures, as small maps."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from stages.targets.colour_map import mean_colours
from stages.targets.contour import contours
from stages.targets.depth_map import DrawnDepthMap
from tiny_networks.generator_data import in_chunks, write_array
from tiny_networks.pool import load_pool

ARRAYS = ("contour", "blurred_contour", "depth", "colour")
DEPTH_SIDE, COLOUR_SIDE = 16, 8
# Pixels of the Gaussian that makes a picture as soft as one that was decoded.
BLUR = 1.5


class ControlMaps:
    """Maps of a pool's pictures, in the order of the pool.

    Attributes
    ----------
    contour, blurred_contour : array of shape (n_pictures, 64, 64), bool
        Of the picture, and of what a Gaussian leaves of it.
    depth : array of shape (n_pictures, 16, 16), float16
        What stands out counts as near, 1.
    colour : array of shape (n_pictures, 8, 8, 3), float16
        Mean colours, 0..1.
    """

    def __init__(self, folder):
        for name in ARRAYS:
            setattr(self, name, np.load(Path(folder) / f"{name}.npy", mmap_mode="r", allow_pickle=False))


def control_maps(workspace, pictures, *, held_out=False):
    """Compute the maps of the first pictures of a pool, or open those that are there."""
    folder = Path(workspace) / "control" / ("maps_held_out" if held_out else "maps")
    folder.mkdir(parents=True, exist_ok=True)
    if not all((folder / f"{name}.npy").exists() for name in ARRAYS) or len(ControlMaps(folder).colour) < pictures:
        images = load_pool(workspace, held_out=held_out).images[:pictures]
        for name, made in (
            ("contour", contour),
            ("blurred_contour", blurred_contour),
            ("depth", depth),
            ("colour", colour),
        ):
            write_array(folder, name, in_chunks(name, images, made))
    return ControlMaps(folder)


def contour(images):
    """Contours of uint8 pictures, bool."""
    return np.stack([contours(image) for image in images])


def blurred_contour(images):
    """Contours of what a Gaussian leaves of them."""
    soft = (Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR)) for image in images)
    return contour([np.asarray(image) for image in soft])


def depth(images):
    """Nearness of uint8 pictures, 16 x 16."""
    return DrawnDepthMap(DEPTH_SIDE).encode(np.asarray(images)).reshape(-1, DEPTH_SIDE, DEPTH_SIDE)


def colour(images):
    """Mean colours of uint8 pictures, 8 x 8."""
    return np.stack([mean_colours(image, COLOUR_SIDE) for image in images])
