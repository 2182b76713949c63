"""Regions that overlap made to share no voxel: each voxel goes to the first of them that has it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stages.ground.errors import InputError

REST = "rest"
"""Name of what belongs to no region."""


def disjoint_regions(masks: Mapping[str, np.ndarray], n_voxels: int) -> dict[str, list[int]]:
    """Divide all voxels among regions.

    >>> early, all_of_it = np.array([True, True, False, False]), np.array([True, True, True, False])
    >>> disjoint_regions({"V1": early, "early": early, "VC": all_of_it}, 4)
    {'V1': [0, 1], 'VC': [2], 'rest': [3]}

    LEA (Qian et al. 2024) orders the voxels of GOD so: V1, V2, V3, V4, FFA, PPA, LOC, LVC, HVC, VC. Of some regions nothing is
    left, and these are dropped.

    Parameters
    ----------
    masks : mapping of str to bool array of shape (n_voxels,)
        In the order in which voxels are given away.
    n_voxels : int

    Returns
    -------
    regions : dict of str to list of int
        Voxels of each that is not empty, ascending; those of no region last, as `REST`. Every voxel is in one.

    Raises
    ------
    InputError
        A mask is no bool for each voxel.
    """
    free, found = np.ones(n_voxels, dtype=bool), {}
    for name, mask in masks.items():
        mask = np.asarray(mask)
        if mask.shape != (n_voxels,) or mask.dtype != bool:
            raise InputError(
                f"The region {name} is {mask.dtype} of shape {mask.shape} for {n_voxels:,} voxels; expected a bool for each."
            )
        own = mask & free
        free &= ~own
        if own.any():
            found[name] = np.flatnonzero(own).tolist()
    if free.any():
        found[REST] = np.flatnonzero(free).tolist()
    if (total := sum(map(len, found.values()))) != n_voxels:
        raise AssertionError(f"{total} voxels in regions, of {n_voxels}")
    return found
