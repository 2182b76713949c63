"""Pictures whose colours are changed one by one in training, each change by a lot of its own, as MindBridge does it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from stages.ground.checks import Number, check
from stages.training.picture_changes import PictureChanges

# Least and most of each, in the order in which they come.
PUBLISHED = {
    "brightness": (0.8, 1.2),
    "contrast": (0.8, 1.2),
    "gamma": (0.8, 1.2),
    "gain": (1.0, 1.3),
    "saturation": (0.8, 1.2),
    "hue": (-0.1, 0.1),
    "sharpness": (0.8, 1.2),
}


@dataclass(frozen=True)
class SeparateColours(PictureChanges):
    """Crops, and after them six changes of colours and grey, of which a picture gets each by its own lot.

    At its defaults it is what Wang et al. (2024, MindBridge) do, with these differences from kornia, by which they do it: crops
    and resizing as `PictureChanges` has them, and saturation as torchvision changes it.

    >>> import numpy as np
    >>> pictures = np.full((2, 40, 40, 3), 100, dtype=np.uint8)
    >>> SeparateColours(size=32, each=0.0)(pictures, step=0)[:, 0, 0].tolist()
    [[100, 100, 100], [100, 100, 100]]

    Attributes
    ----------
    each : float
        Share of the pictures that each change of colours happens to, and grey.

    See Also
    --------
    stages.training.picture_changes.PictureChanges : the other attributes, of which mirroring and jitter are not used.
    """

    scale: tuple[float, float] = (0.8, 1.0)
    each: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        check("each", self.each, Number(0, 1))

    @property
    def _colours(self):
        return [v2.RandomApply([OneColour(name)], self.each) for name in _CHANGES] + [v2.RandomGrayscale(self.each)]


class OneColour(v2.Transform):
    """One change of colours, as far as a number goes that is drawn.

    >>> with torch.random.fork_rng():
    ...     changed = OneColour("brightness")(torch.full((3, 4, 4), 0.5))
    >>> bool((changed - 0.5).abs().max() <= 0.2)
    True

    Parameters
    ----------
    name : {"brightness", "contrast", "gamma", "saturation", "hue", "sharpness"}
        Brightness adds, contrast multiplies, as kornia has them.
    """

    def __init__(self, name):
        super().__init__()
        self.name = name

    def make_params(self, flat_inputs):
        drawn = [self.name, "gain"] if self.name == "gamma" else [self.name]
        return {"numbers": [torch.empty(()).uniform_(*PUBLISHED[one]).item() for one in drawn]}

    def transform(self, inpt, params):
        return _CHANGES[self.name](inpt, *params["numbers"]).clamp(0, 1)


_CHANGES = {
    "brightness": lambda picture, number: picture + (number - 1),
    "contrast": lambda picture, number: picture * number,
    "gamma": functional.adjust_gamma,
    "saturation": functional.adjust_saturation,
    "hue": functional.adjust_hue,
    "sharpness": functional.adjust_sharpness,
}
