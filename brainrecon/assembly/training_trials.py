"""Which trials a method learns from: averages over repeats, or every trial by itself.

An average has less noise than a trial, and there are fewer of them. Of many stimuli averages are enough. Of few the trials are
most of what there is: with them voxels are chosen and penalties are found on ten times as many samples.
"""

from __future__ import annotations

import numpy as np

from stages.ground.errors import InputError

AUTO, AVERAGED, SINGLE = "auto", "averaged", "single"
TRIALS = (AUTO, AVERAGED, SINGLE)
FEW_STIMULI = 100


def check_trials(trials):
    """Raise an InputError for trials that are none of `TRIALS`."""
    if trials not in TRIALS:
        raise InputError(f"trials is {trials!r}; expected {', '.join(TRIALS)}: pass --set trials=single.")


def settled_trials(trials, train):
    """Averages or single trials, if that is left to the data: single ones of fewer than 100 stimuli that are repeated.

    >>> from brainrecon.datasets.split import Split
    >>> settled_trials("auto", Split(np.zeros((6, 4), np.float32), ["a", "b", "c", "a", "b", "c"]))
    'single'

    Parameters
    ----------
    trials : str
        One of `TRIALS`.
    train : brainrecon.datasets.split.Split

    Returns
    -------
    trials : {"averaged", "single"}
    """
    if trials != AUTO:
        return trials
    return SINGLE if train.n_stimuli < FEW_STIMULI and train.n_trials > train.n_stimuli else AVERAGED


def learned_from(trials, train):
    """What is learned from.

    Parameters
    ----------
    trials : str
        One of `TRIALS`.
    train : brainrecon.datasets.split.Split

    Returns
    -------
    responses : array of shape (n_samples, n_voxels), float32
    stimuli : array of int, shape (n_samples,)
        Row of each sample's stimulus among ``train.stimulus_ids``.
    """
    if settled_trials(trials, train) == AVERAGED:
        return train.patterns, np.arange(train.n_stimuli)
    return np.asarray(train.betas[:], dtype=np.float32), train.positions
