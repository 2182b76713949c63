"""Usual spreads of layers, by which decoded features are scaled, from KamitaniLab's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.ground.errors import InputError
from stages.ground.reading.matlab_files import read_mat
from weights.manifest import CheckpointError

SPREADS_FILE = "estimated_cnn_feat_std_VGG_ILSVRC_19_layers_ImgSize_224x224_chwise_dof1.mat"
SPREADS_FILES = {
    "original": (SPREADS_FILE, "estimated_vgg19_cnn_feat_std.mat"),
    "leaky": ("estimated_vgg19LeakyReluAvePool_cnn_feat_std.mat",),
}
"""By the variant of VGG19: that of the PyTorch conversion, one number a channel, or DeepImageReconstruction's, one a layer."""


def spreads_file(folder, variant="original"):
    """Return the file of spreads in a network's folder: the first of `SPREADS_FILES` that is there.

    >>> spreads_file("nowhere", "leaky").name
    'estimated_vgg19LeakyReluAvePool_cnn_feat_std.mat'

    Parameters
    ----------
    folder : path
    variant : {"original", "leaky"}
        See `stages.networks.vgg19`.
    """
    files = [Path(folder) / name for name in SPREADS_FILES[variant]]
    return next((file for file in files if file.exists()), files[0])


def read_spreads(path, layers):
    """Read the usual spread of layers: of each channel, or one number.

    >>> from scipy.io import savemat
    >>> savemat("spreads.mat", {"conv1_1": np.float32([1, 3]).reshape(2, 1, 1), "fc8": np.float32([[2]])})
    >>> {name: spread.tolist() for name, spread in read_spreads("spreads.mat", ("conv1_1", "fc8")).items()}
    {'conv1_1': [[[1.0]], [[3.0]]], 'fc8': 2.0}

    Parameters
    ----------
    path : path
        A MATLAB file with an array for each layer.
    layers : sequence of str

    Returns
    -------
    spreads : dict of str to float64 array
        (channels, 1, 1) or (), each of which fits the layer's features.

    Raises
    ------
    CheckpointError
        The file is absent or damaged, or has no spread above 0 of a layer.
    """
    try:
        stored = read_mat(path, "fetch the checkpoint again")
    except InputError as error:
        raise CheckpointError(str(error)) from None
    found = {}
    for layer in layers:
        values = np.asarray(stored.get(layer, np.nan), dtype=np.float64)
        value = float(values.mean())
        if not 0 < value < float("inf"):
            raise CheckpointError(
                f"{path} has the spread {value} of {layer}; expected a number above 0: decode layers that it has, such as "
                f"{', '.join(sorted(stored)[:3])}, or search with scaling='none'."
            )
        found[layer] = values.reshape(-1, 1, 1) if values.size > 1 else values.reshape(())
    return found
