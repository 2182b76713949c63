"""How near what a picture shows is, as a small map: 1 for the nearest place, 0 for the farthest one."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from stages.ground.checks import Number, check
from stages.networks.dpt_depth import load_dpt
from stages.targets.dpt_states import read_preparation
from stages.targets.picture_maps import PictureMaps, scaled
from stages.targets.saliency import saliency


class DepthMap(PictureMaps):
    """Inverse depth by a Dense Prediction Transformer, 64 x 64 values.

        map = (depth − least) / (largest − least), of means over cells

    >>> from stages.networks.dpt_depth import DPTForDepthEstimation, small_config
    >>> preparation = {"size": 8, "resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    >>> target = DepthMap(DPTForDepthEstimation(small_config()).eval(), preparation, side=4)
    >>> target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape
    (2, 16)

    Parameters
    ----------
    network : transformers.DPTForDepthEstimation
        In evaluation mode; see `stages.networks.dpt_depth.load_dpt`.
    preparation : dict
        As `stages.targets.dpt_states.DPTLevel` takes it.
    side : int
        Of the map.
    """

    name = "depth"

    def __init__(self, network, preparation, side=64):
        check("side", side, Number(1, whole=True, example=64))
        self.network, self.shape, self._preparation = network, (side, side), preparation

    @classmethod
    def from_pretrained(cls, folder, device="cpu", **options):
        """Load ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``, in float32; `options` as of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, a tensor missing, unexpected or misshapen, or the network is another.
        InputError
            An option has another value.
        """
        network = load_dpt(folder, device)
        return cls(network, read_preparation(folder, network.config.image_size), **options)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        told = self._preparation
        return {
            "resize": [told["size"], told["size"]],
            "interpolation": f"{Image.Resampling(told['resample']).name.lower()}, antialiased, 8 bit",
            "mean": list(told["image_mean"]),
            "std": list(told["image_std"]),
            "depth": "inverse, means of cells, least and largest of a picture become 0 and 1",
            "cells": list(self.shape),
        }

    @torch.inference_mode()
    def _map(self, picture):
        told, device = self._preparation, self.network.device
        side = (told["size"], told["size"])
        # Copied: torch warns of a read-only array.
        small = np.array(Image.fromarray(picture).resize(side, Image.Resampling(told["resample"])))
        pixels = torch.from_numpy(small).to(device).permute(2, 0, 1)[None] / 255
        mean, std = (torch.tensor(told[name], device=device)[:, None, None] for name in ("image_mean", "image_std"))
        depth = self.network((pixels - mean) / std).predicted_depth[0].float().cpu().numpy()
        return scaled(cells(depth, self.shape[0]))


class DrawnDepthMap(PictureMaps):
    """The stand-in of the embedded default, without a network: what stands out of a drawn scene counts as near.

    >>> picture = np.full((1, 32, 32, 3), 60, np.uint8)
    >>> picture[0, 8:24, 8:24] = 250
    >>> found = DrawnDepthMap(side=4).encode(picture).reshape(4, 4)
    >>> bool(found[1, 1] > 0.9), bool(found[0, 0] < 0.1)
    (True, True)

    Parameters
    ----------
    side : int
        Of the map.
    """

    name = "depth"

    def __init__(self, side=64):
        check("side", side, Number(1, whole=True, example=64))
        self.shape = (side, side)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {
            "depth": "no depth: how far a colour is from those of the border, least and largest of a picture become 0 and 1",
            "cells": list(self.shape),
        }

    def _map(self, picture):
        return scaled(cells(saliency(picture), self.shape[0]))


def cells(values, side):
    """Means of a float32 map (height, width) over the cells of a grid, float32 (side, side)."""
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((side, side), Image.Resampling.BOX))
