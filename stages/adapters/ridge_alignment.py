"""Alignment by ridge regression: every voxel of a target from all voxels of a source.

    minimise over W, b   ||B - A W - 1 b||^2 + alpha ||W||^2

One penalty for all voxels, chosen by leave-one-out error as scikit-learn's RidgeCV does and as Ferrante et al. (2024) ran it.
The residual of a left-out stimulus is r_i / (1 - H_ii), with the smoother H of all of them, intercept included. Voxels are many
more than stimuli, so that all is solved in the Gram matrix of the stimuli, (n_stimuli, n_stimuli), and the map is kept as two
matrices of that width; scikit-learn keeps one weight from every voxel to every other, 1.6 GB for 14,197 of them.
"""

from __future__ import annotations

import numpy as np

from stages.adapters.affine_map import AffineMap
from stages.adapters.alignment_pairs import alignment_pairs
from stages.ground.checks import Number, Numbers, OneOf, check

ALPHAS = (1e2, 1e3, 1e4, 5e4)


def fit_ridge(source, target, alphas=ALPHAS, form=None):
    """Fit the map from a source to a target by ridge.

    >>> random = np.random.default_rng(0)
    >>> source = random.standard_normal((40, 5))
    >>> fitted, alpha, errors = fit_ridge(source, 2 * source + 3, alphas=(1e-6, 1e3))
    >>> alpha, bool(np.allclose(fitted(source), 2 * source + 3, atol=1e-4))
    (1e-06, True)

    Parameters
    ----------
    source : array of shape (n_stimuli, n_source_voxels)
    target : array of shape (n_stimuli, n_target_voxels)
        Responses to the same stimuli.
    alphas : float or sequence of float
        Penalties to choose from, in units of the voxels as they are.
    form : {"dual", "primal"}, optional
        Solve among stimuli, or among voxels; by default in the smaller of the two.

    Returns
    -------
    map : AffineMap
        float64.
    alpha : float
        The penalty of least error; the first of equal ones.
    errors : dict of float to float
        Penalty -> mean squared leave-one-out error over stimuli and voxels.
    """
    source, target = alignment_pairs(source, target)
    alphas = [float(alpha) for alpha in np.atleast_1d(check("alphas", alphas, _ALPHAS))]
    form = form or ("dual" if len(source) < source.shape[1] else "primal")
    check("form", form, OneOf("dual", "primal"))
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    solved = (_Dual if form == "dual" else _Primal)(source - source_mean, target - target_mean)
    errors = {alpha: float(np.mean(solved.residuals(alpha) ** 2)) for alpha in alphas}
    alpha = min(alphas, key=errors.get)
    return AffineMap(*solved.weights(alpha), source_mean, target_mean), alpha, errors


_ALPHAS = Numbers(Number(0, above=True), example=ALPHAS)


class _Dual:
    """In the Gram matrix of the centred stimuli."""

    def __init__(self, source, target):
        n = len(source)
        gram = source @ source.T
        # The constant takes no part in centred data. It is lifted above all other eigenvalues, so that it is known: the last.
        values, vectors = np.linalg.eigh(gram + (np.trace(gram) + 1) / n)
        self._values, self._vectors = values[:-1].clip(min=0), vectors[:, :-1]
        self._source, self._turned = source, self._vectors.T @ target

    def _of_stimuli(self, alpha):
        """Weights of stimuli (n_stimuli, n_target_voxels): the residuals of the fit, by alpha."""
        return self._vectors @ (self._turned / (self._values + alpha)[:, None])

    def residuals(self, alpha):
        return self._of_stimuli(alpha) / (self._vectors**2 @ (1 / (self._values + alpha)))[:, None]

    def weights(self, alpha):
        return self._source.T, self._of_stimuli(alpha)


class _Primal:
    """In the covariance of the source's voxels."""

    def __init__(self, source, target):
        values, self._vectors = np.linalg.eigh(source.T @ source)
        self._values, self._scores = values.clip(min=0), source @ self._vectors
        self._target, self._turned = target, self._scores.T @ target

    def residuals(self, alpha):
        shrunk = 1 / (self._values + alpha)
        left = self._target - self._scores @ (shrunk[:, None] * self._turned)
        return left / (1 - 1 / len(left) - self._scores**2 @ shrunk)[:, None]

    def weights(self, alpha):
        return self._vectors @ (self._turned / (self._values + alpha)[:, None]), None
