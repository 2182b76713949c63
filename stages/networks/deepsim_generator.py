"""The generators of Dosovitskiy and Brox (2016), "Generating images with perceptual similarity metrics based on deep networks".

Each draws a picture from the values of one layer of Caffe's reference network, and was trained to invert that layer; see
`stages.networks.deepsim_layouts`. As the prior over natural pictures they are what Nguyen and others (2016) and Shen and others
(2019) search for pictures in. Parameters bear the names of their authors' layers (``fc7/generator.caffemodel``). KamitaniLab's
conversions have each of them under a second name, which is read as well.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import nn
from torch.nn.functional import leaky_relu

from stages.checkpoints.pretrained import fill_network, read_network_tensors
from stages.ground.checks import Number, OneOf, check, check_all
from stages.ground.errors import InputError
from stages.networks.deepsim_layouts import LAYOUTS, layout_of
from weights.manifest import CheckpointError

SLOPE = 0.3
"""Of every rectifier, for what is below 0."""
GREYS = 255.0
"""What a hyperbolic tangent is multiplied by."""


@dataclasses.dataclass(frozen=True)
class DeepSimConfig:
    """Sizes of a generator; the defaults are published, for fc7 (and fc6) behind its rectifier.

    >>> PUBLISHED["pool5"].shape, PUBLISHED["pool5"].picture
    ((256, 6, 6), 256)

    Attributes
    ----------
    inputs : int
        Values that a picture is drawn from, or channels of maps.
    bottom : int
        Places on a side of the first maps that are enlarged.
    widths : tuple of int
        In the layout "full" channels of the first maps, and behind each of the layers `deconv5` to `deconv1`; in the others
        channels behind each layer. The last gives the three colours, and is not among them.
    layout : {"full", "pool5", "relu", "norm2", "norm1"}
        See `stages.networks.deepsim_layouts`.
    side : int
        Places on a side of the maps that a picture is drawn from; 1 in the layout "full".
    biases : bool
        Whether layers behind the first three have a bias. Published ones learned none: they are 0, or left out.
    """

    inputs: int = 4096
    bottom: int = 4
    widths: tuple[int, ...] = (256, 256, 512, 256, 256, 128, 128, 64, 32)
    layout: str = "full"
    side: int = 1
    biases: bool = True

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        some = Number(1, whole=True)
        check_all(self, {"inputs": some, "bottom": some, "side": some, "layout": OneOf(*LAYOUTS)})
        for width in self.widths:
            check("widths", width, some)
        layout = LAYOUTS[self.layout]
        behind = layout.body[:-1] if self.layout == "full" else layout.layers[:-1]
        if len(self.widths) != len(behind) + (self.layout == "full"):
            raise InputError(
                f"There are {len(self.widths)} widths; expected {len(behind) + (self.layout == 'full')}: "
                f"{'of the first maps, and ' if self.layout == 'full' else ''}behind {behind[0].name} to {behind[-1].name}."
            )
        if self.layout != "full" and layout.first_side(self.side) != self.bottom:
            raise InputError(
                f"Maps of {self.side} places on a side become {layout.first_side(self.side)}, not bottom={self.bottom}; "
                f"pass bottom={layout.first_side(self.side)}, or another side."
            )

    @property
    def hidden(self):
        """Values of the full layers."""
        return self.widths[0] * self.bottom**2

    @property
    def picture(self):
        """Pixels on a side."""
        return LAYOUTS[self.layout].enlarged * self.bottom

    @property
    def shape(self):
        """Of what one picture is drawn from."""
        return (self.inputs,) if self.layout == "full" else (self.inputs, self.side, self.side)

    @property
    def n_values(self):
        """How many values one picture is drawn from."""
        return math.prod(self.shape)

    def outputs(self):
        """Channels or values behind each layer, in order."""
        return (self.hidden,) * 3 + (*self.widths[1:], 3) if self.layout == "full" else (*self.widths, 3)


PUBLISHED_FC7 = DeepSimConfig()
_POOL5 = (512, 512, 512, 256, 512, 256, 256, 128, 128, 64, 32)
_RELU = (384, 512, 512, 256, 256, 128, 128, 128, 128, 64, 32, 16)
_NORM = (128, 128, 64, 64, 32, 32, 16)
PUBLISHED = {
    "fc8": DeepSimConfig(1000),
    "fc7": PUBLISHED_FC7,
    "fc6": PUBLISHED_FC7,
    "pool5": DeepSimConfig(256, 4, _POOL5, "pool5", 6),
    "relu4": DeepSimConfig(384, 8, _RELU, "relu", 13),
    "relu3": DeepSimConfig(384, 8, _RELU, "relu", 13),
    "norm2": DeepSimConfig(256, 15, (256, 128, 128, *_NORM), "norm2", 13),
    "norm1": DeepSimConfig(96, 15, (128, 128, 128, *_NORM), "norm1", 27),
}
"""Sizes of the published generators by the layer that each draws from, fc6 to fc8 behind their rectifiers."""
_SIDES = {config.layout: config.side for config in PUBLISHED.values()}


class DeepSimGenerator(nn.Module):
    """One generator.

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
        self.layers = LAYOUTS[config.layout].layers
        inputs = config.inputs
        for place, (layer, outputs) in enumerate(zip(self.layers, config.outputs(), strict=True)):
            if layer.kind == "full":
                module = nn.Linear(inputs, outputs)
            else:
                if config.layout == "full" and place == len(LAYOUTS["full"].head):
                    inputs = config.widths[0]
                kind = nn.Conv2d if layer.kind == "convolution" else nn.ConvTranspose2d
                biased = config.biases or layer in LAYOUTS[config.layout].head
                module = kind(inputs, outputs, layer.kernel, layer.stride, layer.padding, bias=biased)
            self.add_module(layer.name, module)
            inputs = outputs

    @property
    def device(self):
        """Where the network computes."""
        return next(self.parameters()).device

    def forward(self, values):
        """Draw pictures.

        Parameters
        ----------
        values : float tensor of shape (n, ...) as the layout takes it, for example (n, 4096)
            Of the layer, behind its rectifier: 0 or more.

        Returns
        -------
        pictures : float tensor of shape (n, 3, picture, picture)
            Greys of 0 to 255 less their means, blue first, as Caffe's networks take them; neither end is kept to.
        """
        x = values
        for layer in self.layers:
            if layer.kind != "full" and x.ndim == 2:
                x = x.unflatten(1, (-1, self.config.bottom, self.config.bottom))
            x = self.get_submodule(layer.name)(x)
            x = leaky_relu(x, SLOPE) if layer.rectified else x
        return GREYS * torch.tanh(x) if LAYOUTS[self.config.layout].squashed else x

    @classmethod
    def from_pretrained(cls, folder, device="cpu", side=None):
        """Load a folder with ``model.safetensors``; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
        device : str or torch.device
        side : int, optional
            Places on a side of the maps that pictures are drawn from, which tensors do not tell; by default as published.

        Returns
        -------
        network : DeepSimGenerator
            In float32, in evaluation mode, without gradients of its own.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen, or another under its second name.
        """
        tensors = own_names(read_network_tensors(folder), folder)
        with torch.device("meta"):
            network = cls(config_of(tensors, side))
        return fill_network(network, tensors, folder).requires_grad_(False).to(device)


def config_of(tensors, side=None):
    """Tell the layout and the sizes of a generator from its tensors.

    >>> config_of(DeepSimGenerator(DeepSimConfig(inputs=5, bottom=1, widths=(4, 4, 6, 4, 4, 3, 3, 2, 2))).state_dict())
    DeepSimConfig(inputs=5, bottom=1, widths=(4, 4, 6, 4, 4, 3, 3, 2, 2), layout='full', side=1, biases=True)

    The layouts of norm1 and norm2 have the same names. The first convolution of norm1 has more maps behind it than before it.

    Parameters
    ----------
    tensors : mapping of str to tensor
        Under the names of `DeepSimGenerator`.
    side : int, optional
        As `DeepSimGenerator.from_pretrained` takes it.

    Returns
    -------
    config : DeepSimConfig
        The published one of the layout if tensors are missing that would tell: filling a network says which.
    """
    name = layout_of(tensors)
    layers, head = LAYOUTS[name].layers, LAYOUTS[name].head
    weights = [tensors.get(f"{layer.name}.weight") for layer in layers]
    if any(getattr(weight, "ndim", 0) != (2 if layer.kind == "full" else 4) for layer, weight in zip(layers, weights)):
        return PUBLISHED.get(name) or PUBLISHED["relu4" if name == "relu" else "fc7"]
    outputs = [weight.shape[layer.kind == "transposed"] for layer, weight in zip(layers, weights)]
    inputs = weights[0].shape[1]
    biases = any(f"{layer.name}.bias" in tensors for layer in layers[len(head) :])
    if name == "full":
        first = weights[len(head)].shape[0]
        bottom = max(math.isqrt(len(weights[0]) // first), 1)
        return DeepSimConfig(inputs, bottom, (first, *outputs[len(head) : -1]), biases=biases)
    if name == "norm2" and outputs[0] > inputs:
        name = "norm1"
    side = side or _SIDES[name]
    return DeepSimConfig(inputs, LAYOUTS[name].first_side(side), outputs[:-1], name, side, biases)


def own_names(tensors, source="the checkpoint"):
    """Give every tensor one name, that of its layer.

    >>> list(own_names({"defc7.weight": 0, "defc.2.weight": 0, "deconv.16.bias": 1}))
    ['defc7.weight', 'defc6.weight', 'deconv0.bias']

    Parameters
    ----------
    tensors : dict of str to tensor
        As stored: under the names of layers, or of places in the two sequences, or both.
    source : str or path
        Where they come from, for the error.

    Raises
    ------
    CheckpointError
        A tensor is another under its second name.
    """
    second = {layer.second_name: layer.name for layer in LAYOUTS[layout_of(tensors)].layers}
    renamed = {}
    for name, value in tensors.items():
        layer, _, kind = name.rpartition(".")
        own = f"{second.get(layer, layer)}.{kind}"
        known = renamed.setdefault(own, value)
        if known is not value and _differ(known, value):
            raise CheckpointError(
                f"{source} has {name} twice, and as {own} it is another tensor; fetch the checkpoint again."
            )
    return renamed


def _differ(one, other):
    """Whether two tensors differ, as far as values are there."""
    return one.shape != other.shape or (not one.is_meta and not torch.equal(one, other))
