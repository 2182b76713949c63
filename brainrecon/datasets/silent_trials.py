"""Trials without any response: what a lost session, a hole in a file or a filler leaves, and no brain gives."""

import numpy as np

from brainrecon.datasets.split import ROWS_PER_BLOCK


def silent_trials(betas):
    """Rows of responses that are 0 in every voxel.

    >>> silent_trials(np.array([[0.1, 0.0], [0.0, 0.0]])).tolist()
    [1]

    Parameters
    ----------
    betas : array of shape (n_trials, n_voxels)
        In memory or on disk; read in blocks.

    Returns
    -------
    rows : array of int
    """
    starts = range(0, len(betas), ROWS_PER_BLOCK)
    found = [start + np.flatnonzero(~np.any(betas[start : start + ROWS_PER_BLOCK], axis=1)) for start in starts]
    return np.concatenate([*found, np.empty(0, dtype=int)]).astype(int)


def silence_note(rows, n_trials, split):
    """Say how many trials of a split are silent, the first of them by its number from 1.

    >>> silence_note([1], 2, "train")
    '1 of 2 train trials are 0 in every voxel, trial 2 the first; estimate these betas again, or leave the trials out'
    """
    return (
        f"{len(rows):,} of {n_trials:,} {split} trials are 0 in every voxel, trial {rows[0] + 1:,} the first; estimate these "
        "betas again, or leave the trials out"
    )
