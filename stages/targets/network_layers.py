"""Layers of networks as targets: what the Kamitani laboratory decodes from brain activity, each layer by itself.

A network of Caffe's reads the greys of a picture that is squeezed into its square, blue first, less the mean grey of each colour.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from PIL import Image

from stages.ground.checks import OneOf, check, uint8_pictures
from stages.ground.pictures import check_levels
from stages.networks.vgg19 import MEANS

CHANNELS = ("BGR", "RGB")


@dataclass(frozen=True)
class Units:
    """Which units of layers are looked at: some of each, drawn once for all layers together.

    >>> Units(2, seed=2501, layers=("conv1", "fc8")).of("fc8", {"conv1": 6, "fc8": 4}.get).tolist()
    [3, 1]

    The generator is seeded once, and permutes the units of one layer after the other, as the laboratory's recipe does; the first
    `n` of each permutation are taken, in that order.

    Attributes
    ----------
    n : int
        Units of each layer; all of one that has fewer.
    seed : int
    layers : tuple of str
        In the order in which they are drawn, this layer and those before it.
    """

    n: int
    seed: int
    layers: tuple[str, ...]

    def of(self, layer, size_of):
        """Numbers of the units of a layer, an array of int; `size_of` gives the number of all units of any layer."""
        check("layer", layer, OneOf(*self.layers))
        random = np.random.RandomState(self.seed)
        orders = {one: random.permutation(size_of(one)) for one in self.layers[: self.layers.index(layer) + 1]}
        return orders[layer][: self.n]


class NetworkLayer:
    """One layer; a subclass says of which network, and loads it. If it is none of Caffe's, the last methods are its own.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode; called with (pictures, layers), and with a ``config`` that has ``picture`` and ``shape(layer)``.
    layer : str
    channels : {"BGR", "RGB"}
        "BGR" gives the network blue first, as it was trained. "RGB" gives it red first and subtracts the means of blue, green
        and red in that order all the same, as Takagi and Nishimoto's scripts do by a slip.
    units : Units, optional
        By default all.

    Attributes
    ----------
    name : str
        The network's, and the layer's.
    """

    takes = "images"
    network_name = ""
    layers = ()

    def __init__(self, network, layer, channels="BGR", units=None):
        self.network, self.layer = network, check("layer", layer, OneOf(*self.layers))
        self.channels = check("channels", channels, OneOf(*CHANNELS))
        self.units = units
        self.name = f"{self.network_name}_{layer}"
        self._chosen = None if units is None else units.of(layer, self._n_values)

    @property
    def shape(self):
        """(channels, height, width) of maps, (values,) of what is behind them, or of chosen units."""
        return self._shape_of(self.layer) if self._chosen is None else (len(self._chosen),)

    @property
    def n_targets(self):
        """Values per picture."""
        return math.prod(self.shape)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        units = {} if self.units is None else {"units": asdict(self.units) | {"layers": list(self.units.layers)}}
        return self._prepared_how() | {"layer": self.layer} | units

    @torch.inference_mode()
    def encode(self, items, batch_size=8):
        """Look at pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; a picture that is no square is squeezed into one.
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
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            found = self._seen(uint8_pictures(items[start : start + batch_size], self.network_name)).flatten(1)
            found = found if self._chosen is None else found[:, torch.from_numpy(self._chosen).to(found.device)]
            values[start : start + len(found)] = found.cpu().numpy()
        return values

    def _n_values(self, layer):
        return math.prod(self._shape_of(layer))

    # Of Caffe's networks

    def _shape_of(self, layer):
        return self.network.config.shape(layer)

    def _prepared_how(self):
        side = self.network.config.picture
        return {
            "resize": [side, side],
            "interpolation": "bicubic, antialiased, 8 bit",
            "channels": self.channels,
            "less": list(MEANS),
        }

    def _seen(self, images):
        """The layer's values for uint8 pictures, a tensor (n, ...)."""
        side = (self.network.config.picture,) * 2
        # Copied: torch warns of a read-only array.
        resized = np.stack([np.array(Image.fromarray(one).resize(side, Image.Resampling.BICUBIC)) for one in images])
        part = torch.from_numpy(resized).to(next(self.network.parameters()).device)
        return self.network(prepared(part, self.channels), (self.layer,))[self.layer]


def prepared(pictures, channels="BGR"):
    """Bring pictures to what the network takes.

    >>> grey = torch.full((1, 1, 1, 3), 128, dtype=torch.uint8)
    >>> [round(value, 1) for value in prepared(grey).flatten().tolist()]
    [24.0, 11.3, 5.3]

    Parameters
    ----------
    pictures : uint8 tensor of shape (n, height, width, 3)
        Red first.
    channels : {"BGR", "RGB"}
        As `NetworkLayer` has it.

    Returns
    -------
    pictures : float32 tensor of shape (n, 3, height, width)
    """
    greys = pictures.permute(0, 3, 1, 2).float()
    greys = greys.flip(1) if channels == "BGR" else greys
    return greys - greys.new_tensor(MEANS)[:, None, None]
