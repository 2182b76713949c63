"""A share of stimuli in which every kind of them is present."""

from __future__ import annotations

import math

import numpy as np

from stages.ground.checks import Number, check

# As published.
N_CLUSTERS = 6


def stratified_fraction(vectors, fraction, seed=0, n_clusters=N_CLUSTERS):
    """Draw a share of stimuli, as many of each cluster of their vectors as its size asks for, one at least.

    >>> vectors = np.repeat(np.eye(3), [50, 30, 1], axis=0)
    >>> rows = stratified_fraction(vectors, 0.1, n_clusters=3)
    >>> [int(np.sum(vectors[rows, cluster])) for cluster in range(3)]
    [5, 3, 1]

    Ferrante et al. (2024) take 10, 25, 50 or 100 % of the stimuli that both subjects saw, stratified by six clusters (k-means) of
    CLIP's text vectors of the first caption. Their clusters have no seed.

    Parameters
    ----------
    vectors : array of shape (n_stimuli, n_values)
    fraction : float
        Above 0, and up to 1.
    seed : int
        Of the clusters and of the draw.
    n_clusters : int
        Fewer if there are fewer distinct vectors.

    Returns
    -------
    rows : array of int
        In order. About ``fraction * n_stimuli`` of them; more where small clusters need their one.
    """
    check("fraction", fraction, Number(0, 1, above=True, example=0.25))
    vectors = np.asarray(vectors, dtype=np.float32)
    if fraction == 1:
        return np.arange(len(vectors))
    from sklearn.cluster import KMeans

    n_clusters = min(n_clusters, len(np.unique(vectors, axis=0)))
    cluster = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(vectors)
    sizes = np.bincount(cluster, minlength=n_clusters)
    random = np.random.default_rng(seed)
    chosen = [
        random.permutation(np.flatnonzero(cluster == name))[:size] for name, size in enumerate(_shares(sizes, fraction))
    ]
    return np.sort(np.concatenate(chosen))


def _shares(sizes, fraction):
    """How many of each cluster: its share rounded down, the largest remainders up, and one at least of each."""
    exact = fraction * sizes
    shares = np.floor(exact).astype(int)
    missing = math.floor(fraction * sizes.sum() + 0.5) - shares.sum()
    order = np.argsort(shares - exact, kind="stable")
    shares[order[:missing]] += 1
    return np.maximum(shares, np.minimum(sizes, 1))
