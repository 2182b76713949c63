"""Sparse linear regression of one unit: automatic relevance determination prunes inputs (KamitaniLab's SLR and slir, MIT).

For inputs X (n_samples, n_inputs), a column of ones among them, and a unit y, weights w_i have the prior N(0, s A_i) and the
noise the variance s. In turn, until nothing changes:

    w  = (X'X + diag(1/A))^-1 X'y           G_i = 1 - [(X'X + diag(1/A))^-1]_ii / A_i
    s  = (y'y - w'X'y) / n_samples          A_i <- sqrt(A_i w_i^2 / (s G_i))

and inputs whose weight has all but vanished are dropped. At a fixed point A_i s G_i = w_i^2 (MacKay 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

from stages.ground.threads import in_order

INITIAL = ("variance", "mean square")
PRUNE = ("weights", "variances")
STOP = ("previous iteration", "last pruning")
# Numbers of both published programs.
LEAST = 1e-15
NEGLIGIBLE = 1e-10
FIRST_STOP = 100


@dataclass(frozen=True)
class SparseFit:
    """A fitted unit.

    Attributes
    ----------
    weights : float64 array of shape (n_inputs,)
        0 for inputs that were dropped; all 0 if the fit failed.
    kept : int array
        Inputs that were not dropped.
    variances : float64 array of shape (n_kept,)
        A, of which `weights` were found.
    determined : float64 array of shape (n_kept,)
        G, at least 1e-15: how far the samples determine each weight, 0 to 1.
    noise : float
        s.
    n_iterations : int
    """

    weights: np.ndarray
    kept: np.ndarray
    variances: np.ndarray
    determined: np.ndarray
    noise: float
    n_iterations: int


def fit_sparse(
    inputs, unit, gram=None, *, iterations=2000, initial="variance", prune="weights", stop="previous iteration"
):
    """Fit one unit.

    >>> random = np.random.default_rng(0)
    >>> inputs = random.normal(size=(50, 8))
    >>> inputs[:, -1] = 1
    >>> found = fit_sparse(inputs, inputs[:, 2] - inputs[:, 5] + 0.1 * random.normal(size=50))
    >>> found.kept.tolist(), found.weights[[2, 5]].round(1).tolist()
    ([2, 5, 6, 7], [1.0, -1.0])

    Defaults are the MATLAB program's, which the paper was made with; slir, in Python, has initial="mean square",
    prune="variances", stop="last pruning" and 200 iterations.

    Parameters
    ----------
    inputs : float64 array of shape (n_samples, n_inputs)
    unit : float64 array of shape (n_samples,)
    gram : float64 array of shape (n_inputs, n_inputs), optional
        Products of the inputs, if they are known.
    iterations : int
        At most so many; the paper's 2,000, or the demonstration's 200.
    initial : {"variance", "mean square"}
        The first A is 1 over the mean, over inputs, of their variance (one degree of freedom taken off), or of their square; the
        first s is that of the unit.
    prune : {"weights", "variances"}
        Inputs are dropped whose w² or A is 1e-10 of the largest or less.
    stop : {"previous iteration", "last pruning"}
        End after more than 100 iterations once no A changes by 1e-10, if as many inputs are there as an iteration ago; or as
        there were before the last pruning, so that after one nothing ends it early: slir's slip.

    Returns
    -------
    SparseFit
    """
    n_samples, n_inputs = inputs.shape
    squares = float(unit @ unit)
    if initial == "variance":
        first, first_noise = inputs.var(axis=0, ddof=1).mean(), unit.var(ddof=1)
    else:
        first, first_noise = np.square(inputs).mean(), squares / n_samples
    kept, n_compared = np.arange(n_inputs), n_inputs
    failed = SparseFit(np.zeros(n_inputs), kept[:0], np.zeros(0), np.zeros(0), float(first_noise), 0)
    if not (first > 0 and first_noise > 0):
        return failed
    variances = np.full(n_inputs, 1 / first)
    products = inputs.T @ unit
    if gram is None and n_samples >= n_inputs:
        gram = inputs.T @ inputs
    for iteration in range(1, iterations + 1):
        dual = n_samples < len(kept)
        found = by_samples(inputs, unit, variances) if dual else by_inputs(gram, products, variances)
        if found is None:
            return failed
        weights, determined = found
        noise = (squares - weights @ products) / n_samples
        if noise / first_noise <= LEAST:
            noise = np.square(unit - inputs @ weights).sum() + np.sum(weights**2 / variances)
            noise = max(noise / n_samples, LEAST)
        used = variances
        variances = np.sqrt(used * weights**2 / (noise * determined))
        ranked = weights**2 if prune == "weights" else variances
        largest = ranked.max()
        if not (np.isfinite(variances).all() and largest > 0):
            return failed
        stays, before = ranked / largest > NEGLIGIBLE, len(kept)
        if not stays.all():
            kept, weights, used, determined = kept[stays], weights[stays], used[stays], determined[stays]
            variances, inputs, products = variances[stays], inputs[:, stays], products[stays]
            if gram is not None:
                gram = gram[np.ix_(stays, stays)]
            elif n_samples >= len(kept):
                gram = inputs.T @ inputs
        if stop == "previous iteration" or len(kept) < before:
            n_compared = before
        settled = iteration > FIRST_STOP and len(kept) == n_compared
        if settled and np.abs(variances - used).max() < NEGLIGIBLE:
            break
    whole = np.zeros(n_inputs)
    whole[kept] = weights
    return SparseFit(whole, kept, used, determined, float(noise), iteration)


def by_inputs(gram, products, variances):
    """Weights and G through the matrix of the inputs (n_inputs, n_inputs); None if it cannot be factored.

    Parameters
    ----------
    gram : array of shape (n_inputs, n_inputs)
        X'X.
    products : array of shape (n_inputs,)
        X'y.
    variances : array of shape (n_inputs,)
        A.
    """
    with np.errstate(divide="ignore", over="ignore"):
        matrix = gram + np.diag(1 / variances)
    factor, wrong = lapack.dpotrf(matrix, lower=1)
    if wrong:
        return None
    weights = lapack.dpotrs(factor, products, lower=1)[0]
    inverse = lapack.dpotri(factor, lower=1)[0]
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    return weights, np.maximum(np.einsum("ij,ij->i", gram, inverse), LEAST)


def by_samples(inputs, unit, variances):
    """The same through the matrix of the samples (n_samples, n_samples), by Woodbury's identity.

    Parameters
    ----------
    inputs : array of shape (n_samples, n_inputs)
    unit : array of shape (n_samples,)
    variances : array of shape (n_inputs,)
    """
    scaled = inputs * variances
    matrix = scaled @ inputs.T
    matrix[np.diag_indices(len(inputs))] += 1
    factor, wrong = lapack.dpotrf(matrix, lower=1)
    if wrong:
        return None
    weights = lapack.dpotrs(factor, unit, lower=1)[0] @ scaled
    determined = variances * np.einsum("ij,ij->j", inputs, lapack.dpotrs(factor, inputs, lower=1)[0])
    return weights, np.maximum(determined, LEAST)


class SparseRegressions:
    """Sparse linear regression of many units, each on inputs of its own choice and a column of ones.

    It takes and gives what `stages.decoders.unitwise.selected_ridge.SelectedRidge` does; each unit's fit is `fit_sparse`.

    Parameters
    ----------
    inputs : float64 tensor of shape (n_samples, n_inputs + 1)
        The last column is of ones.
    iterations, initial, prune, stop
        As `fit_sparse` takes them.
    """

    def __init__(self, inputs, **settings):
        self._inputs, self._settings, self._device = inputs.cpu().numpy(), settings, inputs.device
        self._gram = self._inputs.T @ self._inputs

    def solve(self, products, chosen, samples):
        """Weights (n_units, n_inputs + 1), float64; 0 where an input is not chosen, or was dropped."""
        values, chosen = samples().cpu().numpy(), chosen.cpu().numpy()

        def weights(unit):
            places = np.append(np.flatnonzero(chosen[unit]), chosen.shape[1])
            gram = self._gram[np.ix_(places, places)] if len(places) <= len(values) else None
            found = np.zeros(chosen.shape[1] + 1)
            found[places] = fit_sparse(self._inputs[:, places], values[:, unit], gram, **self._settings).weights
            return found

        with threadpool_limits(1):
            return torch.from_numpy(np.stack(list(in_order(weights, range(len(chosen)))))).to(self._device)

    def weights(self, solved):
        """The weights themselves."""
        return solved

    def n_kept(self, solved):
        """Inputs that have a weight, int array (n_units,); the column of ones not counted."""
        return (solved[:, :-1] != 0).sum(dim=1).cpu().numpy()

    def reader(self, inputs):
        """What `predict` takes for new inputs (n_new, n_inputs + 1)."""
        return inputs.T

    def predict(self, solved, reader):
        """Predictions (n_units, n_new)."""
        return solved @ reader
