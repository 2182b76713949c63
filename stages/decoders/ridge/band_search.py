"""The search for the penalties of banded ridge, with the solvers of himalaya.

Weightings of the bands are drawn at random, and each is scored with every penalty in cross-validation (Dupre la Tour,
Eickenberg, Nunez-Elizalde & Gallant 2022, NeuroImage 264:119728).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from itertools import cycle, islice

import numpy as np
import scipy.linalg
import torch

from stages.decoders.ridge.factorisation import centre
from stages.decoders.ridge.target_blocks import COLUMNS_PER_BLOCK, plan
from stages.ground.errors import InputError

SKETCH_COLUMNS = 512
CONCENTRATIONS = (0.1, 1.0)  # of the Dirichlet distributions, in turn: few bands matter, or any mixture does
LEAST_WEIGHT = 1e-6  # of a band, where equal weights are 1: weights of 0 make himalaya's primal solver divide 0 by 0
REST = "rest"
"""Name of the band of the voxels that no other band holds."""


def band_penalties(training, band_of_voxel, targets, groups, trials, *, alphas, n_iter, folds, seed):
    """Find the penalty of each band for each target.

    Where there are more trials than voxels this is himalaya's group ridge on the voxels, otherwise its multiple kernel
    ridge on a linear kernel per band; that takes 2 n_bands n_trials^2 numbers in the precision of the patterns. Either
    factorises the training trials of every fold once per weighting, on the processor.

    Parameters
    ----------
    training : stages.decoders.ridge.factorisation.TrainingPatterns
    band_of_voxel : int array of shape (n_voxels,)
        Bands are numbered from 0 without gaps.
    targets : array of shape (n_stimuli, n_targets)
    groups : mapping of str to int
        Name and number of columns of each target, in column order.
    trials : stages.decoders.ridge.leave_one_out.Trials
    alphas : sequence of float
        Penalties to choose from, where all bands weigh the same.
    n_iter, folds, seed : int
        See `stages.decoders.ridge.banded_ridge.BandedRidgeDecoder`.

    Returns
    -------
    array of shape (n_groups, n_bands), float64

    Raises
    ------
    InputError
        himalaya is not installed.
    """
    kernel_ridge, group_ridge = solvers()
    precision, n_bands = training.patterns.dtype, int(band_of_voxel.max()) + 1
    generator, alphas = np.random.default_rng(seed), np.array(alphas)
    candidates = weightings(n_bands, n_iter, generator)
    options = {
        "n_iter": candidates,
        "alphas": alphas,
        "cv": folds_of(trials.stimuli, folds, generator),
        "n_alphas_batch": 1,
        "progress_bar": False,
    }
    sketches = _sketches(targets, groups, trials, generator)
    sizes = [sketch.shape[1] for sketch in sketches]
    options["score_func"] = _shared_loss(scipy.linalg.block_diag(*(np.full((n, n), 1 / n) for n in sizes)), precision)
    values = np.concatenate(sketches, axis=1)[trials.stimuli].astype(precision)
    bands = (training.standardised(training.patterns, voxels=band_of_voxel == band).numpy() for band in range(n_bands))
    with _numpy_backend():
        if training.dual:
            kernels = np.empty((n_bands, training.n_trials, training.n_trials), dtype=precision)
            for kernel, band in zip(kernels, bands):
                kernel[:] = band @ band.T
            log_weights = kernel_ridge(kernels, values, **options)[0]
        else:
            log_weights = group_ridge([band.astype(precision) for band in bands], values, warn=False, **options)[0]
    # himalaya gives log(weight / alpha) in the precision of the patterns; the pair that it chose has more digits.
    tried = np.log(candidates[:, None] / alphas[:, None]).reshape(-1, n_bands)
    starts = np.cumsum([0, *sizes[:-1]])
    nearest = [np.argmin(((tried - log_weights[:, start]) ** 2).sum(axis=1)) for start in starts]
    return np.exp(-tried[nearest])


def weightings(n_bands, n_iter, generator):
    """Weights of bands to try, mean 1, float64 (n_iter, n_bands); equal weights first."""
    if n_bands == 1:
        return np.ones((1, 1))
    drawn = [generator.dirichlet([c] * n_bands) for c in islice(cycle(CONCENTRATIONS), n_iter - 1)]
    weights = np.maximum(np.reshape(drawn, (-1, n_bands)) * n_bands, LEAST_WEIGHT)
    return np.concatenate([np.ones((1, n_bands)), weights / weights.mean(axis=1, keepdims=True)])


def folds_of(stimuli, n_folds, generator):
    """List of (training trials, held-out trials); stimuli are dealt at random, their trials stay together."""
    distinct, stimulus_of_trial = np.unique(stimuli, return_inverse=True)
    fold_of_stimulus = generator.permutation(np.arange(len(distinct)) % n_folds)
    fold = fold_of_stimulus[stimulus_of_trial]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)]


def solvers():
    """The random searches of himalaya, over kernels and over voxels."""
    try:
        from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
        from himalaya.ridge import solve_group_ridge_random_search
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "himalaya":
            raise
        raise InputError(
            "Banded ridge searches its penalties with himalaya, which is not installed here; "
            "install it with `pip install 'brainrecon[banded]'`."
        ) from None
    return solve_multiple_kernel_ridge_random_search, solve_group_ridge_random_search


def _sketches(targets, groups, trials, generator):
    """For each target its standardised columns, float64 (n_stimuli, n_columns), or SKETCH_COLUMNS combinations of them.

    The signs of a combination are random: its squared error has the expectation of that of the columns.
    """
    counts, sketches = torch.from_numpy(trials.counts).double(), {}
    for block in plan(groups, COLUMNS_PER_BLOCK):
        values = torch.tensor(targets[:, block.place], dtype=torch.float64)
        _, scale = centre(values, counts)
        values, n_columns = values.numpy() / scale, groups[block.name]
        if n_columns > SKETCH_COLUMNS:
            signs = 2.0 * generator.integers(2, size=(values.shape[1], SKETCH_COLUMNS)) - 1
            values = values @ signs / np.sqrt(n_columns)
            values += sketches.get(block.name, 0)
        sketches[block.name] = values
    return list(sketches.values())


def _shared_loss(share, precision):
    """Make the score himalaya maximises: minus the squared error, averaged over the columns of each target.

    himalaya chooses for every column alone or for all together. Columns that are given the mean of their target all
    choose the same, and one search serves all targets. `share` (n_columns, n_columns) takes these means.
    """
    share = share.astype(precision)

    def loss(truth, predictions):
        return -((predictions - truth) ** 2).mean(axis=-2) @ share

    return loss


@contextmanager
def _numpy_backend():
    """Set himalaya's backend, which is one for the whole process, to NumPy and then back to what it was."""
    from himalaya.backend import get_backend, set_backend

    before = get_backend()
    set_backend("numpy")
    try:
        yield
    finally:
        set_backend(before)


def band_of_each_voxel(bands, n_voxels):
    """Names of the bands, and the position among them of each voxel's, int32 (n_voxels,)."""
    if bands is None:
        return ["all"], np.zeros(n_voxels, dtype=np.int32)
    if not isinstance(bands, Mapping) or not bands:
        raise InputError(
            f"bands is {'empty' if isinstance(bands, Mapping) else f'a {type(bands).__name__}'}; "
            "expected names and masks: pass bands={'V1': mask, 'V2': mask}."
        )
    names = [str(name) for name in bands]
    band_of_voxel = np.full(n_voxels, -1, dtype=np.int32)
    for band, (name, mask) in enumerate(zip(names, map(np.asarray, bands.values()))):
        if mask.dtype != bool or mask.shape != (n_voxels,):
            raise InputError(
                f"Band {name!r} is an array of {mask.dtype} and shape {mask.shape}; expected a bool for each of the "
                f"{n_voxels:,} voxels: pass masks over the voxels of X."
            )
        if not mask.any():
            raise InputError(f"Band {name!r} holds none of the {n_voxels:,} voxels; leave it out of bands.")
        if (shared := mask & (band_of_voxel >= 0)).any():
            other = names[band_of_voxel[shared][0]]
            raise InputError(
                f"Bands {other!r} and {name!r} share {int((mask & (band_of_voxel == names.index(other))).sum()):,} voxels; "
                f"a voxel may be in one band only: take them out of one, for example {name!r}: mask & ~other."
            )
        band_of_voxel[mask] = band
    if (band_of_voxel < 0).any():
        if REST in names:
            raise InputError(
                f"Band {REST!r} is given but {int((band_of_voxel < 0).sum()):,} of {n_voxels:,} voxels are in no band, and "
                f"would form a band of that name; add them to it, or call it something else."
            )
        names.append(REST)
        band_of_voxel[band_of_voxel < 0] = len(names) - 1
    return names, band_of_voxel
