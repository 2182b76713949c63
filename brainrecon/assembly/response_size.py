"""How large responses are, to tell a unit from another: NSD's files hold 300 times percent signal change."""

import numpy as np

from brainrecon.datasets.responses import as_responses
from brainrecon.datasets.split import average_repeats

FACTOR = 10
"""Responses of another size by this factor or more are hardly in the unit that was learned from."""
MOST_ROWS = 256


def response_size(patterns):
    """The median absolute response, over voxels with one, of up to 256 patterns at even spacing.

    >>> response_size(np.float32([[1, -2, 3], [0, 2, 0]]))
    2.0

    Parameters
    ----------
    patterns : array of shape (n_stimuli, n_voxels)

    Returns
    -------
    size : float or None
        In the unit of the patterns; None where all are zero.
    """
    sizes = np.abs(np.asarray(patterns)[_rows(len(patterns))])
    # What lies outside the brain is stored as zero, and of some datasets that is most of it.
    sizes = sizes[sizes > 0]
    return float(np.median(sizes)) if sizes.size else None


def usual_size(split):
    """The `response_size` of a split's patterns, for which the trials of the patterns that it looks at are read, and no others.

    Parameters
    ----------
    split : brainrecon.datasets.split.Split
    """
    looked_at = _rows(split.n_stimuli)
    trials = np.flatnonzero(np.isin(split.positions, looked_at))
    return response_size(average_repeats(as_responses(split.betas).take(trials), split.trial_stimulus_ids[trials]))


def other_scale(patterns, usual):
    """A sentence where patterns are of another size than usual by `FACTOR` or more, else "".

    Averages over repeats are smaller than single trials, and z-scores than percent signal change, but by less.

    Parameters
    ----------
    patterns : array of shape (n_stimuli, n_voxels)
    usual : float
        The `response_size` of what was learned from.
    """
    size = response_size(patterns)
    if size is None or 1 / FACTOR < size / usual < FACTOR:
        return ""
    factor = max(size / usual, usual / size)
    larger = "larger" if size > usual else "smaller"
    return (
        f"These responses are {factor:,.0f} times {larger} than those that were learned from (median {size:.3g}, not "
        f"{usual:.3g}): bring them into the same unit. NSD's files hold 300 times percent signal change."
    )


def _rows(n):
    """Up to 256 rows of n at even spacing."""
    return np.unique(np.linspace(0, n - 1, min(MOST_ROWS, n)).astype(int)) if n else []
