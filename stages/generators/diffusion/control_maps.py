"""Maps that steer a diffusion network by place: what they are named, whose they are, how they are brought to size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from stages.ground.checks import OneOf, check_all
from stages.ground.devices import sent_to
from stages.ground.errors import InputError


@dataclass(frozen=True)
class Control:
    """A network that steers by a map, and the value that is its map.

    >>> depth = Control("depth", "sd-controlnet-depth", shape=(64, 64))
    >>> colours = Control("colour_map", "t2iadapter-color", shape=(8, 8, 3), enlarged="nearest")

    Attributes
    ----------
    reads : str
        Name of the value.
    folder : path
        Of the network, in diffusers' layout.
    shape : tuple of int or None
        Of a map: (height, width), or (height, width, channels); None stands for any length. A map of one channel is repeated
        for a network of several. Of a map of features, (channels, height, width).
    enlarged : {"bilinear", "nearest"}
        How a map of another size becomes as large as the picture.
    hint : {"pixels", "values", "features"}
        What a branch reads: a map of pixels, 0..1, through its hint encoder; a map of any values (channels, size, size) through
        the same, as it is; or a map of features (channels, size, size), which is added behind its first convolution as it is,
        at the size of the latents, as NeuroPictor has it.
    unconditional : {"kept", "none"}
        Whether a branch steers the unconditional half of guidance too.
    """

    reads: str
    folder: str | Path
    shape: tuple = (None, None)
    enlarged: str = "bilinear"
    hint: str = "pixels"
    unconditional: str = "kept"

    def __post_init__(self):
        rules = {"enlarged": OneOf("bilinear", "nearest"), "hint": OneOf("pixels", "values", "features")}
        check_all(self, {**rules, "unconditional": OneOf("kept", "none")})


def stacked_maps(rows, channels, size, enlarged="bilinear"):
    """Bring maps to the size of a picture, one row each.

    >>> rows = [np.array([[0.0, 2.0]], np.float32), None]
    >>> stacked_maps(rows, 3, 4, "nearest")[:, 0]
    tensor([[[0., 0., 1., 1.],
             [0., 0., 1., 1.],
             [0., 0., 1., 1.],
             [0., 0., 1., 1.]],
    <BLANKLINE>
            [[0., 0., 0., 0.],
             [0., 0., 0., 0.],
             [0., 0., 0., 0.],
             [0., 0., 0., 0.]]])

    Parameters
    ----------
    rows : sequence of float array of shape (height, width) or (height, width, channels), or None
        Of any size each. Cut off to 0..1, for decoded ones overshoot.
    channels : int
        That the network reads; a map of one is repeated.
    size : int
        Side of the picture in pixels.
    enlarged : {"bilinear", "nearest"}

    Returns
    -------
    maps : float32 tensor of shape (n, channels, size, size)
        0 everywhere for a row that is None.

    Raises
    ------
    InputError
        A map has another number of channels.
    """
    found = torch.zeros(len(rows), channels, size, size)
    for position, row in enumerate(rows):
        if row is None:
            continue
        one = torch.as_tensor(np.asarray(row), dtype=torch.float32)
        one = one[None] if one.ndim == 2 else one.permute(2, 0, 1)
        if len(one) not in (1, channels):
            raise InputError(
                f"A map of shape {tuple(np.shape(row))} has {len(one)} channels, but its network reads {channels}; pass maps of "
                f"shape (height, width) or (height, width, {channels})."
            )
        if one.shape[1:] != (size, size):
            ends = {"align_corners": False} if enlarged == "bilinear" else {}
            one = functional.interpolate(one[None], size=(size, size), mode=enlarged, **ends)[0]
        found[position] = one.clamp(0, 1)
    return found


def scales_of(name, sampling):
    """The scales that rows of a `Sampling` give a map, as a tensor of shape (n, 1, 1, 1); None if all are 0."""
    scales = sampling.weights[name]
    if not any(scales):
        return None
    return sent_to(sampling.device, torch.tensor(scales, dtype=sampling.dtype).view(-1, 1, 1, 1))
