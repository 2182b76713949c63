"""Standardised training patterns, their Gram matrix, and what solves ridge for every target at once.

Ridge on n trials and p voxels is solved through the smaller of two Gram matrices: XX' (n x n, dual) or X'X (p x p,
primal). It is accumulated in float64 over blocks, whatever came in: a float32 Gram matrix loses the small
eigenvalues of duplicated voxels. Nothing here knows the targets; `TrainingPatterns.smoother` gives the matrix that
turns the training targets into predictions, and one such matrix serves every target with the same penalty.
"""

from __future__ import annotations

import numpy as np
import torch

from stages.ground.checks import is_constant
from stages.ground.devices import float64_device

VOXELS_PER_BLOCK = 2048
TRIALS_PER_BLOCK = 2048
MANY_ROWS = 2048
ROWS_PER_SUM = 64
ROWS_AT_ONCE = 512


def centre(values, counts=None):
    """Take the mean of each column off, in place.

    Parameters
    ----------
    values : tensor of shape (n_rows, n_columns), floating
        Changed to values minus their mean, up to rounding.
    counts : tensor of shape (n_rows,), same dtype, optional
        How often each row counts.

    Returns
    -------
    mean, scale : array of shape (n_columns,), float64
        Mean and standard deviation with one degree of freedom taken off. The scale is 1 where nothing varies, and where
        what varies is the rounding of a constant.
    """
    counts = torch.ones(len(values), dtype=values.dtype, device=values.device) if counts is None else counts
    total = float(counts.sum())
    # A strongly shrunk prediction varies by less than what a float32 sum of its targets loses: float64 where that is
    # cheap, and sums of few rows, added up in float64, where there are so many that they even out.
    whole = len(values) // ROWS_PER_SUM * ROWS_PER_SUM if len(values) > MANY_ROWS else 0
    parts = torch.bmm(counts[:whole].view(-1, 1, ROWS_PER_SUM), values[:whole].view(-1, ROWS_PER_SUM, values.shape[1]))
    mean = (parts.double().sum(dim=(0, 1)) + counts[whole:].double() @ values[whole:].double()) / total
    rounded = mean.to(values.dtype)
    # A few rows at a time: their squares stay in the cache.
    square = sum(
        (counts[rows] @ values[rows].sub_(rounded).square()).double() for rows in blocks(len(values), ROWS_AT_ONCE)
    )
    variance = (square - total * (mean - rounded) ** 2) / max(total - 1, 1)
    mean = mean.cpu().numpy()
    scale = variance.clamp_(min=0).sqrt_().cpu().numpy()
    return mean, np.where(is_constant(mean, scale), 1.0, scale)


class TrainingPatterns:
    """Patterns of the training trials, standardised voxel by voxel.

    Parameters
    ----------
    patterns : array of shape (n_trials, n_voxels), float32 or float64
        Sliced, never copied whole.
    device : str
        Torch device of the Gram matrix and of all products; the CPU where it has no numbers of 64 bits.
    mean, scale : array of shape (n_voxels,), float64, optional
        As an earlier fit found them; a scale times the root of a voxel's penalty leaves a penalty of 1 for all. Taken from
        the patterns where they are not given.
    """

    def __init__(self, patterns, device="cpu", mean=None, scale=None):
        self.patterns, self.device = patterns, float64_device(device)
        self.n_trials, self.n_voxels = patterns.shape
        self._known = None if mean is None else (mean, scale)

    @property
    def mean(self):
        """Mean of each voxel, float64."""
        return self._mean_and_scale()[0]

    @property
    def scale(self):
        """Standard deviation of each voxel, float64; 1 for voxels that do not vary."""
        return self._mean_and_scale()[1]

    @property
    def dual(self):
        """Whether the n x n Gram matrix is the smaller one."""
        return self.n_trials <= self.n_voxels

    def _mean_and_scale(self):
        if self._known is None:
            parts = [
                centre(self._double(self.patterns[:, voxels])) for voxels in blocks(self.n_voxels, VOXELS_PER_BLOCK)
            ]
            self._known = tuple(np.concatenate(part) for part in zip(*parts))
        return self._known

    def standardised(self, patterns, rows=slice(None), voxels=slice(None)):
        """Rows and voxels of patterns in the training patterns' units, float64 on the device."""
        block = self._double(patterns[rows, voxels])
        mean = torch.from_numpy(self.mean[voxels]).to(self.device)
        scale = torch.from_numpy(self.scale[voxels]).to(self.device)
        return block.sub_(mean).div_(scale)

    def _double(self, block):
        """A copy in float64 on the device: what follows changes it in place."""
        block = np.ascontiguousarray(block)
        # torch takes no array that must not be written to.
        block = block if block.flags.writeable else block.copy()
        return torch.from_numpy(block).to(self.device, torch.float64, copy=True)

    def gram(self):
        """XX' or X'X, whichever is smaller, float64."""
        if self.dual:
            gram = torch.zeros(self.n_trials, self.n_trials, dtype=torch.float64, device=self.device)
            parts = []
            for voxels in blocks(self.n_voxels, VOXELS_PER_BLOCK):
                if self._known:
                    block = self.standardised(self.patterns, voxels=voxels)
                else:
                    # Mean and scale on the way: they need the same pass over the patterns.
                    block = self._double(self.patterns[:, voxels])
                    parts.append(centre(block))
                    block.div_(torch.from_numpy(parts[-1][1]).to(self.device))
                _add_product_with_itself(gram, block)
            self._known = self._known or tuple(np.concatenate(part) for part in zip(*parts))
        else:
            gram = torch.zeros(self.n_voxels, self.n_voxels, dtype=torch.float64, device=self.device)
            for rows in blocks(self.n_trials, TRIALS_PER_BLOCK):
                _add_product_with_itself(gram, self.standardised(self.patterns, rows).T)
        return _mirrored(gram)

    def cross(self, patterns):
        """What the factor is applied to: Xn X' (n_new, n_trials) in the dual, Xn (n_new, n_voxels) in the primal."""
        if not self.dual:
            return self.standardised(patterns)
        cross = torch.zeros(len(patterns), self.n_trials, dtype=torch.float64, device=self.device)
        for voxels in blocks(self.n_voxels, VOXELS_PER_BLOCK):
            cross.addmm_(self.standardised(patterns, voxels=voxels), self.standardised(self.patterns, voxels=voxels).T)
        return cross

    def smoother(self, factor, cross, alpha):
        """The matrix that turns centred training targets into centred predictions of new patterns.

        Parameters
        ----------
        factor : Eigendecomposition or Cholesky
            Of `gram()`.
        cross : tensor of shape (n_new, n_trials or n_voxels), float64
            From `cross`, or rows of the Gram matrix itself for the training trials.
        alpha : float

        Returns
        -------
        tensor of shape (n_new, n_trials), float64
        """
        solved = factor.solve(cross, alpha)
        if self.dual:
            return solved
        smoother = torch.empty(len(cross), self.n_trials, dtype=torch.float64, device=self.device)
        for rows in blocks(self.n_trials, TRIALS_PER_BLOCK):
            smoother[:, rows] = solved @ self.standardised(self.patterns, rows).T
        return smoother

    def voxel_smoother(self, factor, alpha):
        """The matrix (n_voxels, n_trials), float64, that turns centred training targets into weights of voxels."""
        if not self.dual:
            return self.smoother(factor, torch.eye(self.n_voxels, dtype=torch.float64, device=self.device), alpha)
        return self.smoother(factor, self.standardised(self.patterns).T, alpha)

    def trial_smoother(self, factor, alpha):
        """The same for the weights of trials, (n_trials, n_trials); in the dual only."""
        return factor.solve(torch.eye(self.n_trials, dtype=torch.float64, device=self.device), alpha)

    def left(self, factor, dtype):
        """Left singular vectors of the standardised patterns, shape (n_trials, rank).

        `factor` is an Eigendecomposition. The columns are orthonormal and orthogonal to the constant vector.
        """
        if self.dual:
            return factor.vectors.to(dtype)
        left = torch.empty(self.n_trials, len(factor.values), dtype=dtype, device=self.device)
        for rows in blocks(self.n_trials, TRIALS_PER_BLOCK):
            left[rows] = (self.standardised(self.patterns, rows) @ factor.vectors / factor.values.sqrt()).to(dtype)
        return left


class Eigendecomposition:
    """Eigenvectors and eigenvalues of a Gram matrix: one factor for every penalty.

    Attributes
    ----------
    values : tensor of shape (rank,), float64
        The eigenvalues that are not rounding errors.
    vectors : tensor of shape (n, rank), float64
    """

    def __init__(self, values, vectors):
        self.values, self.vectors = values, vectors

    @classmethod
    def of(cls, gram):
        values, vectors = torch.linalg.eigh(gram)
        first = int(
            torch.searchsorted(values, len(gram) * np.finfo(np.float64).eps * values[-1].clamp(min=0), right=True)
        )
        return cls(values[first:], vectors[:, first:])

    @property
    def shapes(self):
        """Shapes of the two arrays that `move_to` fills."""
        return tuple(self.vectors.shape), tuple(self.values.shape)

    def move_to(self, vectors, values):
        """Write eigenvectors and eigenvalues into float64 arrays."""
        vectors[...], values[...] = self.vectors.cpu().numpy(), self.values.cpu().numpy()

    def solve(self, rows, alpha):
        """`rows` (n_rows, n) times the inverse of the Gram matrix plus `alpha`, float64."""
        return ((rows @ self.vectors) / (self.values + alpha)) @ self.vectors.T


class Cholesky:
    """Lower triangular factors of a Gram matrix plus each of a few penalties: less work than an eigendecomposition.

    Attributes
    ----------
    factors : dict of float to tensor of shape (n, n), float64
    """

    def __init__(self, factors):
        self.factors = factors

    @classmethod
    def of(cls, gram, alphas):
        factors = {}
        for alpha in sorted(set(alphas)):
            shifted = gram.clone()
            shifted.diagonal().add_(alpha)
            factors[alpha] = torch.linalg.cholesky(shifted, out=shifted)
        return cls(factors)

    @property
    def shapes(self):
        """Shapes of the two arrays that `move_to` fills."""
        n = len(next(iter(self.factors.values())))
        return (len(self.factors), n, n), (len(self.factors),)

    def move_to(self, vectors, values):
        """Write factors and penalties into float64 arrays, letting go of each factor: they are large."""
        for position, alpha in enumerate(sorted(self.factors)):
            values[position], vectors[position] = alpha, self.factors.pop(alpha).cpu().numpy()

    def solve(self, rows, alpha):
        """`rows` (n_rows, n) times the inverse of the Gram matrix plus `alpha`, float64."""
        return torch.cholesky_solve(rows.T, self.factors[alpha]).T


def blocks(n, size):
    """Slices of `size` that cover range(n)."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _add_product_with_itself(total, factor, strips=8):
    """Add factor @ factor.T to the lower triangle of `total`, strip by strip: little more than half the work."""
    step = max(-(-len(total) // strips), 256)
    for rows in blocks(len(total), step):
        total[rows, : rows.stop].addmm_(factor[rows], factor[: rows.stop].T)


def _mirrored(lower):
    """Copy the lower triangle of a matrix onto its upper one, in place."""
    for rows in blocks(len(lower), TRIALS_PER_BLOCK):
        lower[: rows.start, rows] = lower[rows, : rows.start].T
        square = lower[rows, rows]
        square.copy_(square.tril() + square.tril(-1).T)
    return lower
