"""Layers of CaffeNet as targets: Krizhevsky's network in Caffe's form, whose eight layers Horikawa and Kamitani (2017) decode.

Their recipe reads the layers before the rectifier, gives the network pictures of 227 pixels that are squeezed into a square, blue
first, less the mean grey of each colour, and keeps a thousand units of each layer.
"""

from __future__ import annotations

from pathlib import Path

from stages.networks.caffenet import LAYERS, load_caffenet
from stages.targets.network_layers import NetworkLayer


class CaffeNetLayer(NetworkLayer):
    """One layer: 96 x 55 x 55 of conv1, 290,400 values a picture, or some units of it.

    >>> import numpy as np
    >>> from stages.networks.caffenet import CaffeNet, CaffeNetConfig
    >>> from stages.targets.network_layers import Units
    >>> network = CaffeNet(CaffeNetConfig(picture=67, channels=(2, 4, 6, 6, 4), hidden=8, classes=7)).eval()
    >>> CaffeNetLayer(network, "conv1").shape
    (2, 15, 15)
    >>> target = CaffeNetLayer(network, "fc6", units=Units(5, seed=2501, layers=("conv1", "fc6")))
    >>> target.name, target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape
    ('caffenet_fc6', (2, 5))

    Parameters
    ----------
    network : stages.networks.caffenet.CaffeNet
        In evaluation mode. It may end with the layer.
    layer : str
        One of `stages.networks.caffenet.LAYERS`.
    channels, units
        As of `stages.targets.network_layers.NetworkLayer`.
    """

    network_name, layers = "caffenet", LAYERS

    @classmethod
    def from_pretrained(cls, folder, layer, device="cpu", **options):
        """Load the network up to one layer, in float32.

        Parameters
        ----------
        folder : path
            Holds ``model.safetensors``. Nothing is looked for elsewhere.
        layer : str
        device : str or torch.device
        **options
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            There is no such layer, or an option has another value.
        """
        return cls(load_caffenet(Path(folder), layer, device), layer, **options)
