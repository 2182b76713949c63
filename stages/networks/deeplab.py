"""DeepLabV3 (Chen and others, 2017) as torchvision has it: which of 21 classes each pixel is of, the first being background.

The tensors of a file say how many blocks its ResNet has: 101 layers, or 50, have the same names.
"""

import re

import torch
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.models.segmentation.fcn import FCNHead

from stages.checkpoints.outlines import outlining, tensor_outlines
from stages.checkpoints.published_weights import put_weights, read_weights, weights_file
from weights.manifest import CheckpointError

_BLOCK = re.compile(r"backbone\.layer([1-4])\.(\d+)\.conv1\.weight")
_CLASSES = "classifier.4.weight"


def load_deeplab(folder):
    """Load the one file of weights in a folder, strictly.

    >>> network = load_deeplab(folder)  # doctest: +SKIP
    >>> network(pictures)["out"].shape  # doctest: +SKIP
    torch.Size([1, 21, 520, 520])

    Parameters
    ----------
    folder : path
        Holds torchvision's file, as it was published or in safetensors.

    Returns
    -------
    network : torchvision.models.segmentation.DeepLabV3
        On the CPU, in float32, in evaluation mode. Its auxiliary classifier is left away: only training reads it.

    Raises
    ------
    CheckpointError
        The file is absent or damaged, or of another network.
    """
    path = weights_file(folder)
    asked_in_outline = outlining() and path.suffix == ".safetensors"
    tensors = tensor_outlines(path) if asked_in_outline else read_weights(path)
    blocks = [match for name in tensors if (match := _BLOCK.fullmatch(name))]
    numbers = [len({match[2] for match in blocks if match[1] == str(layer)}) for layer in (1, 2, 3, 4)]
    if 0 in numbers or _CLASSES not in tensors:
        raise CheckpointError(
            f"{path} holds {len(tensors)} tensors and not those of a DeepLabV3 on a ResNet of bottleneck blocks; give "
            "torchvision's file of deeplabv3_resnet101."
        )
    with torch.device("meta"):
        network = built(numbers, len(tensors[_CLASSES]), any(name.startswith("aux_classifier.") for name in tensors))
    network = put_weights(network, tensors, "a DeepLabV3", path)
    network.aux_classifier = None
    return network


def built(numbers, n_classes, has_auxiliary=True):
    """Build the network with so many blocks in each of its ResNet's four layers, untrained."""
    resnet = ResNet(Bottleneck, numbers, replace_stride_with_dilation=[False, True, True])
    layers = {"layer4": "out"} | ({"layer3": "aux"} if has_auxiliary else {})
    auxiliary: nn.Module | None = FCNHead(1024, n_classes) if has_auxiliary else None
    return DeepLabV3(IntermediateLayerGetter(resnet, layers), DeepLabHead(2048, n_classes), auxiliary)
