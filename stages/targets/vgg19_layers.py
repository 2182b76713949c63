"""Layers of VGG19 as targets: what Shen and others (2019) decode from brain activity, each layer by itself.

The network is Caffe's (`stages.networks.vgg19`). It reads the greys of a picture of 224 pixels, blue first, less the mean grey
of each colour. Takagi and Nishimoto (arXiv 2306.11536) give it red first, less the means in the order of blue, green and red.
Features that are decoded from imagery are of the variant "leaky".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages.ground.checks import OneOf, check, uint8_pictures
from stages.ground.pictures import check_levels
from stages.networks.vgg19 import MEANS, PUBLISHED, load_vgg19, n_values
from stages.networks.vgg19_names import LAYERS

CHANNELS = ("BGR", "RGB")


class VGG19Layer:
    """One layer: 64 x 224 x 224 of conv1_2, 3,211,264 values a picture.

    >>> from stages.networks.vgg19 import VGG19, VGG19Config
    >>> network = VGG19(VGG19Config(picture=32, channels=(2, 3, 4, 5, 6), hidden=8, classes=7)).eval()
    >>> target = VGG19Layer(network, "conv5_4")
    >>> target.name, target.shape, target.n_targets
    ('vgg19_conv5_4', (6, 2, 2), 24)
    >>> target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape
    (2, 24)

    Parameters
    ----------
    network : stages.networks.vgg19.VGG19
        In evaluation mode, of either variant. It may end with the layer.
    layer : str
        One of `stages.networks.vgg19_names.LAYERS`: ``conv5_4`` and ``fc7`` are before the rectifier, ``relu5_4`` and ``relu7``
        behind it.
    channels : {"BGR", "RGB"}
        "BGR" gives the network blue first, as it was trained. "RGB" gives it red first and subtracts the means of blue, green
        and red in that order all the same, as Takagi and Nishimoto's scripts do by a slip.

    Attributes
    ----------
    name : str
        ``vgg19_`` and the layer; ``vgg19_leaky_`` and the layer of that variant.
    """

    takes = "images"

    def __init__(self, network, layer, channels="BGR"):
        self.network, self.layer = network, check("layer", layer, OneOf(*LAYERS))
        self.channels = check("channels", channels, OneOf(*CHANNELS))
        self.name = prefix_of(network.config) + layer

    @classmethod
    def from_pretrained(cls, folder, layer, device="cpu", variant="original", **options):
        """Load the network up to one layer, in float32.

        Parameters
        ----------
        folder : path
            Holds ``model.safetensors``. Nothing is looked for elsewhere.
        layer : str
        device : str or torch.device
        variant : {"original", "leaky"}
            See `stages.networks.vgg19`.
        **options
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            There is no such layer, or an option has another value.
        """
        return cls(load_vgg19(Path(folder), layer, device, variant), layer, **options)

    @property
    def shape(self):
        """(channels, height, width) of maps, (values,) of what is behind them."""
        return self.network.config.shape(self.layer)

    @property
    def n_targets(self):
        """Values per picture."""
        return n_values(self.network.config, self.layer)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        config = self.network.config
        other = {"slope": config.slope, "pooling": config.pooling} if prefix_of(config) != prefix_of(PUBLISHED) else {}
        return {
            "resize": [config.picture, config.picture],
            "interpolation": "bicubic, antialiased, 8 bit",
            "channels": self.channels,
            "less": list(MEANS),
            "layer": self.layer,
            **other,
        }

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
        device = self.network.features[0].weight.device
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            part = torch.from_numpy(self._resized(items[start : start + batch_size])).to(device)
            found = self.network(prepared(part, self.channels), (self.layer,))[self.layer]
            values[start : start + len(part)] = found.flatten(1).cpu().numpy()
        return values

    def _resized(self, images):
        images, side = uint8_pictures(images, "VGG19"), (self.network.config.picture,) * 2
        # Copied: torch warns of a read-only array.
        return np.stack([np.array(Image.fromarray(one).resize(side, Image.Resampling.BICUBIC)) for one in images])


def prefix_of(config):
    """What names of a network's layers begin with.

    >>> prefix_of(PUBLISHED)
    'vgg19_'

    Parameters
    ----------
    config : stages.networks.vgg19.VGG19Config
    """
    return "vgg19_leaky_" if config.slope or config.pooling != "max" else "vgg19_"


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
        As `VGG19Layer` has it.

    Returns
    -------
    pictures : float32 tensor of shape (n, 3, height, width)
    """
    greys = pictures.permute(0, 3, 1, 2).float()
    greys = greys.flip(1) if channels == "BGR" else greys
    return greys - greys.new_tensor(MEANS)[:, None, None]
