"""Networks that searched pictures are looked at with, from their folders: VGG19, the evaluation network, CLIP or SwAV."""

from __future__ import annotations

import torch

from stages.ground.errors import InputError
from stages.inverters.feature_spreads import read_spreads, spreads_file
from stages.inverters.looks import Look
from stages.networks import vgg19_names
from stages.networks.evaluation_network import EvaluationNetwork
from stages.networks.vgg19 import load_vgg19
from stages.targets import evaluation_layers, evaluation_names
from stages.targets.instance_features import InstanceFeatures
from stages.targets.vgg19_layers import prefix_of


class EvaluationLayers(torch.nn.Module):
    """The evaluation network as a search calls networks.

    Parameters
    ----------
    network : stages.networks.evaluation_network.EvaluationNetwork
    """

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pictures, layers):
        """Layers of pictures of 0 to 1, by name."""
        return evaluation_layers.layers_of(self.network, pictures, layers)


def layers_look(folder, layers, device="cpu", variant="original"):
    """Load the network that has these layers: VGG19, or the embedded evaluation network.

    >>> from weights import store
    >>> look = layers_look(store.path("tiny-evaluation"), ("maps6", "features"))
    >>> look.takes, look.size
    ({'evaluation_maps6': (104, 8, 8), 'evaluation_features': (64,)}, 64)

    Parameters
    ----------
    folder : path
    layers : sequence of str
        All of one of them.
    device : str or torch.device
    variant : {"original", "leaky"}
        Of VGG19.

    Returns
    -------
    look : stages.inverters.looks.Look

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or belongs to another network.
    InputError
        No network has all of these layers.
    """
    if set(layers) <= set(vgg19_names.LAYERS):
        last = max(layers, key=vgg19_names.LAYERS.index, default=vgg19_names.LAYERS[-1])
        network = load_vgg19(folder, last, device, variant)
        return Look(network, tuple(layers), prefix=prefix_of(network.config))
    if not set(layers) <= set(evaluation_names.LAYERS):
        raise InputError(
            f"layers is {list(layers)}; expected layers of VGG19, such as conv5_4 and fc7, or of the evaluation network, "
            f'{", ".join(evaluation_names.LAYERS)}: pass --set layers=\'["conv5_4", "fc7"]\'.'
        )
    network = EvaluationNetwork.from_pretrained(folder, device).requires_grad_(False)
    return Look(
        EvaluationLayers(network),
        tuple(layers),
        size=network.config["image_size"],
        shapes={layer: evaluation_layers.shape_of(network, layer) for layer in layers},
        prefix=evaluation_names.PREFIX,
        prepare=lambda greys: greys / 255,
    )


def instance_look(folder, device="cpu"):
    """Load the network of instance features, CLIP's image tower or SwAV's, by which whole pictures are compared.

    >>> from weights import store
    >>> instance_look(store.path("tiny-clip")).takes
    {'instance': (64,)}

    Parameters
    ----------
    folder : path
        As `stages.targets.instance_features.InstanceFeatures.from_pretrained` reads it.
    device : str or torch.device
    """
    instance = InstanceFeatures.from_pretrained(folder, device)
    name = instance.name
    return Look(
        lambda pictures, layers: {name: instance.features(pictures)},
        (name,),
        size=instance.size,
        shapes={name: instance.shape},
        prepare=lambda greys: greys / 127.5 - 1,
    )


def published_spreads(folder, look, variant="original"):
    """Read the usual spread of each value that VGG19 looks at, from the file beside it.

    Parameters
    ----------
    folder : path
        Of VGG19.
    look : stages.inverters.looks.Look
        As `layers_look` gives it.
    variant : {"original", "leaky"}

    Returns
    -------
    spreads : dict of str to float64 array

    Raises
    ------
    CheckpointError
        The file is absent or damaged, or lacks a layer.
    """
    found = read_spreads(spreads_file(folder, variant), look.layers)
    return {look.prefix + layer: spread for layer, spread in found.items()}
