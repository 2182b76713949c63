"""Local decoders: a model from voxels to each of many image elements, fitted all at once.

Every element has voxels of its own, and there are as many models as elements. What they share is worked out once:
standardised voxels, the scores that choose voxels, and, where every element sees all voxels, the factorisation. Where
it does not, the smaller Gram matrix of its voxels, over samples or over voxels, is factorised for each element.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from stages.decoders.local.element_regressions import bayesian_ridge, least_squares, ridge
from stages.decoders.local.element_voxels import contrast_levels, select_voxels
from stages.decoders.local.orthogonal_matching_pursuit import orthogonal_matching_pursuit
from stages.decoders.local.sparse_logistic_regression import sparse_logistic_regression

MODELS = ("omp", "linear", "bayesian_ridge", "ridge", "sparse_logistic", "univariate")
ALPHAS = tuple(float(alpha) for alpha in np.logspace(0, 6, 13))
# Of a sparse logistic regression: what its rounds take whatever the size, and what an entry of their Hessians does.
SECONDS_AT_LEAST, SECONDS_PER_PRODUCT = 0.03, 1.2e-8
WORTH_PROCESSES = 5.0  # seconds of work, from which it pays to start processes


@dataclass(frozen=True)
class LocalModels:
    """Fitted models of all elements.

    Parameters
    ----------
    voxel_mean, voxel_scale : array of shape (n_voxels,), float64
        Of the training patterns; standard deviation without a degree of freedom taken off, 1 for constant voxels.
    coef : array of shape (n_rows, n_voxels), float64
        A row per element, in contrast per standard deviation of a voxel; for classifiers a row per element and class.
    intercept : array of shape (n_rows,), float64
    row_element : array of shape (n_rows,), int
        The element of each row, ascending.
    row_level : array of shape (n_rows,), float64
        For classifiers the contrast of each class; NaN otherwise.
    selected : array of shape (n_elements, n_selected), int, or None
        Voxels of each element, ascending; -1 for constant elements. None: all voxels for all.
    alpha : array of shape (n_elements,), float64
        The penalty of ridge and Bayesian ridge, in units of standardised voxels; NaN otherwise and for constant
        elements.
    """

    voxel_mean: np.ndarray
    voxel_scale: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    row_element: np.ndarray
    row_level: np.ndarray
    selected: np.ndarray | None
    alpha: np.ndarray

    def predict(self, patterns):
        """Contrasts (n_samples, n_elements), float64, from patterns (n_samples, n_voxels) in the units of training."""
        standardised = (patterns - self.voxel_mean) / self.voxel_scale
        rows = standardised @ self.coef.T + self.intercept
        if np.isnan(self.row_level).all():
            return rows
        first = np.flatnonzero(np.diff(self.row_element, prepend=-1))
        highest = np.maximum.reduceat(rows, first, axis=1)[:, self.row_element]
        return np.maximum.reduceat(np.where(rows == highest, self.row_level, -np.inf), first, axis=1)


def fit_local_models(
    patterns,
    contrasts,
    model="omp",
    selection="anova",
    n_voxels=500,
    n_nonzero=10,
    alphas=ALPHAS,
    n_levels=6,
    n_jobs=None,
):
    """Choose voxels for every element and fit its model.

    Parameters
    ----------
    patterns : array of shape (n_samples, n_voxels)
        Finite. Worked on in float64.
    contrasts : array of shape (n_samples, n_elements)
        Finite.
    model : {"omp", "linear", "bayesian_ridge", "ridge", "sparse_logistic", "univariate"}
    selection : {"anova", "correlation", "none"}
    n_voxels : int
        Voxels of each element.
    n_nonzero : int
        Voxels that orthogonal matching pursuit gives a weight.
    alphas : sequence of float
        Penalties of "ridge"; samples with the same contrasts in all elements are left out together.
    n_levels : int
        Classes of "sparse_logistic".
    n_jobs : int, optional
        Threads; processes for "sparse_logistic", if it takes long. They change nothing but the time.

    Returns
    -------
    LocalModels
        Constant elements, up to rounding, get their mean.
    """
    patterns = np.asarray(patterns, dtype=np.float64)
    scaler = StandardScaler().fit(patterns)
    voxels = np.ascontiguousarray(scaler.transform(patterns).T)
    # A scale of 1 and a variance of nothing: what is left is the rounding of a constant.
    voxels[np.einsum("ij,ij->i", voxels, voxels) < 0.5 * len(patterns)] = 0
    contrasts = np.asarray(contrasts, dtype=np.float64)
    levels, codes = contrast_levels(contrasts)
    varying = np.flatnonzero([len(own) > 1 for own in levels])
    own = None
    if model == "univariate" or (selection != "none" and n_voxels < len(voxels)):
        wanted = 1 if model == "univariate" else n_voxels
        how = "correlation" if selection == "none" else selection
        own = select_voxels(voxels.T, contrasts[:, varying], codes[:, varying], wanted, how)
    mean = contrasts.mean(axis=0)
    shape = contrasts.shape[1], len(voxels)
    alpha = np.full(shape[0], np.nan)
    if model == "sparse_logistic":
        rows = _classifiers(voxels, contrasts, levels, codes, varying, own, n_levels, n_jobs)
        coef, intercept, element, level = _stacked(rows, varying, own, mean, shape)
    else:
        coef, intercept, element, level = np.zeros(shape), mean, np.arange(shape[0]), np.full(shape[0], np.nan)
        targets = np.ascontiguousarray((contrasts - mean)[:, varying].T)
        # Trials of one picture: with one of them left, the others would give it away.
        together = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1) if model == "ridge" else None
        coef[varying], alpha[varying] = _regressions(model, voxels, targets, own, n_nonzero, alphas, together, n_jobs)
    selected = None
    if own is not None:
        selected = np.full((shape[0], own.shape[1]), -1)
        selected[varying] = own
    return LocalModels(scaler.mean_, scaler.scale_, coef, intercept, element, level, selected, alpha)


def _regressions(model, voxels, targets, selected, n_nonzero, alphas, together, n_jobs):
    """Weights (n_targets, n_voxels) and penalties (n_targets,) of the models that predict a contrast itself."""
    every = np.arange(len(targets))[:, None]
    weights, alpha = np.zeros((len(targets), len(voxels))), np.full(len(targets), np.nan)
    if not len(targets):
        return weights, alpha
    if model == "omp":
        chosen, found = orthogonal_matching_pursuit(voxels, targets, n_nonzero, selected)
        # Steps not taken name a voxel that may have a weight from another step.
        np.add.at(weights, (every, chosen), found)
        return weights, alpha
    if model == "univariate":
        own = voxels[selected[:, 0]]
        # All voxels may be constant; then there is nothing to divide by.
        length = np.maximum(np.einsum("ij,ij->i", own, own), np.finfo(np.float64).tiny)
        weights[every, selected] = (np.einsum("ij,ij->i", own, targets) / length)[:, None]
        return weights, alpha
    shrink = partial(ridge, alphas=alphas, together=together)
    solve = {"linear": least_squares, "ridge": shrink, "bayesian_ridge": bayesian_ridge}[model]
    if selected is None:
        varying = voxels.any(axis=1)
        if varying.any():
            weights[:, varying], alpha = solve(voxels[varying], targets)
        return weights, alpha
    found = _in_threads(lambda e: solve(voxels[selected[e]], targets[e : e + 1]), len(targets), n_jobs)
    for element, (own, penalty) in enumerate(found):
        weights[element, selected[element]], alpha[element] = own[0], penalty[0]
    return weights, alpha


def _classifiers(voxels, contrasts, levels, codes, varying, selected, n_levels, n_jobs):
    """Contrasts, weights and intercepts of the classes of every varying element."""
    every = np.arange(len(voxels))
    tasks, named = {}, []
    for index, element in enumerate(varying):
        own_levels, classes = levels[element], codes[:, element]
        if len(own_levels) > n_levels:
            own_levels, classes = rounded_levels(contrasts[:, element], n_levels)
        own = every if selected is None else selected[index]
        # Of few pictures several elements say the same: they are fitted once.
        key = (classes.tobytes(), own.tobytes())
        tasks.setdefault(key, (own, classes, len(own_levels)))
        named.append((own_levels, key))
    n_workers = effective_n_jobs(n_jobs)
    n_voxels = len(every) if selected is None else selected.shape[1]
    seconds = len(tasks) * seconds_of_a_classifier(len(contrasts), n_voxels)
    if n_workers == 1 or seconds < WORTH_PROCESSES:
        found = _classified(voxels, list(tasks.values()))
    else:
        # Every n-th, for large elements lie together; what a fit costs is mostly Python, which threads would wait for.
        parts = [list(tasks.values())[start :: 4 * n_workers] for start in range(4 * n_workers)]
        done = Parallel(n_jobs=n_jobs)(delayed(_classified)(voxels, part) for part in parts if part)
        found = [None] * len(tasks)
        for start, part in enumerate(done):
            found[start :: 4 * n_workers] = part
    fitted = dict(zip(tasks, found))
    return [(own_levels, *fitted[key]) for own_levels, key in named]


def _classified(voxels, tasks):
    """Weights and intercepts of some classifiers, one after another; on one thread, so that digits depend on nothing else."""
    with threadpool_limits(1):
        return [sparse_logistic_regression(voxels[own].T, classes, n) for own, classes, n in tasks]


def seconds_of_a_classifier(n_samples, n_voxels):
    """About how long a sparse logistic regression of an element takes on one core, measured on one of 2.5 GHz."""
    return SECONDS_AT_LEAST + SECONDS_PER_PRODUCT * n_samples * n_voxels**2


def _stacked(classifiers, varying, selected, mean, shape):
    """Rows of all classes of all elements; a constant element has one."""
    n_rows = np.ones(shape[0], dtype=np.int64)
    n_rows[varying] = [len(levels) for levels, _, _ in classifiers]
    element, start = np.repeat(np.arange(shape[0]), n_rows), np.cumsum(n_rows) - n_rows
    coef, intercept, level = np.zeros((len(element), shape[1])), np.zeros(len(element)), mean[element]
    for index, (own_levels, weights, intercepts) in enumerate(classifiers):
        rows = slice(start[varying[index]], start[varying[index]] + len(own_levels))
        coef[rows, slice(None) if selected is None else selected[index]] = weights
        intercept[rows], level[rows] = intercepts, own_levels
    return coef, intercept, element, level


def rounded_levels(contrasts, n_levels):
    """Contrasts of one element rounded to equal steps from the lowest to the highest.

    Parameters
    ----------
    contrasts : array of shape (n_samples,)
        Not constant.
    n_levels : int
        Two or more.

    Returns
    -------
    levels : array of shape (n_used,), float64
        The steps that occur, ascending, the lowest and the highest among them.
    classes : array of shape (n_samples,), int
    """
    steps = np.linspace(contrasts.min(), contrasts.max(), n_levels)
    nearest = np.rint((contrasts - steps[0]) / (steps[-1] - steps[0]) * (n_levels - 1)).astype(np.int64)
    used, classes = np.unique(nearest, return_inverse=True)
    return steps[used], classes


def _in_threads(work, n, n_jobs):
    # In order, whoever finishes first. NumPy and LAPACK let other threads run while they work.
    return Parallel(n_jobs=n_jobs, prefer="threads")(delayed(work)(index) for index in range(n))
