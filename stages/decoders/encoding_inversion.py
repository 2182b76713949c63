"""An encoding model from latents to patterns, and its inverse: least squares one way and then the other.

Used by `stages.decoders.inverse_encoding`, which says how it is published.
"""

from __future__ import annotations

import numpy as np


def encoding_weights(latents, patterns, penalty=0.0):
    """Fit an encoding model with a bias.

    minimise over W   ||Y - [Z 1] W||^2 + penalty ||W without its last row||^2

    >>> latents = np.array([[0.0], [1], [2]])
    >>> encoding_weights(latents, 3 * latents + 7).round(9).tolist()
    [[3.0], [7.0]]

    Parameters
    ----------
    latents : array of shape (n_trials, n_latents)
    patterns : array of shape (n_trials, n_voxels)
    penalty : float

    Returns
    -------
    weights : array of shape (n_latents + 1, n_voxels), float64
        The bias last. If several fit equally, the smallest.
    """
    design = np.column_stack([latents, np.ones(len(latents))]).astype(np.float64)
    patterns = np.asarray(patterns, dtype=np.float64)
    if penalty:
        return np.linalg.lstsq(_penalised(design.T @ design, penalty), design.T @ patterns, rcond=None)[0]
    return np.linalg.lstsq(design, patterns, rcond=None)[0]


def inverse_encoding(weights, penalty=0.0):
    """Invert an encoding model.

    W' (W W')^-1; with a penalty, which the bias has no part in, W' (W W' + penalty)^-1.

    >>> inverse, rank, condition = inverse_encoding(np.array([[2.0, 0, 0], [0, 0, 4]]))
    >>> inverse.tolist(), rank, condition
    ([[0.5, 0.0], [0.0, 0.0], [0.0, 0.25]], 2, 2.0)

    Parameters
    ----------
    weights : array of shape (n_latents + 1, n_voxels)
        The bias last.
    penalty : float

    Returns
    -------
    inverse : array of shape (n_voxels, n_latents + 1), float64
        The Moore-Penrose inverse if the plain one does not exist.
    rank : int
        Of the weights.
    condition : float
        Of their singular values that count for the rank; NaN if there are none.
    """
    weights = np.asarray(weights, dtype=np.float64)
    left, singular, right = np.linalg.svd(weights, full_matrices=False)
    rank = int((singular > singular[0] * max(weights.shape) * np.finfo(np.float64).eps).sum())
    condition = float(singular[0] / singular[rank - 1]) if rank else float("nan")
    if penalty:
        solved = np.linalg.lstsq(_penalised(weights @ weights.T, penalty), weights, rcond=None)[0]
        return solved.T, rank, condition
    return (right[:rank].T / singular[:rank]) @ left[:, :rank].T, rank, condition


def _penalised(gram, penalty):
    """A Gram matrix with the penalty on its diagonal, but not on the bias."""
    return gram + np.diag(np.append(np.full(len(gram) - 1, float(penalty)), 0.0))
