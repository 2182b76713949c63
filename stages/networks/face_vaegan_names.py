"""Names and layouts of the tensors of the faces' VAE-GAN: those of its TensorFlow checkpoint, and those here.

The network is `stages.networks.face_vaegan.FaceVAEGAN`.
"""

import re

import torch

_SCOPE = r"((?:encoder|generator)/layer[1-9]\d*)"
_FULL = r"(encoder/fc|encoder/variational/mu|encoder/variational/log_sigma|generator/fc)"
_KINDS = {"W": "weight", "b": "bias", "gamma": "weight", "beta": "bias"}
# Of the mean and the variance of `tf.nn.moments`. The published code does not say how TensorFlow names them, and its file was not
# read: the first are the names that later versions of TensorFlow 1 are remembered to give, the others those of earlier ones.
MOMENTS = ("moments/Squeeze", "moments/Squeeze_1")
KNOWN_MOMENTS = (
    MOMENTS,
    ("moments/normalize/mean", "moments/normalize/variance"),
    ("moments/mean", "moments/variance"),
)


def own_name(published, moments=MOMENTS):
    """Return a tensor's name here, of the variable's name in the published checkpoint.

    >>> own_name("encoder/layer1/conv2d/W"), own_name("generator/layer5/bn/gamma")
    ('encoder.layer1.conv2d.weight', 'generator.layer5.bn.weight')
    >>> own_name("encoder/layer1/bn/encoder/layer1/bn/moments/Squeeze_1/ExponentialMovingAverage")
    'encoder.layer1.bn.running_var'
    >>> own_name("encoder/layer1/conv2d/W/Adam")

    Names of variables are those that the published code gives. Names of moving averages follow from the version of TensorFlow,
    as `moments` says. They were not compared with the published file.

    Parameters
    ----------
    published : str
    moments : tuple of two str
        Operations below a layer's ``bn`` that compute its mean and its variance.

    Returns
    -------
    str, or None
        None if the variable belongs to neither network, as an optimiser's does.
    """
    if found := re.fullmatch(f"{_FULL}/(W|b)", published):
        return f"{found[1].replace('/', '.')}.{_KINDS[found[2]]}"
    if found := re.fullmatch(f"{_SCOPE}/(conv2d|deconv2d)/(W|b)", published):
        if (found[2] == "conv2d") == found[1].startswith("encoder"):
            return f"{found[1].replace('/', '.')}.{found[2]}.{_KINDS[found[3]]}"
    if found := re.fullmatch(f"{_SCOPE}/bn/(gamma|beta)", published):
        return f"{found[1].replace('/', '.')}.bn.{_KINDS[found[2]]}"
    for moment, kind in zip(moments, ("running_mean", "running_var")):
        if found := re.fullmatch(rf"{_SCOPE}/bn/\1/bn/{re.escape(moment)}/ExponentialMovingAverage", published):
            return f"{found[1].replace('/', '.')}.bn.{kind}"
    return None


def published_name(own, moments=MOMENTS):
    """Return a variable's name in the published checkpoint, of the tensor's name here: the inverse of `own_name`.

    >>> published_name("generator.layer2.deconv2d.bias")
    'generator/layer2/deconv2d/b'
    """
    *scope, kind = own.split(".")
    place = "/".join(scope)
    if scope[-1] != "bn":
        return f"{place}/{'W' if kind == 'weight' else 'b'}"
    if kind.startswith("running_"):
        return f"{place}/{place}/{moments[kind == 'running_var']}/ExponentialMovingAverage"
    return f"{place}/{'gamma' if kind == 'weight' else 'beta'}"


def own_tensors(published, moments=MOMENTS):
    """Return tensors in the layout of PyTorch under their names here, for `stages.checkpoints.pretrained.fill_network`.

    >>> import numpy as np
    >>> own = own_tensors({"encoder/layer1/conv2d/W": np.zeros((3, 3, 3, 192)), "beta1_power": np.ones(())})
    >>> {name: tuple(tensor.shape) for name, tensor in own.items()}
    {'encoder.layer1.conv2d.weight': (192, 3, 3, 3)}

    Parameters
    ----------
    published : mapping of str to array
        Variables of the checkpoint: kernels (height, width, inputs, outputs), those of transposed layers (height, width,
        outputs, inputs), matrices (inputs, outputs). Those of neither network are left out.
    moments : tuple of two str
        As for `own_name`.
    """
    tensors = {}
    for name, values in published.items():
        if (own := own_name(name, moments)) is not None:
            # Of four axes (a, b, c, d) PyTorch has (d, c, a, b), for either kind of layer; of two (a, b) it has (b, a).
            axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(values.ndim, tuple(range(values.ndim)))
            tensors[own] = torch.as_tensor(values).permute(axes).contiguous()
    return tensors


def with_own_names(tensors):
    """Return tensors as `own_tensors` gives them if their names are published ones, and as they are if not.

    Of `KNOWN_MOMENTS` those are taken that occur in the checkpoint.

    >>> list(with_own_names({"encoder/fc/b": torch.zeros(3)})), list(with_own_names({"encoder.fc.bias": torch.zeros(3)}))
    (['encoder.fc.bias'], ['encoder.fc.bias'])
    """
    if not any("/" in name for name in tensors):
        return tensors
    occur = (pair for pair in KNOWN_MOMENTS if any(f"/{pair[0]}/Exp" in name for name in tensors))
    return own_tensors(tensors, next(occur, MOMENTS))
