"""Alignments of the package fmralign (Bazeille et al. 2021), an optional one, as maps of the same kind.

Its optimal transport is what nothing here does. Its Procrustes and ridge are beside those of `stages.adapters.procrustes` and
`stages.adapters.ridge_alignment` for comparison: it keeps a weight from every voxel to every other, its rotation is that of the
stimuli's span, without the published forms, and its ridge chooses a penalty by explained variance, not by squared error as
the published scripts did.
"""

from __future__ import annotations

import numpy as np

from stages.adapters.affine_map import AffineMap
from stages.adapters.alignment_pairs import alignment_pairs
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError

METHODS = ("optimal_transport", "procrustes", "ridge")


def fit_fmralign(source, target, method="optimal_transport", **options):
    """Fit a method of fmralign.

    >>> random = np.random.default_rng(0)
    >>> source = random.standard_normal((30, 4))
    >>> fit_fmralign(source, 2 * source, "procrustes")(source).shape  # doctest: +SKIP
    (30, 4)

    Parameters
    ----------
    source : array of shape (n_stimuli, n_source_voxels)
    target : array of shape (n_stimuli, n_target_voxels)
        Responses to the same stimuli.
    method : {"optimal_transport", "procrustes", "ridge"}
    **options
        What its class is told besides: ``reg=0.1``.

    Returns
    -------
    AffineMap
        float64.

    Raises
    ------
    InputError
        fmralign is not installed.
    """
    source, target = alignment_pairs(source, target)
    check("method", method, OneOf(*METHODS))
    methods = _methods()
    if method == "optimal_transport":
        fitted = methods.OptimalTransport(**options).fit(source, target)
        # The plan's columns sum to 1 / n: a voxel of the target is an average of the source's.
        return AffineMap(np.asarray(fitted.R, dtype=np.float64) * target.shape[1])
    if method == "procrustes":
        fitted = methods.Procrustes(**options).fit(source, target)
        return AffineMap(fitted.R * fitted.scale)
    fitted = methods.RidgeAlignment(**options).fit(source, target).R
    return AffineMap(fitted.coef_.T, target_mean=np.atleast_1d(fitted.intercept_))


def _methods():
    try:
        from fmralign import methods
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "fmralign":
            raise
        raise InputError(
            "Alignment by optimal transport is fmralign's, which is not installed here; install it with "
            "`pip install 'brainrecon[alignment]'`, or align by ridge."
        ) from None
    return methods
