"""What is where in a picture, by a network that learned places without labels: a teacher of MindEye's blurry latents.

Scotti et al. (2023) hold places of a small map, decoded from the brain, against those that the ConvNeXt-XL of VICRegL (Bardes
et al. 2022) sees in the picture.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.ground.checks import Number, OneOf, check, uint8_pictures
from stages.ground.errors import InputError
from stages.ground.pictures import check_levels
from stages.networks.convnext_maps import ConvNeXtMaps, own_name

MEAN = (0.485, 0.456, 0.406)
STD = {"published": (0.228, 0.224, 0.225), "ImageNet": (0.229, 0.224, 0.225)}
"""Standard deviations of the channels: the authors' script has a digit of the first one wrong."""
_PIXELS = 32


class PlaceFeatures:
    """Values of the places of a picture, row by row: 256 x 512 of one of 512 pixels.

    >>> target = PlaceFeatures.from_pretrained(folder)  # doctest: +SKIP
    >>> target.encode(pictures).shape  # doctest: +SKIP
    (5, 131072)

    Parameters
    ----------
    network : stages.networks.convnext_maps.ConvNeXtMaps
        In evaluation mode.
    size : int
        Side of the pictures in pixels, a multiple of 32; others are resized to it (Pillow, bilinear, 8 bit).
    std : {"published", "ImageNet"}
        What pictures are divided by: 0.228 in the first channel, as the authors have it, or 0.229, as it was meant.
    """

    name = "places"
    takes = "images"

    def __init__(self, network, size=512, std="published"):
        check("size", size, Number(1, whole=True, example=512))
        if size % _PIXELS:
            raise InputError(
                f"size is {size} pixels but a place is {_PIXELS}; pass a multiple of {_PIXELS}, such as 512."
            )
        self.network, self.size, self.std = network, size, check("std", std, OneOf(*STD))

    @classmethod
    def from_pretrained(cls, folder, device="cpu", **options):
        """Load ``config.json`` and ``model.safetensors``, whose tensors bear the published names; in float32.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            An option has another value.
        """
        config = read_json_object(Path(folder) / CONFIG_FILE, "ConvNeXtMaps")
        with refusing_values("ConvNeXtMaps", Path(folder) / CONFIG_FILE), torch.device("meta"):
            network = ConvNeXtMaps(*(tuple(config[name]) for name in ("depths", "widths", "projected")))
        stored = {own_name(name): tensor for name, tensor in read_network_tensors(folder).items()}
        stored.pop(None, None)
        network = fill_network(network, stored, folder).to(device).requires_grad_(False)
        return cls(network, **options)

    @property
    def shape(self):
        """(places, values of each)."""
        return ((self.size // _PIXELS) ** 2, self.network.width)

    @property
    def n_targets(self):
        """Values per picture."""
        return math.prod(self.shape)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {
            "resize": [self.size, self.size],
            "interpolation": "bilinear, antialiased, 8 bit",
            "mean": list(MEAN),
            "std": list(STD[self.std]),
            "places": "projected, of their own length",
        }

    @torch.inference_mode()
    def encode(self, items, batch_size=8):
        """Look at pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size.
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        values : array of shape (n, n_targets), float32
            Place by place.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        device = self.network.norm.weight.device
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD[self.std]))
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            part = self._resized(items[start : start + batch_size])
            pictures = torch.from_numpy(part).to(device).permute(0, 3, 1, 2) / 255
            values[start : start + len(part)] = self.network((pictures - mean) / std).flatten(1).cpu().numpy()
        return values

    def _resized(self, images):
        images = uint8_pictures(images, "the network of places")
        side = (self.size, self.size)
        # Copied: torch warns of a read-only array.
        return np.stack([np.array(Image.fromarray(one).resize(side, Image.Resampling.BILINEAR)) for one in images])
