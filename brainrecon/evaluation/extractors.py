"""What a protocol compares: pictures at its size, and what its networks make of them.

Pictures come in as 8-bit and are never changed; what is compared is a resized copy.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol as Interface

import numpy as np

from brainrecon.evaluation.preparation import resize_pictures
from stages.errors import InputError
from weights import store


@dataclass(frozen=True)
class Kind:
    """Networks of one class.

    Attributes
    ----------
    module, class_name : str
        A class with `from_pretrained(folder)`.
    layers : tuple of str
        Where its features can be read.
    """

    module: str
    class_name: str
    layers: tuple


# Networks by the kind a protocol names.
KINDS = {
    "evaluation_network": Kind("stages.networks.evaluation_network", "EvaluationNetwork", ("features",)),
    "clip_image_embedding": Kind("stages.targets.clip", "CLIPImageEmbedding", ("image_embedding",)),
}


class Network(Interface):
    """What scoring asks of a network; anything with these two methods will do."""

    def embed(self, images):
        """Features float32 (n, n_features) of pictures uint8 (n, height, width, 3)."""

    def classify(self, images):
        """Labels of pictures uint8 (n, height, width, 3): dict of str to list of str, length n. Optional."""


def load_network(spec):
    """Build a protocol's network from its checkpoint.

    Parameters
    ----------
    spec : brainrecon.evaluation.protocol.NetworkSpec
        Its kind, checkpoint and layer.

    Returns
    -------
    network : Network

    Raises
    ------
    InputError
        If the toolkit has no such kind of network, or the kind no such layer.
    weights.store.CheckpointError
        If the checkpoint is absent or damaged.
    """
    if spec.kind not in KINDS:
        raise InputError(
            f"Network {spec.name} is of kind {spec.kind!r}; the toolkit has {', '.join(KINDS)}. Use one of these."
        )
    kind = KINDS[spec.kind]
    if spec.layer not in kind.layers:
        raise InputError(
            f"Network {spec.name} is read at layer {spec.layer!r}; a network of kind {spec.kind!r} is read at "
            f"{', '.join(kind.layers)}. Use one of these."
        )
    return getattr(import_module(kind.module), kind.class_name).from_pretrained(store.path(spec.checkpoint))


class Views:
    """Everything a protocol needs to know about one set of pictures, each computed once.

    Parameters
    ----------
    images : uint8 array of shape (n, height, width, 3)
    protocol : brainrecon.evaluation.protocol.Protocol
    networks : mapping of str to Network
        The protocol's networks by name.
    """

    def __init__(self, images, protocol, networks):
        self._networks = networks
        self._features, self._labels = {}, {}
        self.pixels = resize_pictures(images, protocol.resize)

    def features(self, name):
        """Flattened pixels, or a network's features: (n, n_features) float32."""
        if name == "pixels":
            return self.pixels.reshape(len(self.pixels), -1)
        if name not in self._features:
            self._features[name] = np.asarray(self._networks[name].embed(self._as_bytes()))
        return self._features[name]

    def labels(self, name, head):
        """One of a network's classifications: list of str, length n."""
        if name not in self._labels:
            self._labels[name] = self._networks[name].classify(self._as_bytes())
        if head not in self._labels[name]:
            raise InputError(
                f"Network {name!r} has no head {head!r}; it classifies {', '.join(self._labels[name])}. "
                "Name one of these in the protocol."
            )
        return list(self._labels[name][head])

    def _as_bytes(self):
        return np.rint(self.pixels * 255).astype(np.uint8)
