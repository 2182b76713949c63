"""Responses of any number of voxels brought to one length, as those who pretrain one network on many subjects do it."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError

KINDS = ("max", "mean")


def wrapped(patterns, length):
    """Repeat the first voxels behind the last ones, up to a length; a longer pattern is cut.

    >>> wrapped(np.array([[1, 2, 3]]), 7).tolist()
    [[1, 2, 3, 1, 2, 3, 1]]

    Parameters
    ----------
    patterns : array or tensor of shape (..., n_voxels)
    length : int

    Returns
    -------
    array or tensor of shape (..., length)
    """
    check("length", length, Number(1, whole=True, example=4656))
    _check_voxels(patterns)
    if torch.is_tensor(patterns):
        return patterns[..., torch.arange(length, device=patterns.device) % patterns.shape[-1]]
    return patterns[..., np.arange(length) % patterns.shape[-1]]


def wrapped_to_multiple(n_voxels, multiple):
    """Length to which so many voxels are wrapped where it has to be a multiple: the next one above.

    A number that is a multiple already gets one more whole part, as MinD-Vis (Chen et al., CVPR 2023) has it, on whose
    numbers of patches released weights depend.

    >>> wrapped_to_multiple(17, 16), wrapped_to_multiple(16, 16), wrapped_to_multiple(4643, 16)
    (32, 32, 4656)

    Parameters
    ----------
    n_voxels, multiple : int

    Returns
    -------
    int
    """
    check("n_voxels", n_voxels, Number(1, whole=True, example=4643))
    check("multiple", multiple, Number(1, whole=True, example=16))
    return (n_voxels // multiple + 1) * multiple


def pooled(patterns, length, kind="max"):
    """Take the largest value, or the mean, of `length` parts of the voxels in their order.

    Part i goes from voxel floor(i n / length) to below ceil((i + 1) n / length), so that parts overlap where the length is no
    divisor; of fewer voxels than parts, voxels count again.

    >>> pooled(torch.tensor([[1.0, 5.0, 2.0, 4.0]]), 2), pooled(torch.tensor([[1.0, 5.0, 2.0, 4.0]]), 2, "mean")
    (tensor([[5., 4.]]), tensor([[3., 3.]]))

    Parameters
    ----------
    patterns : array or tensor of shape (n, n_voxels), float
    length : int
        MindBridge (CVPR 2024): 8192.
    kind : {"max", "mean"}
        MindBridge: "max".

    Returns
    -------
    array or tensor of shape (n, length)
        Of the kind that was given.
    """
    check("length", length, Number(1, whole=True, example=8192))
    check("kind", kind, OneOf(*KINDS))
    _check_voxels(patterns)
    values = torch.as_tensor(patterns)
    found = (functional.adaptive_max_pool1d if kind == "max" else functional.adaptive_avg_pool1d)(values, length)
    return found if torch.is_tensor(patterns) else found.numpy()


def windows(series, n_windows):
    """Average a time series within windows: the first ones have one moment more, where they cannot be equal.

    MinD-Vis cuts the 1200 moments of a resting run of the Human Connectome Project into 120 windows.

    >>> windows(np.array([[1.0], [3.0], [5.0], [7.0], [9.0]]), 2).tolist()
    [[3.0], [8.0]]

    Parameters
    ----------
    series : array of shape (n_moments, n_voxels)
    n_windows : int

    Returns
    -------
    patterns : array of shape (n_windows, n_voxels)

    Raises
    ------
    InputError
        There are fewer moments than windows.
    """
    check("n_windows", n_windows, Number(1, whole=True, example=120))
    if len(series) < n_windows:
        raise InputError(
            f"The series has {len(series):,} moments, of which {n_windows:,} windows cannot be made; expected one moment or more "
            "for each: ask for fewer windows."
        )
    return np.stack([part.mean(axis=0) for part in np.array_split(np.asarray(series), n_windows)])


def _check_voxels(patterns):
    if not patterns.ndim or not patterns.shape[-1]:
        raise InputError(
            f"Patterns have the shape {tuple(patterns.shape)}; expected voxels along the last axis: look at what made them."
        )
