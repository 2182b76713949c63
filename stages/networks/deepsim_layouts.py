"""Layers of the generators of Dosovitskiy and Brox (2016), of which there is one for each layer of Caffe's reference network.

=============  ==========  =========================================================
`layout`       of          layers
=============  ==========  =========================================================
"full"         fc6 to fc8  three full layers to 256 maps of 4 x 4, nine transposed convolutions
"pool5"        pool5       three convolutions to 4 x 4, the same nine
"relu"         relu3/4     three convolutions to 8 x 8, ten layers, greys between -255 and 255
"norm2"        norm2       three convolutions to 15 x 15, eight layers, greys between -255 and 255
"norm1"        norm1       likewise; the first convolution reads every second place
=============  ==========  =========================================================

Names are their authors'. KamitaniLab's conversions name each layer a second time, by its place in one of two sequences.
``deconv`` layers double the size. Those that are called ``conv`` keep it; whether they are convolutions or transposed ones
differs from layout to layer. The generators of norm1 and norm2 draw 15 x 16 = 240 pixels, as follows from their layers.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes
    ----------
    name : str
    kind : {"full", "convolution", "transposed"}
    kernel, stride, padding : int
        Of maps.
    rectified : bool
        Whether a rectifier is behind it.
    second_name : str
    """

    name: str
    kind: str
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    rectified: bool = True
    second_name: str = ""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Layers in their order.

    Attributes
    ----------
    head : tuple of Layer
        Up to the first maps that are enlarged.
    body : tuple of Layer
    squashed : bool
        Whether greys are brought between -255 and 255 by a hyperbolic tangent.
    """

    head: tuple[Layer, ...]
    body: tuple[Layer, ...]
    squashed: bool

    @property
    def layers(self):
        """All of them."""
        return (*self.head, *self.body)

    @property
    def enlarged(self):
        """How many times the first maps are enlarged."""
        return 2 ** sum(layer.name.startswith("deconv") for layer in self.body)

    def first_side(self, side):
        """Places on a side of the first maps that are enlarged, of an input of `side`.

        >>> LAYOUTS["pool5"].first_side(6), LAYOUTS["relu"].first_side(13), LAYOUTS["norm1"].first_side(27)
        (4, 8, 15)
        """
        for layer in self.head:
            side = (side + 2 * layer.padding - layer.kernel) // layer.stride + 1
        return side


def _sequence(prefix, layers):
    """Layers with their second names: places in a sequence in which rectifiers take a place, too."""
    named, place = [], 0
    for layer in layers:
        named.append(dataclasses.replace(layer, second_name=f"{prefix}.{place}"))
        place += 1 + layer.rectified
    return tuple(named)


def _body(names, convolutions=(), linear=()):
    layers = []
    for name in names.split():
        kind = "convolution" if name in convolutions else "transposed"
        kernel, stride = (4, 2) if name.startswith("deconv") else (3, 1)
        layers.append(Layer(name, kind, kernel, stride, 1, name not in linear))
    return _sequence("deconv", layers)


def _maps(*kernels, stride=1, paddings):
    layers = [
        Layer(f"Rconv{number}", "convolution", kernel, stride if number == 6 else 1, padding)
        for number, (kernel, padding) in enumerate(zip(kernels, paddings), start=6)
    ]
    return _sequence("rconv", layers)


_FULL = _sequence("defc", [Layer(name, "full") for name in ("defc7", "defc6", "defc5")])
_FROM_4 = _body("deconv5 conv5_1 deconv4 conv4_1 deconv3 conv3_1 deconv2 deconv1 deconv0", linear=("deconv0",))
_FROM_8 = _body(
    "deconv5 conv5_1 deconv4 conv4_1 deconv3 conv3_1 deconv2 conv2_1 deconv1 conv1_1",
    convolutions=("conv2_1", "conv1_1"),
    linear=("conv1_1",),
)
_FROM_15 = _body(
    "deconv4 conv4_1 deconv3 conv3_1 deconv2 conv2_1 deconv1 conv1_1",
    convolutions=("conv4_1", "conv3_1", "conv2_1", "conv1_1"),
    linear=("deconv1", "conv1_1"),
)

LAYOUTS = {
    "full": Layout(_FULL, _FROM_4, False),
    "pool5": Layout(_maps(3, 3, 3, paddings=(1, 1, 0)), _FROM_4, False),
    "relu": Layout(_maps(3, 3, 2, paddings=(0, 0, 0)), _FROM_8, True),
    "norm2": Layout(_maps(3, 3, 3, paddings=(2, 1, 1)), _FROM_15, True),
    "norm1": Layout(_maps(3, 3, 3, stride=2, paddings=(2, 1, 1)), _FROM_15, True),
}
"""By name."""


def layout_of(names):
    """Tell a layout from the names of its tensors, own or second ones; norm1 is taken for norm2, which has the same.

    >>> layout_of(["rconv.0.weight", "deconv.13.weight"]), layout_of(["Rconv6.bias", "deconv5.weight", "deconv0.weight"])
    ('norm2', 'pool5')

    Parameters
    ----------
    names : iterable of str
    """
    layers = {name.rpartition(".")[0] for name in names}
    if not layers & {"Rconv6", "rconv.0"}:
        return "full"
    if "deconv0" in layers or not layers & {"conv1_1", "deconv.13", "deconv.18"}:
        return "pool5"
    return "relu" if layers & {"deconv5", "deconv.18"} else "norm2"
