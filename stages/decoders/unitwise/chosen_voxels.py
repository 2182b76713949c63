"""Which voxels each unit is decoded from: those that correlate with it most over the training trials."""

from __future__ import annotations

import torch

from stages.ground.errors import InputError

# Correlations that differ by less are equal, so that the same voxels are chosen wherever they are computed.
STEP = 2.0**-36
# Voxels whose places find room beside the correlations in the 53 digits of a number of 64 bits.
LARGEST = 2**17
# What stays in the processor's cache.
UNITS_AT_A_TIME = 64
# Variance below which a voxel counts as constant, and its correlation as 0: PyFastL2LiR's number.
LEAST_VARIANCE = 1e-8


def chosen_voxels(correlations, n):
    """Mask of the voxels that correlate with each unit most, whatever the sign.

    >>> correlations = torch.tensor([[0.1, -0.5, 0.3, 0.3], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    >>> chosen_voxels(correlations, 2).tolist()
    [[False, True, True, False], [True, True, False, False]]

    Parameters
    ----------
    correlations : float64 tensor of shape (n_units, n_voxels)
        Pearson's; finite.
    n : int
        Voxels to choose, 1 to n_voxels. Of equal correlations, those of the first voxels are chosen.

    Returns
    -------
    bool tensor of shape (n_units, n_voxels)
        `n` of each row are true.
    """
    n_voxels = correlations.shape[1]
    if n >= n_voxels:
        return torch.ones_like(correlations, dtype=torch.bool)
    # Whole numbers that rank by correlation, then by place: no two of a row are equal, and all are exact in 64 bits.
    places = 1 << (n_voxels - 1).bit_length()
    if places > LARGEST:
        raise InputError(f"There are {n_voxels:,} voxels; expected {LARGEST:,} or fewer: choose a smaller roi.")
    backwards = torch.arange(n_voxels - 1, -1, -1, device=correlations.device, dtype=torch.float64)
    mask = torch.empty_like(correlations, dtype=torch.bool)
    for ranked, taken in zip(correlations.split(UNITS_AT_A_TIME), mask.split(UNITS_AT_A_TIME)):
        keys = (ranked.abs() / STEP).round_().mul_(places).add_(backwards)
        torch.ge(keys, keys.kthvalue(n_voxels - n + 1, dim=1, keepdim=True).values, out=taken)
    return mask


def places_of(mask):
    """Places that are true in each row, in order, (n_rows, n) int64; every row has as many.

    >>> places_of(torch.tensor([[True, False, True], [False, True, True]])).tolist()
    [[0, 2], [1, 2]]
    """
    return mask.nonzero()[:, 1].view(len(mask), -1)
