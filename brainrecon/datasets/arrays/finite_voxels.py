"""The region ``finite``: voxels with a value on every trial that differs between training trials.

Programs mark what lies outside the field of view by NaN, or leave it at one value.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FINITE = "finite"
LEFT_OUT = f"estimate these betas again, or leave those voxels out with --roi {FINITE}"
"""What to do about voxels without values."""
BLOCK_BYTES = 32 * 2**20


class FiniteVoxels:
    """Looks through the responses when the region is asked for, and never otherwise.

    Parameters
    ----------
    responses : callable
        ``responses()`` gives pairs (split, array of shape (n_trials, n_voxels)), several for one split if need be: numbers as
        they are stored, unchecked. Arrays are sliced by rows, and may live on disk.
    """

    def __init__(self, responses: Callable) -> None:
        self._responses = responses

    @cached_property
    def _found(self) -> tuple[NDArray, NDArray]:
        """Bool (n_voxels,) each: without a value on some trial, and constant in training."""
        without, low, high = np.bool_(False), np.inf, -np.inf
        for split, betas in self._responses():
            rows = max(1, BLOCK_BYTES // max(1, 8 * betas.shape[1]))
            for start in range(0, len(betas), rows):
                block = np.asarray(betas[start : start + rows])
                without = without | ~np.isfinite(block).all(axis=0)
                if split == "train":
                    low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        return np.asarray(without), ~without & np.asarray(low == high)

    @property
    def mask(self) -> NDArray:
        """The region, bool (n_voxels,)."""
        without, constant = self._found
        return ~(without | constant)

    @property
    def counts(self) -> tuple[int, int]:
        """How many voxels have no value on some trial, and how many others are constant in training."""
        return tuple(int(found.sum()) for found in self._found)

    @property
    def notes(self) -> list[str]:
        """What was left out, if the region was asked for."""
        if "_found" not in vars(self):
            return []
        (without, constant), n_voxels = self.counts, len(self._found[0])
        return [
            f"{FINITE}: {without + constant:,} of {n_voxels:,} voxels left out, {without:,} with NaN or infinite betas and "
            f"{constant:,} constant in training"
        ]
