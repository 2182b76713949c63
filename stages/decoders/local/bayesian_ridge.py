"""Bayesian ridge regression of many targets: precisions of noise and weights by maximising the evidence.

MacKay's updates (1992), with scikit-learn's starting values and hyperpriors (`sklearn.linear_model.BayesianRidge`).
Noise has precision a and weights have precision l; what an update makes of them depends on their ratio d = l / a alone,

    g = sum s / (s + d),   l = (g + 2 h) / (|w|^2 + 2 h),   a = (n - g + 2 h) / (|r|^2 + 2 h),

with s the eigenvalues of the Gram matrix, w the weights and r the residuals under d, and h = 1e-6 the hyperpriors. So
one number per target goes round, and steps are extrapolated (Aitken) until it stays where it is.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

HYPERPRIOR = 1e-6
TOLERANCE = 1e-9  # of the logarithm of d
MOST_ROUNDS = 300
LONGEST_JUMP = 8.0  # of the step before


def evidence_ratios(eigenvalues, energy, rest, n_samples):
    """Ratio of the precision of weights to that of noise, for targets that share their voxels.

    Parameters
    ----------
    eigenvalues : array of shape (rank,)
        Of the Gram matrix of centred voxels.
    energy : array of shape (n_targets, rank)
        Squared products of every centred target with the eigenvectors, in sample space.
    rest : array of shape (n_targets,)
        What of the squared length of a target these leave out.
    n_samples : int

    Returns
    -------
    array of shape (n_targets,), float64
        The penalty that ridge regression would need for the same weights.
    """

    def summaries(ratio, targets):
        shrunk = eigenvalues + ratio[:, None]
        kept = eigenvalues / shrunk
        weights = (energy[targets] * kept / shrunk).sum(axis=1)
        residuals = rest[targets] + (energy[targets] * (1 - kept) ** 2).sum(axis=1)
        return kept.sum(axis=1), weights, residuals

    variance = (rest + energy.sum(axis=1)) / n_samples
    return _settled(summaries, variance + np.finfo(np.float64).eps, n_samples)


def bayesian_ridge_dual(gram, target):
    """Dual weights for one target that has voxels of its own: its weights are their sum over samples.

    A tridiagonal form of the Gram matrix takes the place of its eigenvectors, which take thrice as long: all that an
    update needs are the solution of a tridiagonal system, and the trace of its inverse from the pivots of both ends.

    Parameters
    ----------
    gram : array of shape (n_samples, n_samples), float64
        Products of samples over centred voxels; overwritten.
    target : array of shape (n_samples,), float64
        Centred.

    Returns
    -------
    dual : array of shape (n_samples,), float64
        The weights are ``voxels @ dual`` for voxels of shape (n_voxels, n_samples).
    ratio : float
    """
    n_samples = len(gram)
    # Rounding may leave a tridiagonal form a little below zero, where a small ratio does not make up for it.
    least = 64 * np.finfo(np.float64).eps * max(np.trace(gram), np.finfo(np.float64).tiny)
    workspace = max(1, int(lapack.dsytrd_lwork(n_samples, lower=1)[0]))
    # Transposed, a symmetric matrix is in the order of LAPACK, which needs no copy then.
    reflectors, diagonal, beside, factors, _ = lapack.dsytrd(gram.T, lower=1, lwork=workspace, overwrite_a=1)
    reflectors = np.asfortranarray(reflectors[1:, :-1])
    rotated = _rotated(reflectors, factors, target, "T")
    turned, beside_turned = diagonal[::-1].copy(), beside[::-1].copy()

    def summaries(ratio, _):
        shift = max(ratio[0], least)
        pivots, below, _ = lapack.dpttrf(diagonal + shift, beside)
        pivots_from_end = lapack.dpttrf(turned + shift, beside_turned)[0][::-1]
        dual = lapack.dpttrs(pivots, below, rotated)[0]
        inverse = (1 / (pivots + pivots_from_end - diagonal - shift)).sum()
        weights = diagonal @ (dual * dual) + 2 * (beside @ (dual[1:] * dual[:-1]))
        found = n_samples - shift * inverse, weights, shift**2 * (dual @ dual)
        return tuple(np.array([max(value, 0.0)]) for value in found)

    start = np.array([target @ target / n_samples + np.finfo(np.float64).eps])
    ratio = _settled(summaries, start, n_samples)
    pivots, below, _ = lapack.dpttrf(diagonal + max(ratio[0], least), beside)
    dual = lapack.dpttrs(pivots, below, rotated)[0]
    return _rotated(reflectors, factors, dual, "N"), float(ratio[0])


def _rotated(reflectors, factors, vector, direction):
    """Product of a vector and the orthogonal matrix of dsytrd (lower), which leaves the first sample as it is."""
    if len(vector) < 2:
        return vector
    found = np.asfortranarray(vector[:, None])
    found[1:] = lapack.dormqr("L", direction, reflectors, factors, found[1:], 64)[0]
    return found[:, 0]


def _settled(summaries, start, n_samples):
    """The ratio that an update leaves where it is, for every target, starting from `start`.

    ``summaries(ratio, targets)`` gives, for some of the targets, the sum of s / (s + d), |w|^2 and |r|^2.
    """
    found, going = start.copy(), np.arange(len(start))

    def updated(logarithm):
        kept, weights, residuals = summaries(np.exp(logarithm), going)
        precision = (kept + 2 * HYPERPRIOR) / (weights + 2 * HYPERPRIOR)
        noise = (n_samples - kept + 2 * HYPERPRIOR) / (residuals + 2 * HYPERPRIOR)
        return np.log(precision) - np.log(noise)

    now = np.log(start)
    for _ in range(MOST_ROUNDS):
        once = updated(now)
        twice = updated(once)
        first, second = once - now, twice - once
        rate = np.clip(np.divide(second, first, out=np.zeros_like(first), where=first != 0), -1, 0.999)
        jump = second * np.clip(rate / (1 - rate), -1, LONGEST_JUMP)
        now = twice + jump
        found[going] = np.exp(now)
        left = np.abs(second) > TOLERANCE
        if not left.any():
            break
        going, now = going[left], now[left]
    return found
