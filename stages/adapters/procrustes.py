"""Alignment by a rotation and one scale: orthogonal Procrustes, the step of hyperalignment for two subjects.

    minimise over c and R   ||B - c A R||^2,   R orthogonal:
    A^T B = U S V^T,   R = U V^T,   c = tr(B^T A R) / tr(A^T A)

as Ferrante et al. (2024) state it, without centring. From fewer stimuli than voxels R is known on the span of the stimuli
alone; what it does elsewhere is up to the routine that computes the decomposition. Two slips of their scripts are forms of their
own: NumPy returns V^T where the code expects V, so that "hyper" turns by U V; and "randomhyper" returns U and V in each other's
place, so that it turns by V U^T, the rotation from the target to the source.
"""

from __future__ import annotations

import numpy as np

from stages.adapters.affine_map import AffineMap
from stages.adapters.alignment_pairs import alignment_pairs, one_grid
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError

ROTATIONS = ("span", "whole", "U V", "transposed")
# Width of the sketch in the randomised form, as published.
SKETCH = 4096


def fit_procrustes(source, target, rotation="span", rank=None, seed=0):
    """Fit the rotation and the scale that bring a source to a target.

    >>> random = np.random.default_rng(0)
    >>> source = random.standard_normal((30, 4))
    >>> turn, _ = np.linalg.qr(random.standard_normal((4, 4)))
    >>> fitted, scale = fit_procrustes(source, 0.5 * source @ turn)
    >>> round(scale, 6), bool(np.allclose(fitted.left @ fitted.right, 0.5 * turn))
    (0.5, True)

    Parameters
    ----------
    source : array of shape (n_stimuli, n_source_voxels)
    target : array of shape (n_stimuli, n_target_voxels)
        Responses to the same stimuli.
    rotation : {"span", "whole", "U V", "transposed"}
        "span" turns what the stimuli span and leaves out the rest. "whole" is an orthogonal matrix of all voxels, arbitrary
        outside the span. "U V" and "transposed" are the published forms "hyper" and "randomhyper", with their slips. All
        but the first need both subjects on one grid.
    rank : int, optional
        Of "span": only so many leading directions of A^T B. Of "transposed": width of the sketch, 4,096 as published.
    seed : int
        Of the sketch.

    Returns
    -------
    map : AffineMap
        float64; the scale is in it.
    scale : float
        c.
    """
    source, target = alignment_pairs(source, target)
    check("rotation", rotation, OneOf(*ROTATIONS))
    check("rank", rank, Number(1, whole=True, optional=True))
    if rank is not None and rotation not in ("span", "transposed"):
        raise InputError(
            f"rank is {rank} but the rotation {rotation!r} takes all directions; leave rank out, or take 'span'."
        )
    for values, whose in ((source, "source"), (target, "target")):
        if not values.any():
            raise InputError(
                f"The {whose}'s responses are all 0, which no rotation can align; look at what produced them."
            )
    if rotation != "span":
        one_grid(source.shape[1], target.shape[1], f"Procrustes ({rotation!r})")
    left, right = _FORMS[rotation](source, target, rank, seed)
    scale = float(np.sum((source @ left) @ right * target) / np.sum(source**2))
    return AffineMap(scale * left, right), scale


def _span(source, target, rank, seed):
    """U and V^T of the directions that the data determine, by the decompositions of both, which are small."""
    (own, own_values, own_turn), (other, other_values, other_turn) = (
        np.linalg.svd(values, full_matrices=False) for values in (source, target)
    )
    left, values, right = np.linalg.svd((own_values[:, None] * own.T) @ (other * other_values), full_matrices=False)
    known = int(np.sum(values > max(source.shape + target.shape) * np.finfo(np.float64).eps * values[0]))
    if rank is not None and rank > known:
        raise InputError(f"rank is {rank:,} but the stimuli determine {known:,} directions; set it to that at most.")
    kept = slice(rank or known)
    return own_turn.T @ left[:, kept], right[kept] @ other_turn


def _whole(source, target, rank, seed):
    left, _, right = np.linalg.svd(source.T @ target)
    return left, right


def _published_full(source, target, rank, seed):
    left, _, right = np.linalg.svd(source.T @ target)
    return left, right.T


def _published_randomised(source, target, rank, seed):
    width = min(rank or SKETCH, source.shape[1])
    sketch = np.random.default_rng(seed).standard_normal((target.shape[1], width))
    basis, _ = np.linalg.qr(source.T @ (target @ sketch))
    left, _, right = np.linalg.svd((source @ basis).T @ target, full_matrices=False)
    return right.T, (basis @ left).T


_FORMS = {"span": _span, "whole": _whole, "U V": _published_full, "transposed": _published_randomised}
