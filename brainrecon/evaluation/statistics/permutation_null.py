"""What a mean over stimuli would be if responses belonged to other stimuli."""

from functools import lru_cache
from math import fsum

import numpy as np


def permutation_null(pairs, n_permutations, seed):
    """Means over stimuli when predictions are assigned to stimuli at random.

    >>> pairs = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> sorted(set(permutation_null(pairs, 20, seed=0)))
    [0.0, 1.0]

    Parameters
    ----------
    pairs : array of shape (n_stimuli, n_stimuli)
        Entry (i, j): the score of prediction j if it were of stimulus i.
    n_permutations, seed : int
        The same permutations for the same numbers, whatever is scored.

    Returns
    -------
    means : list of float
        Exact sums: if a permutation changes nothing but the order, it does not change the last digit.
    """
    n = len(pairs)
    rows = pairs[_permutations(n, n_permutations, seed), np.arange(n)]
    return [fsum(row) / n for row in rows.tolist()]


@lru_cache(maxsize=4)
def _permutations(n, n_permutations, seed):
    generator, columns = np.random.default_rng(seed), np.arange(n)
    drawn = np.stack([generator.permutation(columns) for _ in range(n_permutations)])
    drawn.setflags(write=False)
    return drawn
