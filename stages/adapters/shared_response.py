"""Alignment through a response that two subjects share: the deterministic shared response model of two.

    minimise over W_1, W_2, S   ||A - S W_1^T||^2 + ||B - S W_2^T||^2,   W_i^T W_i = 1

(Chen et al. 2015). The shared response S is the mean of A W_1 and B W_2; each W_i follows from A^T S = U S V^T as U V^T. A source
goes to the target by W_1 W_2^T.
"""

from __future__ import annotations

import numpy as np

from stages.adapters.affine_map import AffineMap
from stages.adapters.alignment_pairs import alignment_pairs
from stages.ground.checks import Number, check
from stages.ground.errors import InputError


def fit_shared_response(source, target, n_components=50, n_iterations=20):
    """Fit the map from a source to a target through what they share.

    >>> random = np.random.default_rng(0)
    >>> shared = random.standard_normal((40, 3))
    >>> bases = [np.linalg.qr(random.standard_normal((n_voxels, 3)))[0] for n_voxels in (9, 7)]
    >>> source, target = (shared @ basis.T for basis in bases)
    >>> bool(np.allclose(fit_shared_response(source, target, n_components=3)(source), target))
    True

    Parameters
    ----------
    source : array of shape (n_stimuli, n_source_voxels)
    target : array of shape (n_stimuli, n_target_voxels)
        Responses to the same stimuli; the mean of each voxel is taken off, and the target's put back.
    n_components : int
        Values of the shared response; below the number of stimuli, and no more than either has voxels.
    n_iterations : int

    Returns
    -------
    AffineMap
        float64, of rank `n_components`.
    """
    source, target = alignment_pairs(source, target)
    check("n_components", n_components, Number(1, whole=True))
    check("n_iterations", n_iterations, Number(1, whole=True))
    if n_components > (most := min(len(source) - 1, source.shape[1], target.shape[1])):
        raise InputError(
            f"n_components is {n_components:,} but {len(source):,} stimuli and {source.shape[1]:,} and {target.shape[1]:,} "
            f"voxels share {most:,} at most; set n_components to that or less."
        )
    means = source.mean(axis=0), target.mean(axis=0)
    centred = source - means[0], target - means[1]
    # What both have most in common is where the iterations begin: no lot, and few are needed.
    shared = np.linalg.svd(np.hstack([values / np.linalg.norm(values) for values in centred]), full_matrices=False)
    response = shared[0][:, :n_components] * shared[1][:n_components]
    for _ in range(n_iterations):
        bases = [basis_of(values, response) for values in centred]
        response = np.mean([values @ basis for values, basis in zip(centred, bases)], axis=0)
    return AffineMap(bases[0], bases[1].T, *means)


def basis_of(responses, shared):
    """The orthonormal basis W, (n_voxels, n_components), under which responses are nearest to a shared response.

    Parameters
    ----------
    responses : array of shape (n_stimuli, n_voxels)
    shared : array of shape (n_stimuli, n_components)
    """
    left, _, right = np.linalg.svd(responses.T @ shared, full_matrices=False)
    return left @ right
