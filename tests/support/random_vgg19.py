"""A tiny random VGG19 and the generator that pictures are searched in, in the layouts of KamitaniLab's files."""

import numpy as np
import scipy.io
import torch
from safetensors.torch import save_file

from stages.networks.deepsim_generator import DeepSimConfig, DeepSimGenerator
from stages.networks.vgg19 import VGG19, VGG19Config
from stages.networks.vgg19_names import PLACES

VGG19_CONFIG = VGG19Config(picture=32, channels=(3, 4, 5, 6, 6), hidden=8, classes=7)
GENERATOR_CONFIG = DeepSimConfig(inputs=6, bottom=1, widths=(16, 12, 12, 8, 8, 6, 6, 4, 4))
SPREADS = "estimated_cnn_feat_std_VGG_ILSVRC_19_layers_ImgSize_224x224_chwise_dof1.mat"
BOUNDS = "act_range/3x/fc7.txt"
SMALL_GENERATORS = {
    "full": GENERATOR_CONFIG,
    "pool5": DeepSimConfig(4, 1, (6, 6, 8, 6, 8, 6, 6, 5, 5, 4, 4), "pool5", 3),
    "relu": DeepSimConfig(4, 1, (4, 6, 6, 6, 6, 5, 5, 5, 5, 4, 4, 3), "relu", 6),
    "norm2": DeepSimConfig(5, 4, (5, 4, 4, 4, 4, 4, 4, 3, 3, 3), "norm2", 2),
    "norm1": DeepSimConfig(3, 3, (4, 4, 4, 4, 4, 4, 4, 3, 3, 3), "norm1", 3),
}


def _numbered(head, first_places, body, places):
    heads = {name: f"{head}.{place}" for name, place in zip(first_places, (0, 2, 4))}
    return heads | {name: f"deconv.{place}" for name, place in zip(body.split(), places, strict=True)}


# Places in the sequences of KamitaniLab's conversions, in which a rectifier stands behind nearly every layer.
_MAPS = ("Rconv6", "Rconv7", "Rconv8")
_FROM_4 = "deconv5 conv5_1 deconv4 conv4_1 deconv3 conv3_1 deconv2 deconv1 deconv0"
_FROM_15 = "deconv4 conv4_1 deconv3 conv3_1 deconv2 conv2_1 deconv1 conv1_1"
SECOND_NAMES = {
    "full": _numbered("defc", ("defc7", "defc6", "defc5"), _FROM_4, range(0, 18, 2)),
    "pool5": _numbered("rconv", _MAPS, _FROM_4, range(0, 18, 2)),
    "relu": _numbered("rconv", _MAPS, "deconv5 conv5_1 " + _FROM_15, range(0, 20, 2)),
    "norm2": _numbered("rconv", _MAPS, _FROM_15, (*range(0, 14, 2), 13)),
}
SECOND_NAMES["norm1"] = SECOND_NAMES["norm2"]


def vgg19(seed=7):
    """A tiny network whose layers all tell pictures apart."""
    return _filled(VGG19(VGG19_CONFIG), seed, 0.3)


def generator(seed=8, config=GENERATOR_CONFIG):
    """A tiny generator whose pictures have contrast and differ with what they are drawn from; by default of 64 pixels."""
    network = _filled(DeepSimGenerator(config), seed, 0.02)
    *_, last = network.children()
    # Where a hyperbolic tangent is the end, greys are 255 times as large as what goes in.
    last.weight.data *= 80 if config.layout in ("full", "pool5") else 0.5
    return network


def _filled(network, seed, bias):
    random = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        for kind, value in layer.named_parameters(recurse=False):
            spread = bias if kind == "bias" else (2 / inputs_of(layer)) ** 0.5
            value.data = torch.randn(value.shape, generator=random) * spread
    return network.eval().requires_grad_(False)


def inputs_of(layer):
    """Values that one value of a layer is the weighted sum of."""
    if isinstance(layer, torch.nn.ConvTranspose2d):
        return layer.in_channels * (layer.kernel_size[0] / layer.stride[0]) ** 2
    return layer.weight[0].numel()


def spreads(network):
    """Spread of each layer's channels before the rectifier, as published: dict of arrays (channels, 1, 1) or (1, 1)."""
    random = np.random.default_rng(9)
    found = {}
    for layer in (name for name in PLACES if name.startswith(("conv", "fc"))):
        shape = network.config.shape(layer)
        found[layer] = random.uniform(0.5, 2, (shape[0], 1, 1) if len(shape) == 3 else (1, 1))
    return found


def save_vgg19(folder, network=None, pickled=False):
    """Write a tiny VGG19 as it lies there once it is pulled, or as it is published; returns the network."""
    network = network or vgg19()
    folder.mkdir(parents=True, exist_ok=True)
    if pickled:
        torch.save(network.state_dict(), folder / "VGG_ILSVRC_19_layers.pt")
    else:
        save_file(network.state_dict(), folder / "model.safetensors")
    scipy.io.savemat(folder / SPREADS, spreads(network))
    return network


def save_deepsim(folder, network=None, pickled=False):
    """Write a tiny generator likewise: every tensor has two names, and the bounds are whole numbers in one line."""
    network = network or generator()
    folder.mkdir(parents=True, exist_ok=True)
    stored = two_names(network)
    if pickled:
        torch.save(stored, folder / "generator_relu7.pt")
    else:
        save_file({name: value.clone() for name, value in stored.items()}, folder / "model.safetensors")
    (folder / BOUNDS).parent.mkdir(parents=True)
    (folder / BOUNDS).write_text(" ".join(str(2 + number % 5) for number in range(network.config.inputs)) + "\n")
    return network


def two_names(network):
    """Tensors of a generator under both of their published names: each layer is registered once more in a sequence."""
    tensors = network.state_dict()
    stored = dict(tensors)
    for name, second in SECOND_NAMES[network.config.layout].items():
        for kind in ("weight", "bias"):
            if f"{name}.{kind}" in tensors:
                stored[f"{second}.{kind}"] = tensors[f"{name}.{kind}"]
    return stored
