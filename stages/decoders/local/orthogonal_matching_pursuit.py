"""Orthogonal matching pursuit for many targets at once.

Step by step, a target takes up the voxel that its residual correlates with most, and is then fitted anew by least
squares on all that it has (Pati et al. 1993, in the Cholesky form of Rubinstein et al. 2008). Targets go in step. What
a step needs is the Gram matrix, of which a row is worked out when the first target takes up its voxel: neighbouring
image elements take up the same ones. Residuals are never formed.
"""

from __future__ import annotations

import numpy as np

BLOCK_BYTES = 512 * 2**20
ROUNDING = 64 * np.finfo(np.float64).eps


def orthogonal_matching_pursuit(voxels, targets, n_nonzero, selected=None):
    """Sparse weights of every target, as `sklearn.linear_model.OrthogonalMatchingPursuit` finds them.

    A target stops early where nothing that is left correlates with its residual, or where what correlates depends on
    the voxels it has. Both are relative to the lengths of the voxel and of the target; scikit-learn compares with
    numbers that depend on their units, and, with fewer samples than voxels, stops at a voxel that does not correlate
    with the target itself.

    Parameters
    ----------
    voxels : array of shape (n_voxels, n_samples), float64
        Centred responses, a row per voxel.
    targets : array of shape (n_targets, n_samples), float64
        Centred.
    n_nonzero : int
        Voxels with a weight; no more than voxels, nor than samples less one, are used.
    selected : array of shape (n_targets, n_selected), int, optional
        The voxels that each target may use; all by default.

    Returns
    -------
    chosen : array of shape (n_targets, n_steps), int
        Voxels in the order in which they came in.
    weights : array of shape (n_targets, n_steps), float64
        0 for steps that a target did not take; their `chosen` mean nothing.
    """
    n_candidates = len(voxels) if selected is None else selected.shape[1]
    n_steps = min(n_nonzero, n_candidates, voxels.shape[1] - 1)
    chosen = np.zeros((len(targets), n_steps), dtype=np.int64)
    weights = np.zeros((len(targets), n_steps))
    # Rows of the Gram matrix, as many as there are steps at most, and what each step leaves of them.
    width = max(1, BLOCK_BYTES // (8 * n_steps * (len(voxels) + n_candidates)))
    for start in range(0, len(targets), width):
        rows = slice(start, start + width)
        own = None if selected is None else selected[rows]
        chosen[rows], weights[rows] = _pursue(voxels, targets[rows], n_steps, own)
    return chosen, weights


def _pursue(voxels, targets, n_steps, selected):
    every = np.arange(len(targets))
    gram = _GramRows(voxels)
    correlations = targets @ voxels.T
    if selected is not None:
        correlations = np.take_along_axis(correlations, selected, axis=1)
    least = ROUNDING * np.linalg.norm(targets, axis=1)
    going, free = np.ones(len(targets), dtype=bool), np.ones(correlations.shape, dtype=bool)
    # Of every target, an orthonormal basis of its voxels: its products with all candidates, and with the target.
    products = np.zeros((len(targets), n_steps, correlations.shape[1]))
    projections = np.zeros((len(targets), n_steps))
    triangle = np.tile(np.eye(n_steps), (len(targets), 1, 1))
    chosen = np.zeros((len(targets), n_steps), dtype=np.int64)
    for step in range(n_steps):
        # What a target has is not looked at again: rounding may leave it a correlation.
        best = np.where(free, np.abs(correlations), -1).argmax(axis=1)
        free[every, best] = False
        chosen[:, step] = best if selected is None else selected[every, best]
        size = gram.lengths[chosen[:, step]]
        shared = products[every, :step, best]
        squared = size**2 - np.einsum("ij,ij->i", shared, shared)
        going &= (np.abs(correlations[every, best]) > least * size) & (squared > ROUNDING * size**2)
        if not going.any():
            break
        left = np.sqrt(np.where(going, squared, np.inf))
        triangle[going, :step, step] = shared[going]
        triangle[going, step, step] = left[going]
        added = products[:, step]
        gram.take(chosen[:, step], selected, out=added)
        added -= (shared[:, None] @ products[:, :step])[:, 0]
        added /= left[:, None]  # nothing, for targets that have stopped
        projections[:, step] = correlations[every, best] / left
        correlations -= projections[:, step, None] * added
    return chosen, np.linalg.solve(triangle, projections[:, :, None])[:, :, 0]


class _GramRows:
    """Rows of the Gram matrix of all voxels, kept once they are asked for."""

    def __init__(self, voxels):
        self._voxels = voxels
        self.lengths = np.linalg.norm(voxels, axis=1)
        self._place = np.full(len(voxels), -1)
        self._blocks = []
        self._n_kept = 0

    def take(self, wanted, columns, out):
        """Write row ``wanted[i]``, at ``columns[i]`` or whole, to ``out[i]``."""
        new = np.unique(wanted[self._place[wanted] < 0])
        if len(new):
            self._place[new] = self._n_kept + np.arange(len(new))
            self._n_kept += len(new)
            self._blocks.extend(self._voxels[new] @ self._voxels.T)
        for row, voxel in enumerate(wanted):
            gram_row = self._blocks[self._place[voxel]]
            out[row] = gram_row if columns is None else gram_row[columns[row]]
