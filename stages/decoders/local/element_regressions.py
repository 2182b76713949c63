"""Linear regressions from one set of voxels to one or many targets, through the smaller Gram matrix of the voxels.

With n samples and p voxels that is samples by samples (dual) for p of n or more, voxels by voxels (primal) otherwise.
All functions take centred float64 arrays with samples as columns, which is how voxels are gathered fast.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh, lapack, lstsq

from stages.decoders.local.bayesian_ridge import bayesian_ridge_dual, evidence_ratios

# A Gram matrix squares the condition of the voxels: below this, singular values are worked out instead.
LEAST_RECIPROCAL_CONDITION = 1e-8
EPS = np.finfo(np.float64).eps


def least_squares(voxels, targets):
    """Ordinary least squares; of all solutions the one of minimum norm.

    Parameters
    ----------
    voxels : array of shape (n_voxels, n_samples)
    targets : array of shape (n_targets, n_samples)

    Returns
    -------
    weights : array of shape (n_targets, n_voxels)
    alpha : array of shape (n_targets,)
        NaN: there is no penalty.
    """
    alpha = np.full(len(targets), np.nan)
    n_voxels, n_samples = voxels.shape
    dual = n_voxels >= n_samples
    # Centred samples sum to nothing: without that direction the Gram matrix is regular where it can be.
    gram = _filled(voxels.T @ voxels) if dual else voxels @ voxels.T
    size = np.abs(gram).sum(axis=0).max()
    # Transposed, a symmetric matrix is in the order of LAPACK, which needs no copy then.
    factor, failed = lapack.dpotrf(gram.T, lower=1, overwrite_a=1)
    if failed or lapack.dpocon(factor, size, uplo="L")[0] < LEAST_RECIPROCAL_CONDITION:
        weights, varying = np.zeros((len(targets), n_voxels)), voxels.any(axis=1)
        if varying.any():
            cut = max(voxels.shape) * EPS
            weights[:, varying] = lstsq(voxels[varying].T, targets.T, cond=cut, check_finite=False)[0].T
        return weights, alpha
    if dual:
        return lapack.dpotrs(factor, targets.T, lower=1)[0].T @ voxels.T, alpha
    return lapack.dpotrs(factor, voxels @ targets.T, lower=1)[0].T, alpha


def ridge(voxels, targets, alphas, together=None):
    """Ridge regression, each target with the penalty that has the least squared leave-one-out error.

    The errors are exact, the mean left out with the sample: those of refitting without each sample, on voxels that stay
    as they are. Samples of one group are left out together: with H the smoother of all samples, the constant in it, the
    residuals of group b without it are (I - H)_bb^-1 ((I - H) y)_b.

    Parameters
    ----------
    voxels : array of shape (n_voxels, n_samples)
    targets : array of shape (n_targets, n_samples)
    alphas : sequence of float
    together : array of shape (n_samples,), int, optional
        The group of each sample; every sample is one by itself if it is not given.

    Returns
    -------
    weights : array of shape (n_targets, n_voxels)
    alpha : array of shape (n_targets,)
        Of equal errors, the first of `alphas`. With one group there is no error, and it is the first.
    """
    values, left = _decomposed(voxels)
    parts = left.T @ targets.T
    n_samples = len(left)
    if together is not None and len(np.unique(together)) < n_samples:
        errors = _errors_of_groups(values, left, parts, targets, alphas, together)
        alpha = np.asarray(alphas, dtype=np.float64)[errors.argmin(axis=0)]
        return _shrunk(voxels, values, left, parts, alpha), alpha
    squared = np.square(left)
    if values.size == n_samples - 1:
        rest, rest_weight = 0, 0
    else:
        rest = targets.T - left @ parts
        rest_weight = np.maximum(1 - 1 / n_samples - squared.sum(axis=1), 0)
    errors = np.empty((len(alphas), len(targets)))
    for index, alpha in enumerate(alphas):
        damped = alpha / (values + alpha)
        residuals = rest + left @ (damped[:, None] * parts)
        left_out = np.maximum(rest_weight + squared @ damped, EPS)
        errors[index] = np.square(residuals / left_out[:, None]).sum(axis=0)
    alpha = np.asarray(alphas, dtype=np.float64)[errors.argmin(axis=0)]
    return _shrunk(voxels, values, left, parts, alpha), alpha


def _errors_of_groups(values, left, parts, targets, alphas, together):
    """Squared residuals of samples that were left out with their group, (n_alphas, n_targets)."""
    groups = [np.flatnonzero(together == one) for one in np.unique(together)]
    errors = np.zeros((len(alphas), len(targets)))
    if len(groups) == 1:
        return errors
    n_samples, rest = len(left), targets.T - left @ parts
    reached = values.size == n_samples - 1
    for index, alpha in enumerate(alphas):
        damped = alpha / (values + alpha)
        residuals = left @ (damped[:, None] * parts) + (0 if reached else rest)
        for own in groups:
            block = (left[own] * damped) @ left[own].T
            if not reached:
                block += np.eye(len(own)) - 1 / n_samples - left[own] @ left[own].T
            block += EPS * np.eye(len(own))
            errors[index] += np.square(np.linalg.solve(block, residuals[own])).sum(axis=0)
    return errors


def bayesian_ridge(voxels, targets):
    """Ridge regression, each target with the penalty of the highest evidence; see `stages.decoders.local.bayesian_ridge`.

    Parameters
    ----------
    voxels : array of shape (n_voxels, n_samples)
    targets : array of shape (n_targets, n_samples)

    Returns
    -------
    weights : array of shape (n_targets, n_voxels)
    alpha : array of shape (n_targets,)
        Precision of the weights over that of the noise.
    """
    if len(targets) == 1 and len(voxels) >= voxels.shape[1]:
        dual, ratio = bayesian_ridge_dual(voxels.T @ voxels, targets[0])
        return (voxels @ dual)[None], np.array([ratio])
    values, left = _decomposed(voxels)
    parts = left.T @ targets.T
    rest = np.square(targets.T - left @ parts).sum(axis=0)
    alpha = evidence_ratios(values, np.square(parts.T), rest, len(left))
    return _shrunk(voxels, values, left, parts, alpha), alpha


def _decomposed(voxels):
    """Eigenvalues of the Gram matrix and its eigenvectors in sample space, the constant left out."""
    n_voxels, n_samples = voxels.shape
    if n_voxels >= n_samples:
        gram = _filled(voxels.T @ voxels, beyond=True)
        values, left = eigh(gram.T, overwrite_a=True, check_finite=False, driver="evd")
        # The constant lies beyond all others, so that no rounding mixes it with what has no variance either.
        return np.maximum(values[:-1], 0), left[:, :-1]
    values, vectors = eigh((voxels @ voxels.T).T, overwrite_a=True, check_finite=False, driver="evd")
    kept = values > n_samples * EPS * max(values[-1], np.finfo(np.float64).tiny)
    values, vectors = values[kept], vectors[:, kept]
    return values, voxels.T @ (vectors / np.sqrt(values))


def _filled(gram, beyond=False):
    """A Gram matrix over samples plus a multiple of the constant: of average size, or larger than all."""
    trace = max(np.trace(gram), np.finfo(np.float64).tiny)
    added = 2 * trace if beyond else trace / len(gram)
    gram += added / len(gram)
    return gram


def _shrunk(voxels, values, left, parts, alpha):
    return ((left @ (parts / (values[:, None] + alpha))).T) @ voxels.T
