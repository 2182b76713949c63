"""CaffeNet, Caffe's reference network: Krizhevsky's of 2012 with pooling before normalisation. Any layer is read by its name.

Jia et al., "Caffe: convolutional architecture for fast feature embedding", 2014. Parameters bear Caffe's names of its layers.
``conv1`` to ``conv5`` and ``fc6``, ``fc7``, ``fc8`` are before the rectifier, ``relu1`` to ``relu7`` behind it.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import nn

from stages.checkpoints.pretrained import fill_network, read_network_tensors
from stages.ground.checks import Number, OneOf, check, check_all
from stages.ground.errors import InputError

LAYERS = (
    *("conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2"),
    *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5"),
    *("fc6", "relu6", "fc7", "relu7", "fc8"),
)
"""Names of all layers, in the order in which they are computed."""
CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")
FULL = ("fc6", "fc7", "fc8")


@dataclasses.dataclass(frozen=True)
class CaffeNetConfig:
    """Sizes of a network; the defaults are published.

    Attributes
    ----------
    picture : int
        Pixels on a side, from 63 on.
    channels : tuple of five int
        Of each convolution; the inputs of the second, fourth and fifth are in two groups.
    hidden, classes : int
        Values of fc6 and fc7, and of fc8.
    """

    picture: int = 227
    channels: tuple[int, ...] = (96, 256, 384, 384, 256)
    hidden: int = 4096
    classes: int = 1000

    def __post_init__(self):
        object.__setattr__(self, "channels", tuple(self.channels))
        some = Number(1, whole=True)
        check_all(self, {"picture": Number(63, whole=True), "hidden": some, "classes": some})
        if len(self.channels) != len(CONVOLUTIONS) or any(width < 2 or width % 2 for width in self.channels):
            raise InputError(
                f"channels is {list(self.channels)}; expected five even numbers: pass channels=(96, 256, 384, 384, 256)."
            )

    def shape(self, layer):
        """(channels, height, width) of a layer of maps, (values,) of one behind them.

        >>> CaffeNetConfig().shape("conv1"), CaffeNetConfig().shape("pool5"), CaffeNetConfig().shape("fc8")
        ((96, 55, 55), (256, 6, 6), (1000,))
        """
        check("layer", layer, OneOf(*LAYERS))
        number = int(layer[-1])
        if number > len(self.channels):
            return (self.classes if layer == FULL[-1] else self.hidden,)
        poolings = sum(LAYERS.index(f"pool{one}") <= LAYERS.index(layer) for one in (1, 2, 5))
        side = (self.picture - 11) // 4 + 1
        for _ in range(poolings):
            side = pooled_side(side)
        return (self.channels[number - 1], side, side)


PUBLISHED = CaffeNetConfig()


def pooled_side(side):
    """Side of maps behind a pooling of three by three, every second: what sticks out at the right and at the bottom counts, too.

    >>> pooled_side(55), pooled_side(14)
    (27, 7)
    """
    return -(-(side - 3) // 2) + 1


class CaffeNet(nn.Module):
    """The network.

    >>> network = CaffeNet(CaffeNetConfig(picture=67, channels=(2, 4, 6, 6, 4), hidden=8, classes=7)).eval()
    >>> found = network(torch.zeros(1, 3, 67, 67), ("conv1", "pool5", "fc8"))
    >>> {name: tuple(values.shape) for name, values in found.items()}
    {'conv1': (1, 2, 15, 15), 'pool5': (1, 4, 1, 1), 'fc8': (1, 7)}

    Parameters
    ----------
    config : CaffeNetConfig
    last : str
        The last layer that is to be computed; there is nothing behind it.
    """

    def __init__(self, config=PUBLISHED, last=LAYERS[-1]):
        super().__init__()
        self.config, self.last = config, check("last", last, OneOf(*LAYERS))
        one, two, three, four, five = config.channels
        layers = {
            "conv1": lambda: nn.Conv2d(3, one, 11, stride=4),
            "conv2": lambda: nn.Conv2d(one, two, 5, padding=2, groups=2),
            "conv3": lambda: nn.Conv2d(two, three, 3, padding=1),
            "conv4": lambda: nn.Conv2d(three, four, 3, padding=1, groups=2),
            "conv5": lambda: nn.Conv2d(four, five, 3, padding=1, groups=2),
            "fc6": lambda: nn.Linear(math.prod(config.shape("pool5")), config.hidden),
            "fc7": lambda: nn.Linear(config.hidden, config.hidden),
            "fc8": lambda: nn.Linear(config.hidden, config.classes),
        }
        for layer in (*CONVOLUTIONS, *FULL):
            if layer not in _behind(last):
                self.add_module(layer, layers[layer]())
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)

    def forward(self, pictures, layers):
        """Read layers of pictures; nothing behind the last of them is computed.

        Parameters
        ----------
        pictures : float tensor of shape (n, 3, height, width)
            Greys of 0 to 255 less their means, blue first. Layers of maps take pictures of any size.
        layers : sequence of str
            Some of `LAYERS`.

        Returns
        -------
        values : dict of str to float tensor of shape (n, ...)
            In the order of `layers`; shapes are those of `CaffeNetConfig.shape` for pictures of its size.
        """
        wanted = {check("layer", layer, OneOf(*LAYERS)) for layer in layers}
        if later := [layer for layer in layers if LAYERS.index(layer) > LAYERS.index(self.last)]:
            raise InputError(
                f"{later[0]} is asked for, but the network was loaded up to {self.last}; load it up to {later[0]}."
            )
        found, x = {}, pictures
        for layer in LAYERS:
            x = self._layer(layer)(x.flatten(1) if layer == FULL[0] else x)
            if layer in wanted:
                found[layer] = x
            if len(found) == len(wanted):
                break
        return {layer: found[layer] for layer in layers}

    def _layer(self, layer):
        if layer in (*CONVOLUTIONS, *FULL):
            return getattr(self, layer)
        return {"relu": torch.relu, "pool": self.pool, "norm": self.norm}[layer[:-1]]


def _behind(layer):
    """Layers with parameters that lie behind a layer."""
    return [one for one in LAYERS[LAYERS.index(layer) + 1 :] if one in (*CONVOLUTIONS, *FULL)]


def load_caffenet(folder, layer="fc8", device="cpu"):
    """Load the network up to a layer.

    Parameters
    ----------
    folder : path
        Holds ``model.safetensors``, under Caffe's names. Nothing is looked for elsewhere.
    layer : str
        The last one that is to be computed.
    device : str or torch.device

    Returns
    -------
    network : CaffeNet
        In float32, in evaluation mode, without gradients of its own.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or a tensor missing, unexpected or misshapen.
    InputError
        There is no such layer.
    """
    check("layer", layer, OneOf(*LAYERS))
    tensors = read_network_tensors(folder)
    with torch.device("meta"):
        network = CaffeNet(config_of(tensors), layer)
    # What lies behind the layer is in the file, and is not read.
    spare = {f"{later}.{kind}" for later in _behind(layer) for kind in ("weight", "bias")}
    kept = {name: value for name, value in tensors.items() if name not in spare}
    return fill_network(network, kept, folder).requires_grad_(False).to(device)


def config_of(tensors):
    """Tell the sizes of a network from its tensors.

    >>> config_of(CaffeNet(CaffeNetConfig(picture=102, channels=(2, 4, 6, 6, 4), hidden=8, classes=7)).state_dict())
    CaffeNetConfig(picture=102, channels=(2, 4, 6, 6, 4), hidden=8, classes=7)

    Parameters
    ----------
    tensors : mapping of str to tensor
        Under the names of `CaffeNet`.

    Returns
    -------
    config : CaffeNetConfig
        Pictures are the largest for which the maps are as large as fc6 has inputs for, but of 227 pixels if these do, too. The
        published one if tensors are missing that would tell: filling a network says which.
    """
    names = [f"{layer}.weight" for layer in (*CONVOLUTIONS, *FULL)]
    if any(getattr(tensors.get(name), "ndim", 0) < 2 for name in names):
        return PUBLISHED
    channels = tuple(len(tensors[f"{layer}.weight"]) for layer in CONVOLUTIONS)
    hidden, classes = len(tensors["fc6.weight"]), len(tensors["fc8.weight"])
    if any(width < 2 or width % 2 for width in channels):
        return PUBLISHED
    side = math.isqrt(tensors["fc6.weight"].shape[1] // channels[-1])
    fitting = [size for size in range(63, 300) if CaffeNetConfig(size, channels).shape("pool5")[1] == side]
    picture = PUBLISHED.picture if PUBLISHED.picture in fitting or not fitting else fitting[-1]
    return CaffeNetConfig(picture, channels, hidden, classes)
