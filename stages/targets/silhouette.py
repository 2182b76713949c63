"""The silhouette of what a picture shows: how likely each place is no background, 0..1."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from stages.ground.checks import Number, check
from stages.networks.deeplab import load_deeplab
from stages.targets.depth_map import cells
from stages.targets.picture_maps import PictureMaps
from stages.targets.saliency import saliency

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Silhouette(PictureMaps):
    """Probability that a place is none of background, by torchvision's DeepLabV3: 112 x 112 values.

        map = 1 − softmax(scores)[background], means over cells

    >>> from stages.networks.deeplab import built
    >>> target = Silhouette(built((1, 1, 1, 1), 3).eval(), side=8, size=32)
    >>> target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape
    (2, 64)

    Parameters
    ----------
    network : torchvision.models.segmentation.DeepLabV3
        From `stages.networks.deeplab.load_deeplab`, in evaluation mode.
    side : int
        Of the map; CMVDM's decoder of structure works on 112.
    size : int
        Side of the pictures that the network looks at, in pixels; others are resized to it (Pillow, bilinear, 8 bit).
    """

    name = "silhouette"

    def __init__(self, network, side=112, size=520):
        check("side", side, Number(1, whole=True, example=112))
        check("size", size, Number(8, whole=True, example=520))
        self.network, self.shape, self.size = network, (side, side), size

    @classmethod
    def from_pretrained(cls, folder, device="cpu", **options):
        """Load torchvision's file in a folder, in float32; `options` as of the class.

        Raises
        ------
        CheckpointError
            The file is absent or damaged, or of another network.
        InputError
            An option has another value.
        """
        return cls(load_deeplab(folder).to(device).requires_grad_(False), **options)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {
            "resize": [self.size, self.size],
            "interpolation": "bilinear, antialiased, 8 bit",
            "mean": list(MEAN),
            "std": list(STD),
            "silhouette": "probability of all classes but the first, means of cells",
            "cells": list(self.shape),
        }

    @torch.inference_mode()
    def _map(self, picture):
        device = next(self.network.parameters()).device
        # Copied: torch warns of a read-only array.
        small = np.array(Image.fromarray(picture).resize((self.size, self.size), Image.Resampling.BILINEAR))
        pixels = torch.from_numpy(small).to(device).permute(2, 0, 1)[None] / 255
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD))
        scores = self.network((pixels - mean) / std)["out"][0]
        return cells((1 - scores.softmax(dim=0)[0]).float().cpu().numpy(), self.shape[0]).clip(0, 1)


class DrawnSilhouette(PictureMaps):
    """The stand-in of the embedded default, without a network: what stands out of a drawn scene, by a threshold.

    >>> picture = np.full((1, 32, 32, 3), 60, np.uint8)
    >>> picture[0, 8:24, 8:24] = 250
    >>> DrawnSilhouette(side=4).encode(picture).reshape(4, 4)[1].tolist()
    [0.0, 1.0, 1.0, 0.0]

    Parameters
    ----------
    side : int
        Of the map.
    threshold : float
        Share of the largest distance of a colour from those of the border, above which a pixel belongs to the figure; see
        `stages.targets.saliency`.
    """

    name = "silhouette"

    def __init__(self, side=112, threshold=0.35):
        check("side", side, Number(1, whole=True, example=112))
        self.shape, self.threshold = (side, side), check("threshold", threshold, Number(0, 1, example=0.35))

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {
            "silhouette": "how far a colour is from those of the border, above a threshold, means of cells",
            "threshold": self.threshold,
            "cells": list(self.shape),
        }

    def _map(self, picture):
        return cells((saliency(picture) > self.threshold).astype(np.float32), self.shape[0])
