"""Layers of the embedded evaluation network as targets, which a search can look at, too.

The network judges pictures of the drawn world (`stages.networks.evaluation_network`), and is the twin of networks that know the
categories of photographs. A method that decodes or searches by its layers is judged by what it was made with, and scores say so.
"""

from __future__ import annotations

from torch.nn.functional import adaptive_avg_pool2d, relu

from stages.networks.evaluation_network import EvaluationNetwork
from stages.targets.evaluation_names import LAYERS, PREFIX
from stages.targets.network_layers import NetworkLayer

_BEHIND_MAPS = ("features", "category")


class EvaluationLayer(NetworkLayer):
    """One layer of the network that names what is drawn, or some units of it.

    >>> import numpy as np
    >>> from weights import store
    >>> target = EvaluationLayer.from_pretrained(store.path("tiny-evaluation"), "maps5")
    >>> target.name, target.shape, target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape
    ('evaluation_maps5', (104, 8, 8), (2, 6656))

    Parameters
    ----------
    network : stages.networks.evaluation_network.EvaluationNetwork
        In evaluation mode, with a trunk of six parts.
    layer : str
        One of `stages.targets.evaluation_names.LAYERS`.
    units : stages.targets.network_layers.Units, optional
        By default all.
    """

    network_name, layers = PREFIX.rstrip("_"), LAYERS

    @classmethod
    def from_pretrained(cls, folder, layer, device="cpu", **options):
        """Load the network, in float32.

        Parameters
        ----------
        folder : path
            Holds ``config.json`` and ``model.safetensors``. Nothing is looked for elsewhere.
        layer : str
        device : str or torch.device
        **options
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged.
        InputError
            There is no such layer.
        """
        return cls(EvaluationNetwork.from_pretrained(folder, device), layer, **options)

    def _shape_of(self, layer):
        return shape_of(self.network, layer)

    def _prepared_how(self):
        side = self.network.config["image_size"]
        return {"resize": [side, side], "interpolation": "bilinear, antialiased"}

    def _seen(self, images):
        return layers_of(self.network, self.network.prepared(images), (self.layer,))[self.layer]


def shape_of(network, layer):
    """(channels, height, width) of a layer of maps, (values,) of the features and of the category."""
    config = network.config
    if layer == "features":
        return (config["n_features"],)
    if layer == "category":
        return (len(config["labels"]["category"]),)
    level = (LAYERS.index(layer) + 2) // 2
    side = config["image_size"] // 2**level
    return (config["widths"][level - 1], side, side)


def layers_of(network, pictures, layers):
    """Return layers of pictures, from one pass through the network; differentiable.

    >>> import torch
    >>> from weights import store
    >>> network = EvaluationNetwork.from_pretrained(store.path("tiny-evaluation"))
    >>> {name: tuple(one.shape) for name, one in layers_of(network, torch.zeros(1, 3, 64, 64), ("maps6", "features")).items()}
    {'maps6': (1, 104, 8, 8), 'features': (1, 64)}

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
        (n, channels, height, width) of maps, (n, values) of what is behind them.
    """
    hidden, found = pictures * 2 - 1, {}
    n_parts = len(network.trunk) if set(layers) & set(_BEHIND_MAPS) else max(LAYERS.index(name) + 1 for name in layers)
    for name, part in zip(LAYERS, network.trunk[:n_parts]):
        hidden = found[name] = part(hidden)
    if set(layers) & set(_BEHIND_MAPS):
        features = found["features"] = network.features(adaptive_avg_pool2d(hidden, 2).flatten(1))
        found["category"] = network.heads["category"](relu(features))
    return {name: found[name] for name in layers}
