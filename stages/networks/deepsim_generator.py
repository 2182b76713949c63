"""The generator of Dosovitskiy and Brox (2016), "Generating images with perceptual similarity metrics based on deep networks".

It draws a picture from the 4,096 values of a fully connected layer of Caffe's reference network, and was trained to invert that
layer. As the prior over natural pictures it is what Nguyen and others (2016) and Shen and others (2019) search for pictures in.
Parameters bear the names of its authors' layers (``fc6/generator.caffemodel``, ``fc7/generator.caffemodel``). KamitaniLab's
conversion has each of them under a second name, which is read as well.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import leaky_relu

from stages.checkpoints.pretrained import fill_network, read_network_tensors
from stages.ground.checks import Number, check, check_all
from stages.ground.errors import InputError
from weights.manifest import CheckpointError

SLOPE = 0.3
"""Of every rectifier, for what is below 0."""
_FULL = ("defc7", "defc6", "defc5")
_MAPS = ("deconv5", "conv5_1", "deconv4", "conv4_1", "deconv3", "conv3_1", "deconv2", "deconv1", "deconv0")
# Second names are numbers in two sequences, in which a rectifier stands behind each layer.
_SECOND = {f"defc.{2 * number}": name for number, name in enumerate(_FULL)}
_SECOND |= {f"deconv.{2 * number}": name for number, name in enumerate(_MAPS)}


@dataclasses.dataclass(frozen=True)
class DeepSimConfig:
    """Sizes of a generator; the defaults are published, for fc7 (and fc6) behind its rectifier.

    Attributes
    ----------
    inputs : int
        Values that a picture is drawn from.
    bottom : int
        Places on a side of the first maps; the picture's sides are 64 times as many.
    widths : tuple of nine int
        Channels of the first maps, and behind each of the layers `deconv5` to `deconv1`; `deconv0` gives the three colours.
    """

    inputs: int = 4096
    bottom: int = 4
    widths: tuple[int, ...] = (256, 256, 512, 256, 256, 128, 128, 64, 32)

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        some = Number(1, whole=True)
        check_all(self, {"inputs": some, "bottom": some})
        for width in self.widths:
            check("widths", width, some)
        if len(self.widths) != len(_MAPS):
            raise InputError(
                f"There are {len(self.widths)} widths; expected {len(_MAPS)}: of the first maps, and behind deconv5 to deconv1."
            )

    @property
    def hidden(self):
        """Values of the fully connected layers."""
        return self.widths[0] * self.bottom**2

    @property
    def picture(self):
        """Pixels on a side."""
        return 64 * self.bottom


PUBLISHED_FC7 = DeepSimConfig()


class DeepSimGenerator(nn.Module):
    """The generator.

    >>> network = DeepSimGenerator(DeepSimConfig(inputs=5, bottom=1, widths=(4, 4, 6, 4, 4, 3, 3, 2, 2)))
    >>> tuple(network(torch.zeros(2, 5)).shape)
    (2, 3, 64, 64)

    Parameters
    ----------
    config : DeepSimConfig
    """

    def __init__(self, config=PUBLISHED_FC7):
        super().__init__()
        self.config = config
        inputs = config.inputs
        for name in _FULL:
            self.add_module(name, nn.Linear(inputs, config.hidden))
            inputs = config.hidden
        # All of them are transposed: those of 3 x 3 keep the size, those of 4 x 4 double it.
        for name, inputs, outputs in zip(_MAPS, config.widths, (*config.widths[1:], 3)):
            kernel, stride = (4, 2) if name.startswith("deconv") else (3, 1)
            self.add_module(name, nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding=1))

    @property
    def device(self):
        """Where the network computes."""
        return self.deconv0.weight.device

    def forward(self, values):
        """Draw pictures.

        Parameters
        ----------
        values : float tensor of shape (n, inputs)
            Of the layer, behind its rectifier: 0 or more.

        Returns
        -------
        pictures : float tensor of shape (n, 3, picture, picture)
            Greys of 0 to 255 less their means, blue first, as Caffe's networks take them; neither end is kept to.
        """
        x = values
        for name in _FULL:
            x = leaky_relu(self.get_submodule(name)(x), SLOPE)
        x = x.unflatten(1, (-1, self.config.bottom, self.config.bottom))
        for name in _MAPS[:-1]:
            x = leaky_relu(self.get_submodule(name)(x), SLOPE)
        return self.deconv0(x)

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a folder with ``model.safetensors``; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
        device : str or torch.device

        Returns
        -------
        network : DeepSimGenerator
            In float32, in evaluation mode, without gradients of its own.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        """
        tensors = own_names(read_network_tensors(folder))
        with torch.device("meta"):
            network = cls(config_of(tensors))
        return fill_network(network, tensors, folder).requires_grad_(False).to(device)


def config_of(tensors):
    """Tell the sizes of a generator from its tensors.

    >>> config_of(DeepSimGenerator(DeepSimConfig(inputs=5, bottom=1, widths=(4, 4, 6, 4, 4, 3, 3, 2, 2))).state_dict())
    DeepSimConfig(inputs=5, bottom=1, widths=(4, 4, 6, 4, 4, 3, 3, 2, 2))

    Parameters
    ----------
    tensors : mapping of str to tensor
        Under the names of `DeepSimGenerator`.

    Returns
    -------
    config : DeepSimConfig
        The published one if tensors are missing that would tell: filling a network says which.
    """
    names = ["defc7.weight", *(f"{name}.weight" for name in _MAPS)]
    if any(getattr(tensors.get(name), "ndim", 0) < 2 for name in names):
        return PUBLISHED_FC7
    first, *maps = (tensors[name] for name in names)
    widths = tuple(len(each) for each in maps)
    return DeepSimConfig(first.shape[1], max(math.isqrt(len(first) // widths[0]), 1), widths)


def own_names(tensors):
    """Give every tensor one name, that of its layer.

    >>> list(own_names({"defc7.weight": 0, "defc.0.weight": 0, "deconv.16.bias": 1}))
    ['defc7.weight', 'deconv0.bias']

    Parameters
    ----------
    tensors : dict of str to tensor
        As stored: under the names of layers, or of places in the two sequences, or both.
    """
    renamed = {}
    for name, value in tensors.items():
        layer, _, kind = name.rpartition(".")
        renamed.setdefault(f"{_SECOND.get(layer, layer)}.{kind}", value)
    return renamed


def read_bounds(path, n_values):
    """Read the largest value that a search may give each input of a generator.

    >>> from pathlib import Path
    >>> _ = Path("fc7.txt").write_text("3 2 6")
    >>> read_bounds("fc7.txt", 3)
    tensor([3., 2., 6.])

    Nguyen and others (2016) published such files, ``act_range/3x/fc7.txt``: mean and three standard deviations of each unit
    over pictures, as whole numbers.

    Parameters
    ----------
    path : path
        Numbers between spaces or lines.
    n_values : int
        As many as there have to be.

    Raises
    ------
    CheckpointError
        The file is absent, holds something else than numbers of 0 or more, or another number of them.
    """
    path = Path(path)
    try:
        bounds = [float(word) for word in path.read_text(encoding="utf-8").split()]
    except FileNotFoundError:
        raise CheckpointError(f"{path} is absent; fetch the checkpoint again.") from None
    except ValueError as error:
        raise CheckpointError(f"{path} holds something else than numbers ({error}); fetch it again.") from None
    if len(bounds) != n_values or not all(0 <= bound < float("inf") for bound in bounds):
        raise CheckpointError(
            f"{path} holds {len(bounds):,} numbers, the least {min(bounds, default=None)}; expected {n_values:,} of 0 or more: "
            "give the file of the generator's own layer."
        )
    return torch.tensor(bounds, dtype=torch.float32)
