"""Responses of two subjects to the same stimuli, checked before anything is fitted to them."""

from __future__ import annotations

import numpy as np

from stages.ground.checks import finite
from stages.ground.errors import InputError


def alignment_pairs(source, target):
    """Both subjects' responses in float64, row by row of one stimulus.

    >>> source, target = alignment_pairs(np.ones((3, 5), np.float32), np.ones((3, 4)))
    >>> source.dtype.name, target.shape
    ('float64', (3, 4))

    Parameters
    ----------
    source : array of shape (n_stimuli, n_source_voxels)
    target : array of shape (n_stimuli, n_target_voxels)

    Raises
    ------
    InputError
        Rows are fewer than two, or not of the same stimuli, or hold NaN or infinite values.
    """
    source, target = (np.asarray(values, dtype=np.float64) for values in (source, target))
    if source.ndim != 2 or target.ndim != 2 or len(source) != len(target):
        raise InputError(
            f"The source's responses have shape {source.shape} and the target's {target.shape}; pass a row for each stimulus "
            "that both saw, in one order."
        )
    if len(source) < 2:
        raise InputError(f"An alignment needs two stimuli that both saw but there is {len(source)}; share more.")
    for values, whose in ((source, "source"), (target, "target")):
        finite(
            values, f"The {whose}'s responses", axis=1, units="voxels", fix="leave these out, or estimate them again"
        )
    return source, target


def one_grid(n_source_voxels, n_target_voxels, method):
    """Refuse two subjects whose voxels are not the same places."""
    if n_source_voxels != n_target_voxels:
        raise InputError(
            f"The source has {n_source_voxels:,} voxels and the target {n_target_voxels:,}, but {method} alignment needs both on "
            "one grid (MNI, or one surface); load them there, or align by ridge."
        )
