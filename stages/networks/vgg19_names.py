"""Names of VGG19's layers, as Caffe has them, and their places among torchvision's modules.

``conv1_1`` to ``conv5_4`` and ``fc6``, ``fc7``, ``fc8`` are before the rectifier, ``relu1_1`` to ``relu5_4``, ``relu6`` and
``relu7`` behind it, ``pool1`` to ``pool5`` are the largest values of four. The network is `stages.networks.vgg19.VGG19`.
"""

CONVOLUTIONS = (2, 2, 4, 4, 4)
"""Of each block."""


def _places():
    """Layer -> the part of the network and the number in it."""
    found, number = {}, 0
    for block, n_convolutions in enumerate(CONVOLUTIONS, start=1):
        for convolution in range(1, n_convolutions + 1):
            found[f"conv{block}_{convolution}"] = ("features", number)
            found[f"relu{block}_{convolution}"] = ("features", number + 1)
            number += 2
        found[f"pool{block}"] = ("features", number)
        number += 1
    return found | {
        name: ("classifier", number) for name, number in zip(("fc6", "relu6", "fc7", "relu7", "fc8"), (0, 1, 3, 4, 6))
    }


PLACES = _places()
LAYERS = tuple(PLACES)
"""Names of all layers, in the order in which they are computed."""


def own_name(name):
    """Return a tensor's name here, of Caffe's name for it; others stay as they are.

    >>> own_name("conv2_1.weight"), own_name("fc8.bias"), own_name("features.0.weight")
    ('features.5.weight', 'classifier.6.bias', 'features.0.weight')
    """
    layer, _, kind = name.rpartition(".")
    if layer not in PLACES:
        return name
    part, number = PLACES[layer]
    return f"{part}.{number}.{kind}"
