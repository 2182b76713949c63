"""Layers of the embedded evaluation network as targets, which a search can look at, too: maps of three sizes, and the features.

The network judges pictures of the drawn world (`stages.networks.evaluation_network`). A method that decodes or searches by its
layers is judged by what it was made with, and scores say so.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from stages.ground.checks import OneOf, check, uint8_pictures
from stages.ground.pictures import check_levels
from stages.networks.evaluation_network import EvaluationNetwork
from stages.targets.evaluation_names import LAYERS, PREFIX


class EvaluationLayer:
    """One layer.

    >>> from weights import store
    >>> target = EvaluationLayer.from_pretrained(store.path("tiny-evaluation"), "maps3")
    >>> target.name, target.shape
    ('evaluation_maps3', (104, 8, 8))
    >>> target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape
    (2, 6656)

    Parameters
    ----------
    network : stages.networks.evaluation_network.EvaluationNetwork
        In evaluation mode.
    layer : str
        One of `stages.targets.evaluation_names.LAYERS`.
    """

    takes = "images"

    def __init__(self, network, layer):
        self.network, self.layer, self.name = network, check("layer", layer, OneOf(*LAYERS)), PREFIX + layer

    @classmethod
    def from_pretrained(cls, folder, layer, device="cpu"):
        """Load the network.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or belongs to another network.
        InputError
            There is no such layer.
        """
        return cls(EvaluationNetwork.from_pretrained(folder, device), layer)

    @property
    def shape(self):
        """(channels, height, width) of maps, (values,) of the features."""
        return shape_of(self.network, self.layer)

    @property
    def n_targets(self):
        """Values per picture."""
        return math.prod(self.shape)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        side = self.network.config["image_size"]
        return {"resize": [side, side], "interpolation": "bilinear, antialiased", "layer": self.layer}

    @torch.inference_mode()
    def encode(self, items, batch_size=32):
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
            The last axis of `shape` fastest.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        side, device = self.network.config["image_size"], self.network.features.weight.device
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            part = uint8_pictures(items[start : start + batch_size], "the evaluation network")
            greys = torch.from_numpy(np.ascontiguousarray(part)).to(device).permute(0, 3, 1, 2).float() / 255
            if tuple(greys.shape[2:]) != (side, side):
                greys = interpolate(greys, (side, side), mode="bilinear", antialias=True)
            found = layers_of(self.network, greys, (self.layer,))[self.layer]
            values[start : start + len(part)] = found.flatten(1).cpu().numpy()
        return values


def shape_of(network, layer):
    """(channels, height, width) of a layer of maps, (values,) of the features."""
    if layer == "features":
        return (network.config["n_features"],)
    level = LAYERS.index(layer)
    side = network.config["image_size"] // 2 ** (level + 1)
    return (network.config["widths"][level], side, side)


def layers_of(network, pictures, layers):
    """Return layers of pictures, from one pass through the network; differentiable.

    Parameters
    ----------
    network : stages.networks.evaluation_network.EvaluationNetwork
        In evaluation mode.
    pictures : float tensor of shape (n, 3, image_size, image_size)
        0 to 1.
    layers : sequence of str
        Some of `stages.targets.evaluation_names.LAYERS`.

    Returns
    -------
    dict of str to float tensor
        (n, channels, height, width), and (n, n_features) of the features.
    """
    hidden, found = pictures * 2 - 1, {}
    for level, name in enumerate(LAYERS[:-1]):
        hidden = found[name] = network.trunk[2 * level : 2 * level + 2](hidden)
    if "features" in layers:
        found["features"] = network.features(adaptive_avg_pool2d(hidden, 2).flatten(1))
    return {name: found[name] for name in layers}
