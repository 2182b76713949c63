"""Layers of VGG19 as targets: what Shen and others (2019) decode from brain activity, each layer by itself.

The network is Caffe's (`stages.networks.vgg19`). It reads the greys of a picture of 224 pixels, blue first, less the mean grey
of each colour. Takagi and Nishimoto (arXiv 2306.11536) give it red first, less the means in the order of blue, green and red.
Features that are decoded from imagery are of the variant "leaky".
"""

from __future__ import annotations

from pathlib import Path

from stages.networks.vgg19 import PUBLISHED, load_vgg19
from stages.networks.vgg19_names import LAYERS
from stages.targets.network_layers import NetworkLayer


class VGG19Layer(NetworkLayer):
    """One layer: 64 x 224 x 224 of conv1_2, 3,211,264 values a picture.

    >>> import numpy as np
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
    channels, units
        As of `stages.targets.network_layers.NetworkLayer`.

    Attributes
    ----------
    name : str
        ``vgg19_`` and the layer; ``vgg19_leaky_`` and the layer of that variant.
    """

    network_name, layers = "vgg19", LAYERS

    def __init__(self, network, layer, channels="BGR", units=None):
        super().__init__(network, layer, channels, units)
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

    def _prepared_how(self):
        config = self.network.config
        other = {"slope": config.slope, "pooling": config.pooling} if prefix_of(config) != prefix_of(PUBLISHED) else {}
        return super()._prepared_how() | other


def prefix_of(config):
    """What names of a network's layers begin with.

    >>> prefix_of(PUBLISHED)
    'vgg19_'

    Parameters
    ----------
    config : stages.networks.vgg19.VGG19Config
    """
    return "vgg19_leaky_" if config.slope or config.pooling != "max" else "vgg19_"
