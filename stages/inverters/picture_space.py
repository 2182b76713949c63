"""Pictures as a search has them, and what is looked at and shown of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.inverters.picture_display import displayed
from stages.targets.vgg19_layers import CHANNELS


@dataclass(frozen=True)
class PictureSpace:
    """Greys less their means, in one order of colours; a square of some size in the middle is shown.

    >>> space = PictureSpace(size=2, mean_greys=(104.0, 117.0, 123.0), channels="BGR")
    >>> space.greys(torch.zeros(1, 3, 1, 1)).flatten().tolist()
    [123.0, 117.0, 104.0]
    >>> tuple(space.middle(torch.zeros(1, 3, 4, 4)).shape)
    (1, 3, 2, 2)

    Attributes
    ----------
    size : int
        Pixels on a side of what is shown.
    mean_greys : tuple of three float
        In the order of `channels`.
    channels : {"BGR", "RGB"}
    """

    size: int
    mean_greys: tuple[float, ...]
    channels: str = "BGR"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean_greys", tuple(self.mean_greys))
        check("channels", self.channels, OneOf(*CHANNELS))

    def greys(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures red first, 0 to 255 but for what goes beyond; float tensors of shape (..., 3, height, width)."""
        greys = pictures + pictures.new_tensor(self.mean_greys)[:, None, None]
        return greys if self.channels == "RGB" else greys.flip(-3)

    def black_and_white(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest values of pixels, shape (3, 1, 1), of the type and on the device of `like`."""
        black = -like.new_tensor(self.mean_greys)[:, None, None]
        return black, black + 255

    def middle(self, pictures: torch.Tensor) -> torch.Tensor:
        """Cut out the middle of pictures of shape (..., height, width); InputError if they are smaller."""
        height, width = pictures.shape[-2:]
        if min(height, width) < self.size:
            raise InputError(
                f"The generator draws {height} x {width} pixels where the network reads {self.size}; expected pictures at least "
                "as large: give another generator, or search with fitted='resized'."
            )
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return pictures[..., top : top + self.size, left : left + self.size]

    def fitted(self, pictures: torch.Tensor, how: str) -> torch.Tensor:
        """Bring pictures to the size: the middle of them ("cut out"), or all of them ("resized")."""
        return self.middle(pictures) if how == "cut out" else resized(pictures, self.size)

    def shown(self, picture: torch.Tensor, clip: float, clipped: str, rounded: bool) -> NDArray[np.uint8] | None:
        """Make 8 bit of a picture of shape (3, height, width).

        Parameters
        ----------
        picture : float tensor
        clip : float
            Percent, as `stages.inverters.picture_display.displayed` takes it.
        clipped : {"what is shown", "all that is drawn"}
            As `stages.inverters.picture_search_settings.PictureSearchSettings` has it.
        rounded : bool

        Returns
        -------
        picture : uint8 array of shape (size, size, 3), red first; None if it is not finite
        """
        greys, limits_of = self.greys(picture.double().cpu()), None
        if not greys.isfinite().all():
            return None
        if clipped == "all that is drawn":
            greys = greys.clamp(0, 255)
            limits_of = greys.permute(1, 2, 0).numpy()
        return displayed(self.middle(greys).permute(1, 2, 0).numpy(), clip, rounded, limits_of)


def resized(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """Resize pictures of shape (n, 3, height, width) to a square, bilinear and antialiased; others stay as they are.

    >>> tuple(resized(torch.zeros(1, 3, 8, 8), 4).shape)
    (1, 3, 4, 4)

    Parameters
    ----------
    pictures : float tensor
    size : int
    """
    if pictures.shape[-2:] == (size, size):
        return pictures
    return torch.nn.functional.interpolate(pictures, size=(size, size), mode="bilinear", antialias=True)
