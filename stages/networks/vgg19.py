"""VGG19 (Simonyan & Zisserman 2015), of which any layer can be read by its name, before or behind its rectifier.

Parameters bear the names under which KamitaniLab published its conversion of Caffe's ``VGG_ILSVRC_19_layers``, which are
torchvision's. Torchvision's own weights have these names and shapes, too, and are others: they were trained on pictures of
another scale. Caffe's names of layers are read as well. Layers are called as Caffe calls them, see
`stages.networks.vgg19_names`.

Shen and others (2019) decode what is imagined to the same weights between other parts: rectifiers that let a fifth of what is
below 0 through, and means instead of the largest of four. That is the variant "leaky".
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import nn

from stages.checkpoints.pretrained import fill_network, read_network_tensors
from stages.ground.checks import Number, OneOf, check, check_all
from stages.ground.errors import InputError
from stages.networks.vgg19_names import CONVOLUTIONS, LAYERS, PLACES, own_name

VARIANTS = {"original": {}, "leaky": {"slope": 0.2, "pooling": "average"}}
"""By name, what differs from the default `VGG19Config`."""
MEANS = (104.00698793, 116.66876762, 122.67891434)
"""Mean grey of blue, green and red in ImageNet, as Caffe's ``ilsvrc_2012_mean.npy`` has them averaged over places."""


@dataclasses.dataclass(frozen=True)
class VGG19Config:
    """Sizes of a network; the defaults are published.

    Attributes
    ----------
    picture : int
        Pixels on a side; a multiple of 32.
    channels : tuple of five int
        Of each block of convolutions.
    hidden, classes : int
        Values of fc6 and fc7, and of fc8.
    slope : float
        Of every rectifier, for what is below 0.
    pooling : {"max", "average"}
        What becomes of four places.
    """

    picture: int = 224
    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    hidden: int = 4096
    classes: int = 1000
    slope: float = 0.0
    pooling: str = "max"

    def __post_init__(self):
        object.__setattr__(self, "channels", tuple(self.channels))
        some = Number(1, whole=True)
        check_all(self, {"picture": Number(32, whole=True), "hidden": some, "classes": some})
        check_all(self, {"slope": Number(0, 1, example=0.2), "pooling": OneOf("max", "average")})
        for width in self.channels:
            check("channels", width, some)
        if len(self.channels) != len(CONVOLUTIONS) or self.picture % 32:
            raise InputError(
                f"picture is {self.picture} pixels and there are {len(self.channels)} blocks; expected a multiple of 32, and "
                "five blocks: pass picture=224, channels=(64, 128, 256, 512, 512)."
            )

    def shape(self, layer):
        """(channels, height, width) of a layer of maps, (values,) of one behind them.

        >>> VGG19Config().shape("conv5_4"), VGG19Config().shape("fc8")
        ((512, 14, 14), (1000,))
        """
        check("layer", layer, OneOf(*LAYERS))
        part, _ = PLACES[layer]
        if part == "classifier":
            return (self.classes if layer == "fc8" else self.hidden,)
        block = int(layer[4])
        side = self.picture // 2 ** (block if layer.startswith("pool") else block - 1)
        return (self.channels[block - 1], side, side)


PUBLISHED = VGG19Config()


class VGG19(nn.Module):
    """The network.

    >>> network = VGG19(VGG19Config(picture=32, channels=(2, 3, 4, 5, 6), hidden=8, classes=7)).eval()
    >>> found = network(torch.zeros(1, 3, 32, 32), ("conv2_2", "fc8"))
    >>> {name: tuple(values.shape) for name, values in found.items()}
    {'conv2_2': (1, 3, 16, 16), 'fc8': (1, 7)}

    Parameters
    ----------
    config : VGG19Config
    """

    def __init__(self, config=PUBLISHED):
        super().__init__()
        self.config = config
        maps, inputs = [], 3
        for outputs, n_convolutions in zip(config.channels, CONVOLUTIONS):
            for _ in range(n_convolutions):
                # Never in place: what is before a rectifier would be overwritten by it.
                maps += [nn.Conv2d(inputs, outputs, 3, padding=1), _rectifier(config)]
                inputs = outputs
            maps.append(nn.MaxPool2d(2) if config.pooling == "max" else nn.AvgPool2d(2))
        self.features = nn.Sequential(*maps)
        values = inputs * (config.picture // 32) ** 2
        self.classifier = nn.Sequential(
            *(nn.Linear(values, config.hidden), _rectifier(config), nn.Dropout()),
            *(nn.Linear(config.hidden, config.hidden), _rectifier(config), nn.Dropout()),
            nn.Linear(config.hidden, config.classes),
        )

    def forward(self, pictures, layers):
        """Read layers of pictures; nothing behind the last of them is computed.

        Parameters
        ----------
        pictures : float tensor of shape (n, 3, picture, picture)
            Greys of 0 to 255 less their means, blue first.
        layers : sequence of str
            Some of `LAYERS`.

        Returns
        -------
        values : dict of str to float tensor of shape (n, ...)
            In the order of `layers`; shapes are those of `VGG19Config.shape`.
        """
        names = {PLACES[check("layer", layer, OneOf(*LAYERS))]: layer for layer in layers}
        found, x = {}, pictures
        for part in ("features", "classifier"):
            x = x if part == "features" else x.flatten(1)
            for number, module in enumerate(getattr(self, part)):
                x = module(x)
                if (part, number) in names:
                    found[names[part, number]] = x
                if len(found) == len(names):
                    return {layer: found[layer] for layer in layers}
        raise InputError(
            f"{', '.join(layers)} are asked for, but the network was loaded up to an earlier layer; load all of it."
        )

    def up_to(self, layer):
        """Take away what lies behind a layer; returns the network."""
        part, number = PLACES[check("layer", layer, OneOf(*LAYERS))]
        if part == "features":
            self.features, self.classifier = self.features[: number + 1], nn.Sequential()
        else:
            self.classifier = self.classifier[: number + 1]
        return self


def _rectifier(config):
    return nn.LeakyReLU(config.slope) if config.slope else nn.ReLU()


def load_vgg19(folder, layer="fc8", device="cpu", variant="original"):
    """Load the network up to a layer.

    Parameters
    ----------
    folder : path
        Holds ``model.safetensors``, under torchvision's names or Caffe's. Nothing is looked for elsewhere.
    layer : str
        The last one that is to be computed.
    device : str or torch.device
    variant : {"original", "leaky"}
        What stands between the weights.

    Returns
    -------
    network : VGG19
        In float32, in evaluation mode, without gradients of its own.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or a tensor missing, unexpected or misshapen.
    InputError
        There is no such layer, or no such variant.
    """
    check("layer", layer, OneOf(*LAYERS))
    options = VARIANTS[check("variant", variant, OneOf(*VARIANTS))]
    tensors = {own_name(name): value for name, value in read_network_tensors(folder).items()}
    with torch.device("meta"):
        network = VGG19(dataclasses.replace(config_of(tensors), **options))
    return fill_network(network, tensors, folder).requires_grad_(False).up_to(layer).to(device)


def config_of(tensors):
    """Tell the sizes of a network from its tensors.

    >>> config_of(VGG19(VGG19Config(picture=64, channels=(2, 3, 4, 5, 6), hidden=8, classes=7)).state_dict())
    VGG19Config(picture=64, channels=(2, 3, 4, 5, 6), hidden=8, classes=7, slope=0.0, pooling='max')

    Parameters
    ----------
    tensors : mapping of str to tensor
        Under the names of `VGG19`.

    Returns
    -------
    config : VGG19Config
        Of the original variant, which tensors do not tell from others. The published one if tensors are missing that would tell:
        filling a network says which.
    """
    first = [f"{part}.{number}.weight" for part, number in (PLACES[f"conv{block}_1"] for block in range(1, 6))]
    full = ["classifier.0.weight", "classifier.6.weight"]
    if any(getattr(tensors.get(name), "ndim", 0) < 2 for name in (*first, *full)):
        return PUBLISHED
    channels = tuple(len(tensors[name]) for name in first)
    side = math.isqrt(tensors[full[0]].shape[1] // max(channels[-1], 1))
    return VGG19Config(32 * max(side, 1), channels, *(len(tensors[name]) for name in full))


def n_values(config, layer):
    """Return how many values a layer has of one picture.

    >>> n_values(PUBLISHED, "conv1_2")
    3211264
    """
    return math.prod(config.shape(layer))
