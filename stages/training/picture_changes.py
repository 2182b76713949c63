"""Pictures that are changed anew in every step of a training: cropped, mirrored, in other colours.

Every picture has a generator of its own, seeded by the seed, the step and its place in the batch; so a step's pictures are the
same whenever it is asked for, into however many parts or processes the batch is cut. What is decided for a whole batch depends
on the seed and the step. The changes themselves are torchvision's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from stages.ground.checks import Number, OneOf, check_all, uint8_pictures
from stages.ground.errors import InputError
from stages.ground.pictures import to_uint8
from stages.training.batches import sample_seed

_SHARE = Number(0, 1)
_RULES = {"size": Number(1, whole=True)} | dict.fromkeys(
    ("cropped", "mirrored", "jittered", "grey", "solarised", "blurred"), _SHARE
)
_RULES["cropped_of"] = OneOf("batches", "pictures")


@dataclass(frozen=True)
class PictureChanges:
    """What happens to pictures, and how often.

    At its defaults it is what Scotti et al. (2023) show to CLIP, with these differences from kornia, by which they make it:
    the order of brightness, contrast, saturation and hue is drawn for each picture and not for each batch; resizing, which is
    bilinear and without a filter, as there, does not keep the centres of corner pixels in place; colours are rounded to 8 bit
    at the end.

    >>> changes = PictureChanges(seed=42)
    >>> pictures = np.random.default_rng(0).integers(0, 256, (2, 300, 300, 3), dtype=np.uint8)
    >>> changes(pictures, step=7).shape
    (2, 224, 224, 3)
    >>> np.array_equal(changes(pictures, step=7), changes(pictures, step=7))
    True

    Attributes
    ----------
    size : int
        Side in pixels of what comes out.
    scale : tuple of two floats
        Smallest and largest share of a picture's area that a crop keeps.
    ratio : tuple of two floats
        Smallest and largest width of a crop by its height.
    cropped : float
        Share of what is cropped; the rest is resized.
    cropped_of : {"batches", "pictures"}
        Whether all pictures of a batch are cropped or none, as kornia has it, or each by its own lot.
    mirrored, jittered, grey, solarised, blurred : float
        Share of the pictures that each happens to.
    brightness, contrast, saturation, hue : float
        How far jitter goes, see `torchvision.transforms.v2.ColorJitter`.
    crop_last : bool
        Whether a picture is resized first and cropped last; else it is cropped or resized first.
    seed : int
    """

    size: int = 224
    scale: tuple[float, float] = (0.6, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    cropped: float = 0.3
    cropped_of: str = "batches"
    mirrored: float = 0.5
    jittered: float = 0.3
    grey: float = 0.3
    solarised: float = 0.0
    blurred: float = 0.0
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    crop_last: bool = False
    seed: int = 0

    def __post_init__(self):
        check_all(self, _RULES)
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise InputError(f"scale is {self.scale}; expected two shares in order, above 0 and at most 1: (0.6, 1.0).")
        if len(self.ratio) != 2 or not 0 < self.ratio[0] <= self.ratio[1]:
            raise InputError(f"ratio is {self.ratio}; expected two numbers in order, above 0: (0.75, 1.33).")

    def __call__(self, pictures, step, device="cpu"):
        """Change the pictures of a step.

        Parameters
        ----------
        pictures : array of shape (n, height, width, 3), uint8
        step : int
            Of the training, from 0.
        device : str or torch.device
            Where pixels are computed, which changes a grey level by one at most. One core takes 0.2 s for 32 pictures as CLIP
            sees them, and 0.6 s for 8 as the teacher of MindEye's latent does.

        Returns
        -------
        changed : array of shape (n, size, size, 3), uint8
        """
        pictures = uint8_pictures(pictures, "a change of pictures")
        changed = []
        with torch.random.fork_rng(devices=[]):
            for row, picture in enumerate(pictures):
                change = self.change(step, row)
                # That of the CPU alone, from which torchvision draws wherever the pixels are.
                torch.default_generator.manual_seed(sample_seed(self.seed, step, row))
                changed.append(change(torch.from_numpy(np.array(picture)).to(device).permute(2, 0, 1) / 255))
        if not changed:
            return np.empty((0, self.size, self.size, 3), dtype=np.uint8)
        # One copy of all: each waits for the device.
        return to_uint8(255 * torch.stack(changed).permute(0, 2, 3, 1).cpu().numpy())

    def change(self, step, row=0):
        """Return torchvision's transform for a picture of a step: float tensors (3, height, width), 0 to 1."""
        return self._with_crop if self.is_cropped(step, row) else self._without_crop

    def is_cropped(self, step, row=0):
        """Whether a picture of a step is cropped, by its place in the batch."""
        whose = [self.seed, step, 4] if self.cropped_of == "batches" else [self.seed, step, 4, row]
        return bool(np.random.default_rng(whose).random() < self.cropped)

    @cached_property
    def _with_crop(self):
        crop = v2.RandomResizedCrop(self.size, scale=self.scale, ratio=self.ratio, antialias=False)
        if self.crop_last:
            return v2.Compose([self._resized, *self._colours, crop])
        return v2.Compose([crop, *self._colours])

    @cached_property
    def _without_crop(self):
        return v2.Compose([self._resized, *self._colours])

    @property
    def _resized(self):
        # Pictures that a teacher sees are brought to its size with a filter, before they are changed.
        return v2.Resize((self.size, self.size), antialias=self.crop_last)

    @property
    def _colours(self):
        jitter = v2.ColorJitter(self.brightness, self.contrast, self.saturation, self.hue)
        changes = [
            (self.mirrored, v2.RandomHorizontalFlip(self.mirrored)),
            (self.jittered, v2.RandomApply([jitter], self.jittered)),
            (self.grey, v2.RandomGrayscale(self.grey)),
            (self.solarised, v2.RandomApply([Solarise()], self.solarised)),
            (self.blurred, v2.RandomApply([v2.GaussianBlur(7, sigma=(0.1, 2.0))], self.blurred)),
        ]
        return [change for share, change in changes if share]


class Solarise(v2.Transform):
    """Brighten or darken a picture a little, and turn round what is brighter than a threshold then, as kornia does.

    The threshold is drawn from 0.4 to 0.6, and what is added from -0.1 to 0.1: kornia's defaults.

    >>> with torch.random.fork_rng():
    ...     changed = Solarise()(torch.tensor([0.0, 0.2, 0.8, 1.0]).expand(3, 1, 4))
    >>> bool(changed.max() <= 0.6)
    True
    """

    def make_params(self, flat_inputs):
        threshold, added = torch.empty(2).uniform_(-0.1, 0.1).tolist()
        return {"threshold": 0.5 + threshold, "added": added}

    def transform(self, inpt, params):
        return functional.solarize((inpt + params["added"]).clamp(0, 1), params["threshold"])
