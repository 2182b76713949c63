"""Which voxels see an image element: scores of all voxels for many elements at once, and the best voxels of each.

Both scores are scikit-learn's, `f_classif` and `f_regression`, worked out for all elements in products of matrices on
voxels that are standardised already.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse

DENSE_SHARE = 0.1  # of entries that are not zero, from which a dense product is faster
SELECTIONS = ("anova", "correlation", "none")
DIGITS = 10  # of contrasts, relative to the largest: the mean of equal cells may differ in its last digits
SCORE_BYTES = 256 * 2**20
VOXELS_AT_ONCE = 256  # what their sums need stays in the cache


def contrast_levels(contrasts):
    """The different contrasts of every element.

    Parameters
    ----------
    contrasts : array of shape (n_samples, n_elements)

    Returns
    -------
    levels : list of array, float64
        Contrasts of each element in ascending order, those that agree in 10 digits taken together.
    codes : array of shape (n_samples, n_elements), int
        Which of its levels an element has.
    """
    largest = np.abs(contrasts).max(initial=0)
    rounded = np.round(contrasts / (largest or 1), DIGITS)
    levels, codes = [], np.empty(contrasts.shape, dtype=np.int64)
    for element, column in enumerate(rounded.T):
        _, first, codes[:, element] = np.unique(column, return_index=True, return_inverse=True)
        levels.append(contrasts[first, element])
    return levels, codes


def anova_f(patterns, codes):
    """F of every voxel between the levels of every element, as `sklearn.feature_selection.f_classif`.

    Parameters
    ----------
    patterns : array of shape (n_samples, n_voxels), float64
        Standardised: mean 0 and variance 1, or 0 throughout.
    codes : array of shape (n_samples, n_elements), int
        Level of each element, from 0 without gaps; two levels or more, and fewer than samples.

    Returns
    -------
    array of shape (n_elements, n_voxels), float64
        0 or more; infinite where nothing varies within levels; NaN for a voxel that does not vary.
    """
    n_levels = codes.max(axis=0) + 1
    # Sums over the last level follow from the others, as the mean is 0: for two levels that saves half of the work.
    summed = n_levels - 1
    starts = np.cumsum(summed) - summed
    rows = np.arange(summed.sum())
    by_element = sparse.csr_array((np.ones(len(rows)), rows, np.append(starts, len(rows))))
    sample, element = np.nonzero(codes < summed)
    # A sample is in one level of each element: of grey pictures, almost all of it is zeros.
    places = (starts[element] + codes[sample, element], sample)
    design = sparse.csr_array((np.ones(len(sample)), places), shape=(summed.sum(), len(codes)))
    if design.nnz > DENSE_SHARE * math.prod(design.shape):
        design = design.toarray()
    samples_of_last = (codes == summed).sum(axis=0)[:, None]
    samples_of_others = design.sum(axis=1)[:, None]
    degrees = ((len(codes) - n_levels) / summed)[:, None]
    found = np.empty((codes.shape[1], patterns.shape[1]))
    for start in range(0, patterns.shape[1], VOXELS_AT_ONCE):
        voxels = slice(start, start + VOXELS_AT_ONCE)
        sums = design @ patterns[:, voxels]
        between = np.square(by_element @ sums) / samples_of_last
        np.square(sums, out=sums)
        sums /= samples_of_others
        between += by_element @ sums
        within = np.einsum("ij,ij->j", patterns[:, voxels], patterns[:, voxels]) - between
        np.maximum(within, 0, out=within)
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide(between * degrees, within, out=found[:, voxels])
    return found


def correlation_f(patterns, contrasts):
    """F of every voxel's linear regression on every element, as `sklearn.feature_selection.f_regression`.

    Parameters
    ----------
    patterns : array of shape (n_samples, n_voxels), float64
        Standardised: mean 0 and variance 1, or 0 throughout.
    contrasts : array of shape (n_samples, n_elements), float64
        None of them constant.

    Returns
    -------
    array of shape (n_elements, n_voxels), float64
        0 or more; infinite for a perfect correlation; NaN for a voxel that does not vary.
    """
    centred = contrasts - contrasts.mean(axis=0)
    varying = patterns.any(axis=0)
    explained = np.square((centred / np.linalg.norm(centred, axis=0)).T @ patterns) / len(patterns)
    np.minimum(explained, 1, out=explained)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(varying, explained / (1 - explained) * (len(patterns) - 2), np.nan)


def best_voxels(scores, n_voxels):
    """The voxels with the highest scores for each element, as `sklearn.feature_selection.SelectKBest` chooses them.

    Parameters
    ----------
    scores : array of shape (n_elements, n_all_voxels)
        NaN comes last.
    n_voxels : int
        No more than there are. Of equal scores, those of the last voxels are chosen.

    Returns
    -------
    array of shape (n_elements, n_voxels), int
        Ascending in each row.
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    threshold = np.partition(scores, scores.shape[1] - n_voxels, axis=1)[:, [-n_voxels]]
    chosen = scores >= threshold
    for element in np.flatnonzero(chosen.sum(axis=1) > n_voxels):
        equal = np.flatnonzero(scores[element] == threshold[element])
        surplus = chosen[element].sum() - n_voxels
        chosen[element, equal[:surplus]] = False
    return np.nonzero(chosen)[1].reshape(len(scores), n_voxels)


def select_voxels(patterns, contrasts, codes, n_voxels, selection="anova"):
    """The voxels with which each element is decoded.

    Parameters
    ----------
    patterns : array of shape (n_samples, n_voxels), float64
        Standardised.
    contrasts : array of shape (n_samples, n_elements), float64
        None of them constant.
    codes : array of shape (n_samples, n_elements), int
        Of `contrast_levels`.
    n_voxels : int
        How many voxels, no more than there are.
    selection : {"anova", "correlation"}
        "anova" goes over to correlation for elements with more levels than a quarter of the samples.

    Returns
    -------
    array of shape (n_elements, n_voxels), int
        Ascending in each row.
    """
    n_levels = codes.max(axis=0) + 1
    few = (n_levels <= len(codes) / 4) if selection == "anova" else np.zeros(codes.shape[1], dtype=bool)
    selected = np.empty((codes.shape[1], n_voxels), dtype=np.int64)
    # Scores of an element, and for "anova" the sums over the samples of each of its levels.
    width = max(1, SCORE_BYTES // (8 * (patterns.shape[1] + VOXELS_AT_ONCE * int(n_levels[few].max(initial=0)))))
    for elements, score, values in ((few, anova_f, codes), (~few, correlation_f, contrasts)):
        elements = np.flatnonzero(elements)
        for start in range(0, len(elements), width):
            own = elements[start : start + width]
            selected[own] = best_voxels(score(patterns, values[:, own]), n_voxels)
    return selected
