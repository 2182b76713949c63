"""Layers of the embedded evaluation network as targets: the twin of networks that know the categories of photographs."""

from __future__ import annotations

import numpy as np

from stages.networks.evaluation_network import EvaluationNetwork
from stages.targets.network_layers import NetworkLayer

_CATEGORY = "category"
LAYERS = ("maps1", "maps2", "maps3", "maps4", "maps5", "maps6", "features", _CATEGORY)
"""Maps behind each of the six parts of its trunk, its features, and what its head makes of them for the kind of thing."""


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
        One of `LAYERS`.
    units : stages.targets.network_layers.Units, optional
        By default all.
    """

    network_name, layers = "evaluation", LAYERS

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
            A file is absent or damaged, or belongs to another network.
        InputError
            There is no such layer.
        """
        return cls(EvaluationNetwork.from_pretrained(folder, device), layer, **options)

    def _shape_of(self, layer):
        config = self.network.config
        if layer == "features":
            return (config["n_features"],)
        if layer == _CATEGORY:
            return (len(config["labels"][_CATEGORY]),)
        level = (int(layer[-1]) + 1) // 2
        side = config["image_size"] // 2**level
        return (config["widths"][level - 1], side, side)

    def _prepared_how(self):
        side = self.network.config["image_size"]
        return {"resize": [side, side], "interpolation": "bilinear, antialiased"}

    def _seen(self, images):
        pictures = self.network.prepared(np.ascontiguousarray(images))
        if self.layer in ("features", _CATEGORY):
            return self.network(pictures)[self.layer]
        return self.network.trunk[: int(self.layer[-1])](pictures * 2 - 1)
