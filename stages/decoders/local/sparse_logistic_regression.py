"""Sparse multinomial logistic regression with automatic relevance determination.

The classifier of Miyawaki et al. (2008), after Yamashita et al. (2008, doi 10.1016/j.neuroimage.2008.05.050): every
weight has a normal prior with a precision of its own, one for each voxel and class. Weights are at the mode of their
posterior and precisions follow from a normal approximation there (Laplace), in turn:

    weights        a Newton step on  sum log p(class | voxels) - 1/2 sum precision * weight^2
    precisions     (1 - precision * posterior variance) / weight^2

A weight whose precision has passed `PRUNED` is dropped for good. Most are, within a few dozen rounds, and the systems
that are solved shrink with them. Two classes need one weight per voxel, for the second against the first. Every class
has an intercept with a weak prior.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from stages.ground.errors import InputError

PRUNED = 1e6  # a prior standard deviation of 0.001 per standard deviation of the voxel
LEAST_PRECISION = 1e-3  # classes that a voxel tells apart without fail would have weights without bound
INTERCEPT_PRECISION = 1e-4
TOLERANCE = 1e-3  # of the weights, relative to the largest
MOST_ROUNDS = 200
HALVINGS = 30


def sparse_logistic_regression(patterns, classes, n_classes):
    """Fit the classes of one element.

    Parameters
    ----------
    patterns : array of shape (n_samples, n_voxels), float64
        Standardised.
    classes : array of shape (n_samples,), int
        0 to n_classes - 1.
    n_classes : int
        Two or more; each occurs.

    Returns
    -------
    weights : array of shape (n_classes, n_voxels), float64
        In standardised voxels; the most probable class is that with the highest ``weights @ pattern + intercepts``.
        Exactly 0 where a weight was dropped.
    intercepts : array of shape (n_classes,), float64
    """
    n_samples, n_voxels = patterns.shape
    model = _Multinomial(patterns, classes, n_classes)
    free = n_classes if n_classes > 2 else 1
    # All weights that are left, as pairs of a row and a column; the last column is the intercept.
    row, column = np.indices((free, n_voxels + 1)).reshape(2, -1)
    precision = np.where(column == n_voxels, INTERCEPT_PRECISION, 1.0)
    weights = np.zeros(len(row))
    for _ in range(MOST_ROUNDS):
        before = weights
        weights, variance = model.step(weights, row, column, precision)
        own = column < n_voxels
        kept = np.clip(1 - precision[own] * variance[own], 1e-12, 1)
        with np.errstate(divide="ignore"):
            precision[own] = np.clip(kept / np.square(weights[own]), LEAST_PRECISION, None)
        left = precision < PRUNED
        change = np.abs(weights - before).max()
        row, column, precision, weights = row[left], column[left], precision[left], weights[left]
        if left.all() and change <= TOLERANCE * max(np.abs(weights).max(), 1.0):
            break
    found = np.zeros((n_classes, n_voxels + 1))
    found[row + n_classes - free, column] = posterior_mode(
        patterns, classes, n_classes, row, column, precision, weights
    )
    return found[:, :-1], found[:, -1]


def posterior_mode(patterns, classes, n_classes, row, column, precision, start=None):
    """The weights at the mode of the posterior for precisions that are given.

    Parameters
    ----------
    patterns, classes, n_classes
        As `sparse_logistic_regression` takes them.
    row, column : array of shape (n_weights,), int
        Class and voxel of each weight in ascending order; column n_voxels is the intercept. For two classes, row 0 is
        the second class against the first.
    precision : array of shape (n_weights,)
    start : array of shape (n_weights,), optional
        0 by default.

    Returns
    -------
    array of shape (n_weights,), float64
    """
    model = _Multinomial(patterns, classes, n_classes)
    weights = np.zeros(len(row)) if start is None else start
    for _ in range(MOST_ROUNDS):
        before = weights
        weights, _ = model.step(weights, row, column, precision)
        if np.abs(weights - before).max() <= 1e-9 * max(np.abs(weights).max(), 1.0):
            break
    return weights


class _Multinomial:
    """Likelihood of the classes, for weights of which any may be missing."""

    def __init__(self, patterns, classes, n_classes):
        self._patterns = np.concatenate([patterns, np.ones((len(patterns), 1))], axis=1)
        self._shown = np.eye(n_classes)[classes]
        self._two = n_classes == 2

    def _probabilities(self, weights, design, ends):
        """Logarithms and values of the probabilities of all classes, shape (n_samples, n_classes).

        `design` has the voxel of each weight; the weights of a class lie between two of `ends`.
        """
        activity = np.zeros(self._shown.shape)
        if self._two:
            activity[:, 1] = design @ weights
        else:
            for index, (start, stop) in enumerate(zip(ends[:-1], ends[1:])):
                activity[:, index] = design[:, start:stop] @ weights[start:stop]
        activity -= activity.max(axis=1, keepdims=True)
        logarithms = activity - np.log(np.exp(activity).sum(axis=1, keepdims=True))
        return logarithms, np.exp(logarithms)

    def step(self, weights, row, column, precision):
        """A Newton step towards the mode, halved until it climbs; and the variances where it started."""
        design, first = self._patterns[:, column], 1 if self._two else 0
        ends = np.searchsorted(row, np.arange(self._shown.shape[1] + 1))
        logarithms, probabilities = self._probabilities(weights, design, ends)
        objective = self._objective(logarithms, weights, precision)
        probability = probabilities[:, row + first]
        gradient = np.einsum("ij,ij->j", design, self._shown[:, row + first] - probability) - precision * weights
        hessian = self._hessian(design, ends, probability, probabilities)
        np.einsum("ii->i", hessian)[...] += precision
        factor, failed = lapack.dpotrf(hessian, lower=1, overwrite_a=1)
        if failed:
            raise InputError(
                f"A sparse logistic regression of {len(design):,} samples on {len(row):,} weights came to no end; give it fewer "
                "voxels with n_voxels, or choose another model."
            )
        direction = lapack.dpotrs(factor, gradient, lower=1)[0]
        inverse, _ = lapack.dtrtri(factor, lower=1, overwrite_c=1)
        variance = np.einsum("ij,ij->j", inverse, inverse)
        size = 1.0
        for _ in range(HALVINGS):
            moved = weights + size * direction
            if self._objective(self._probabilities(moved, design, ends)[0], moved, precision) >= objective:
                return moved, variance
            size /= 2
        return weights, variance

    def _objective(self, logarithms, weights, precision):
        return (self._shown * logarithms).sum() - 0.5 * (precision * weights) @ weights

    def _hessian(self, design, ends, probability, probabilities):
        """Of the negative likelihood; Fortran order, the lower triangle is what is used."""
        if self._two:
            return np.asfortranarray((design * (probability * probabilities[:, [0]])).T @ design)
        mixed = probability * design
        hessian = np.asfortranarray(-(mixed.T @ mixed))
        for start, stop in zip(ends[:-1], ends[1:]):
            own = slice(start, stop)
            hessian[own, own] += mixed[:, own].T @ design[:, own]
        return hessian
