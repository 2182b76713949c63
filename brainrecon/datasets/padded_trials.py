"""Trials of a stimulus, filled up to as many as it should have had: the first ones count again.

So MindEye2 (Scotti et al. 2024) has three trials of every test picture of NSD, of which some were shown once or twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from brainrecon.datasets.split import ROWS_PER_BLOCK, check_finite


def padded(n_trials: int, to: int) -> list[int]:
    """Numbers of the trials that are averaged: from the first on again, until there are enough.

    >>> padded(1, 3), padded(2, 3), padded(3, 3), padded(4, 3)
    ([0, 0, 0], [0, 1, 0], [0, 1, 2], [0, 1, 2, 3])

    Parameters
    ----------
    n_trials : int
        Of the stimulus, 1 or more.
    to : int
        Trials of a stimulus that was shown as often as it should be. Of one that was shown more often all count.
    """
    return [number % n_trials for number in range(max(n_trials, to))]


def padded_patterns(split: Any, to: int = 3) -> np.ndarray:
    """Average responses over the trials of each stimulus, filled up.

    >>> from brainrecon.datasets.split import Split
    >>> split = Split(np.float32([[1.0], [10.0], [4.0]]), ["cat", "dog", "cat"])
    >>> padded_patterns(split).tolist(), split.patterns.tolist()
    ([[2.0], [10.0]], [[2.5], [10.0]])

    Parameters
    ----------
    split : brainrecon.datasets.split.Split
        Its responses are read by rows, in blocks and in order.
    to : int

    Returns
    -------
    patterns : array of shape (n_stimuli, n_voxels), float32
        In the order of its ``stimulus_ids``.
    """
    positions, repeats = np.asarray(split.positions), np.asarray(split.repeats)
    shares = [np.bincount(padded(int(n), to)) / max(n, to) for n in repeats]
    seen, patterns = np.zeros(len(repeats), dtype=int), np.zeros((len(repeats), split.n_voxels))
    for start in range(0, len(positions), ROWS_PER_BLOCK):
        block = np.asarray(split.betas[start : start + ROWS_PER_BLOCK], dtype=np.float32)
        check_finite(block, f"trials {start + 1} to {start + len(block)}")
        for position, response in zip(positions[start : start + len(block)], block):
            patterns[position] += shares[position][seen[position]] * response.astype(np.float64)
            seen[position] += 1
    return patterns.astype(np.float32)
