"""Frozen networks that say how alike two pictures are in what they show, for losses that are trained through them.

A comparator takes pictures in grey levels, brings them to the scale it was trained on, and gives its last maps: the fifth
pooling of an ImageNet network, the trunk of the embedded evaluation network. That one judges pictures of the drawn world;
whoever trains through it may not be judged by it.
"""

from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.nn.functional import interpolate

from stages.checkpoints.published_weights import put_weights, read_weights, weights_file
from stages.ground.errors import InputError
from stages.networks.caffenet import CaffeNet
from stages.networks.evaluation_network import EvaluationNetwork
from weights.suggestions import did_you_mean

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Blue, green, red: what Caffe's models were trained with, and the pictures less these means.
_CAFFE_MEANS = (104.0, 117.0, 123.0)


class Comparator(nn.Module):
    """Pictures in grey levels to the features of one layer.

    Parameters
    ----------
    network : torch.nn.Module
        Prepared pictures to features.
    prepare : callable
        Grey levels (n, 3, height, width), red first, to what the network takes; differentiable.
    """

    def __init__(self, network, prepare):
        super().__init__()
        self.network, self.prepare = network.eval().requires_grad_(False), prepare

    def forward(self, greys):
        """Features of pictures.

        Parameters
        ----------
        greys : tensor of shape (n, 3, height, width)
            0 to 255, which drawn pictures may leave.

        Returns
        -------
        features : tensor of shape (n, n_features)
        """
        return self.network(self.prepare(greys)).flatten(1)

    def train(self, mode=True):
        """Frozen: it stays in evaluation mode."""
        return super().train(False)


class _CaffeNetMaps(CaffeNet):
    """Caffe's reference network up to its last pooling: 227 x 227 pixels give 256 x 6 x 6."""

    def __init__(self):
        super().__init__(last="pool5")

    def forward(self, pictures):
        """Maps (n, 256, height, width) of pictures (n, 3, height, width): blue first, grey levels less their means."""
        return super().forward(pictures, ("pool5",))["pool5"]


def _caffe(greys):
    return greys.flip(1) - greys.new_tensor(_CAFFE_MEANS).reshape(1, 3, 1, 1)


def _imagenet(greys):
    mean, deviation = (greys.new_tensor(values).reshape(1, 3, 1, 1) for values in _IMAGENET)
    return (greys / 255 - mean) / deviation


def _convolutions(build):
    """The convolutional part of one of torchvision's networks, up to its last pooling."""
    return build(weights=None).features


# Name -> the network, what it takes, beginnings of names in its published file that belong to the layers above, and the
# spread of prepared pictures, which random weights even out.
_NETWORKS = {
    "caffenet": (_CaffeNetMaps, _caffe, ("fc6.", "fc7.", "fc8."), 70.0),
    "alexnet": (lambda: _convolutions(torchvision.models.alexnet), _imagenet, ("classifier.",), 1.0),
    "vgg19": (lambda: _convolutions(torchvision.models.vgg19), _imagenet, ("classifier.",), 1.0),
}
COMPARATORS = (*_NETWORKS, "evaluation")


def load_comparator(name, folder=None, seed=0, device="cpu"):
    """Make a comparator.

    Parameters
    ----------
    name : {"caffenet", "alexnet", "vgg19", "evaluation"}
    folder : path, optional
        Of its checkpoint. Without one the network has random weights: it compares edges and colours at every place, and has
        learned nothing.
    seed : int
        Of random weights.
    device : str

    Returns
    -------
    Comparator

    Raises
    ------
    InputError
        There is no such network, or the evaluation network was asked for without its checkpoint.
    CheckpointError
        A file is absent or damaged, or holds another network.
    """
    if name not in COMPARATORS:
        meant = did_you_mean(name, COMPARATORS)
        raise InputError(f"There is no comparator {name!r}; expected one of {', '.join(COMPARATORS)}{meant}.")
    if name == "evaluation":
        if folder is None:
            raise InputError("The comparator 'evaluation' is a trained network; name its checkpoint, tiny-evaluation.")
        return Comparator(_Trunk(EvaluationNetwork.from_pretrained(folder)), lambda greys: greys / 255).to(device)
    build, prepare, above, spread = _NETWORKS[name]
    if folder is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build()
            network.apply(_spread)
            first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
            first.weight.data /= spread
    else:
        path = weights_file(Path(folder))
        stored = {key.removeprefix("features."): value for key, value in read_weights(path).items()}
        with torch.device("meta"):
            network = build()
        put_weights(network, stored, name, path, above)
    return Comparator(network, prepare).to(device)


def _spread(layer):
    """Random weights after He et al. 2015, which keep the spread of the maps from layer to layer."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)


class _Trunk(nn.Module):
    """The maps of the evaluation network, which still say where things are."""

    def __init__(self, network):
        super().__init__()
        self.network, self._side = network, network.config["image_size"]

    def forward(self, pictures):
        if pictures.shape[-1] != self._side:
            pictures = interpolate(pictures, (self._side, self._side), mode="bilinear", antialias=True)
        return self.network.trunk(pictures * 2 - 1)
