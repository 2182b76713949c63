"""ResNets of bottleneck blocks (He and others 2016) as torchvision has them; the tensors of a file say which.

ResNet-50 has 3, 4, 6 and 3 blocks and 64 channels in the first block; other numbers, ResNet-101 or a small one, have the same
names.
"""

import re

import torch
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from stages.checkpoints.outlines import outlining, tensor_outlines
from stages.checkpoints.published_weights import put_weights, read_weights, weights_file
from weights.manifest import CheckpointError

_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.conv1\.weight")


def load_bottleneck_resnet(folder):
    """Load the one file of weights in a folder, strictly.

    >>> network = load_bottleneck_resnet(folder)  # doctest: +SKIP
    >>> network.fc.in_features, network.fc.out_features  # doctest: +SKIP
    (2048, 1000)

    Parameters
    ----------
    folder : path
        Holds torchvision's file, as it was published or in safetensors.

    Returns
    -------
    network : torchvision.models.resnet.ResNet
        On the CPU, in float32, in evaluation mode.

    Raises
    ------
    CheckpointError
        The file is absent or damaged, or of a network of other blocks.
    """
    path = weights_file(folder)
    asked_in_outline = outlining() and path.suffix == ".safetensors"
    tensors = tensor_outlines(path) if asked_in_outline else read_weights(path)
    blocks = [match for name in tensors if (match := _BLOCK.fullmatch(name))]
    numbers = [len({match[2] for match in blocks if match[1] == str(layer)}) for layer in (1, 2, 3, 4)]
    if 0 in numbers or "fc.weight" not in tensors or "layer1.0.conv3.weight" not in tensors:
        raise CheckpointError(
            f"{path} holds {len(tensors)} tensors and not those of a ResNet of bottleneck blocks with its classifier; give "
            "torchvision's file of ResNet-50."
        )
    with torch.device("meta"):
        network = ResNet(
            Bottleneck,
            numbers,
            num_classes=len(tensors["fc.weight"]),
            width_per_group=len(tensors["layer1.0.conv1.weight"]),
        )
    return put_weights(network, tensors, "a ResNet of bottleneck blocks", path)


def pooled(network, pictures):
    """Values behind the average pooling, (n, fc.in_features), not negative; pictures (n, 3, height, width), normalised."""
    for name, layer in network.named_children():
        if name == "fc":
            break
        pictures = layer(pictures)
    return pictures.flatten(1)


def norm_by_batch(network):
    """Have every batch norm take mean and variance of the batch it sees, as in training, and forget the stored ones."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = layer.running_var = None
    return network
