"""Predictions of a fitted ridge decoder, block by block, from whatever it stores."""

from __future__ import annotations

import numpy as np
import torch

from stages.decoders.ridge.factorisation import TrainingPatterns
from stages.decoders.ridge.leave_one_out import Trials
from stages.decoders.ridge.ridge_solver import rescaled, rescaling
from stages.decoders.ridge.ridge_storage import factor_of
from stages.decoders.ridge.target_blocks import plan, read_ahead, width_for
from stages.ground.devices import float64_device
from stages.ground.errors import InputError


def predicted_blocks(decoder, patterns, start=0):
    """Predict in column order.

    A block is a whole target if weights or targets are stored, and some thousand columns if targets are read again.

    Parameters
    ----------
    decoder : stages.decoders.ridge.ridge.RidgeDecoder
    patterns : array of shape (n_stimuli, n_voxels), float32 or float64
    start : int
        First block to predict.

    Yields
    ------
    block : stages.decoders.ridge.target_blocks.TargetBlock
    values : array of shape (n_stimuli, n_columns)
        In the dtype of the patterns.
    """
    tensors, device = decoder.tensors_, float64_device(decoder.device)
    dtype = torch.from_numpy(np.empty(0, patterns.dtype)).dtype
    if decoder.stored_ == "weights":
        training = TrainingPatterns(patterns, device, tensors["voxel_mean_"], tensors["voxel_scale_"])
        standardised, centred = training.standardised(patterns).to(dtype), tensors["coef_"]
        rows = {float(alpha): standardised for alpha in np.unique(tensors["column_alpha_"])}
    else:
        rows, centred = _smoothers(decoder, patterns, dtype), tensors.get("targets_")
    if centred is None:
        planned = _blocks_to_read(decoder, len(patterns))[start:]
        values = read_ahead(_targets_again(decoder), planned, dtype, device)
    else:
        planned = plan(decoder.groups_, max(decoder.groups_.values()))[start:]
        values = ((block, torch.from_numpy(centred[:, block.place]).to(device, dtype)) for block in planned)
    for block, columns in values:
        if centred is None:
            columns.sub_(torch.from_numpy(tensors["target_mean_"][block.place]).to(columns))
        alphas = tensors["column_alpha_"][block.place]
        product = torch.empty(len(patterns), columns.shape[1], dtype=dtype, device=columns.device)
        for alpha in np.unique(alphas):
            own = np.flatnonzero(alphas == alpha)
            if len(own) == len(alphas):
                torch.mm(rows[alpha], columns, out=product)
            else:
                product[:, own] = rows[alpha] @ columns[:, own]
        yield block, _rescaled(decoder, product.cpu().numpy(), block).astype(patterns.dtype, copy=False)


def _smoothers(decoder, patterns, dtype):
    """The smoother of new patterns for each penalty in use, dict of float to tensor (n_stimuli, n_training)."""
    tensors = decoder.tensors_
    training = TrainingPatterns(
        tensors["training_patterns_"], decoder.device, tensors["voxel_mean_"], tensors["voxel_scale_"]
    )
    factor, cross = factor_of(tensors, decoder.device), training.cross(patterns)
    trials = Trials(decoder._n_stimuli, tensors["trial_stimuli_"])
    return {
        alpha: trials.summed(training.smoother(factor, cross, alpha), dim=1).to(dtype)
        for alpha in map(float, np.unique(tensors["column_alpha_"]))
    }


def _blocks_to_read(decoder, n_new):
    itemsize = np.dtype(decoder.tensors_["training_patterns_"].dtype).itemsize
    left = np.inf if decoder.memory is None else decoder.memory - 4e8
    return plan(decoder.groups_, width_for(max(left, 0), decoder._n_stimuli, n_new, itemsize))


def _targets_again(decoder):
    """The training targets from where they came, as they were when the decoder was fitted."""
    targets = getattr(decoder, "_targets", None)
    targets = targets() if callable(targets) else targets
    if targets is None:
        raise InputError(
            "This decoder reads its training targets from the feature store and was not told where that is; "
            "pass features=FOLDER, or fit with keep='targets' or keep='weights'."
        )
    for name, n_columns in decoder.groups_.items():
        shape = targets[name].shape if name in targets else None
        if shape != (decoder._n_stimuli, n_columns):
            raise InputError(
                f"Target {name!r} in the feature store has shape {shape} but the decoder was fitted on "
                f"{(decoder._n_stimuli, n_columns)}; fit again, or name the store it was fitted from."
            )
    return targets


def _rescaled(decoder, centred, block):
    tensors, place = decoder.tensors_, block.place
    statistics = ("target_mean_", "target_scale_", "predicted_mean_", "predicted_scale_")
    statistics = (tensors[name][place] for name in statistics)
    return rescaled(centred, rescaling(decoder.rescale, block.name), *statistics, decoder._n_trials)
