"""How well a perfect prediction of a stimulus's response pattern could correlate with the measured one.

Brain correlation compares a predicted pattern with the measured average of a few noisy trials. Even the noise-free
pattern itself correlates with that average by less than 1: by the root of the average's reliability across voxels. Repeats
tell how reliable it is.

The ceiling is that of the measurement. An encoding model stays below it by its own errors; what it predicts from the very
picture that was shown tells how far.
"""

from itertools import combinations
from math import comb

import numpy as np

from brainrecon.datasets.subject import ROWS_PER_BLOCK, check_finite
from stages.ground.errors import InputError

# All splits up to nine repeats; a random choice of this many beyond.
_MOST_SPLITS = 200


def pattern_ceiling(trials, trial_stimulus_ids, stimulus_ids, mean, std, seed=0):
    """Highest correlation across voxels that a prediction of each stimulus's pattern can expect.

    Trials are z-scored with training statistics, voxel by voxel. The repeats of a stimulus are split into halves (one larger
    by one if their number is odd) in every possible way, at most 200 at random; each half is averaged, and the
    correlations r between both halves, across voxels, are averaged over splits. With halves of a and b trials, k = a + b,
    Horst's (1951) extension of the Spearman-Brown formula to unequal halves gives the reliability of the average over all
    k::

        q = (sqrt(k² + 4 a b (1/r² - 1)) - k) / 2        noise over signal variance of one trial
        reliability = 1 / (1 + q/k)                      2 r / (1 + r) if a = b

    The ceiling is its square root: the correlation of the noise-free pattern with the average (Spearman 1904).

    Whatever repeats share counts as signal: a session's drift of whole voxels, or attention drawn the same way each time,
    raise the ceiling. Noise may be correlated between voxels, not between trials. One stimulus's ceiling is as uncertain as a
    correlation over that many independent voxels, and negative reliabilities become 0, so read the mean over stimuli.

    Parameters
    ----------
    trials : array of shape (n_trials, n_voxels)
        Single-trial responses; in memory, or anything with ``shape`` that is sliced by rows.
    trial_stimulus_ids : sequence of str, length n_trials
        The stimulus of each trial; trials of others than `stimulus_ids` are not read.
    stimulus_ids : sequence of str, length n_stimuli
    mean, std : array of shape (n_voxels,)
        Of the training patterns. Voxels whose std is 0 count as 0, as in `EncodingModel.standardise`.
    seed : int
        Of the choice of splits, for stimuli with ten repeats or more.

    Returns
    -------
    ceiling : array of shape (n_stimuli,), float64
        In 0..1, in the order of `stimulus_ids`; 0 if halves do not agree, NaN if a stimulus has fewer than two
        repeats, which tell nothing.

    Raises
    ------
    InputError
        If lengths do not match, no trial shows any of the stimuli, or a value is not finite.
    """
    trial_ids, stimulus_ids = np.asarray(trial_stimulus_ids, dtype=str), np.asarray(stimulus_ids, dtype=str)
    mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    _check(trials, trial_ids, stimulus_ids, mean, std)
    responses, shown = _read(trials, trial_ids, stimulus_ids)
    factor = np.divide(1.0, std, out=np.zeros(len(std)), where=std > 0)
    order = np.argsort(shown, kind="stable")
    first, last = (np.searchsorted(shown[order], stimulus_ids, side) for side in ("left", "right"))
    ceiling = np.full(len(stimulus_ids), np.nan)
    for position in np.flatnonzero(last - first >= 2):
        own = responses[order[first[position] : last[position]]]
        # A generator for each stimulus: its ceiling depends on no other's.
        generator = np.random.default_rng([seed, len(own)])
        ceiling[position] = np.sqrt(_reliability_of_average((own - mean) * factor, generator))
    return ceiling


def _read(trials, trial_ids, stimulus_ids):
    """Responses, float32, and ids of the trials of these stimuli: blocks in order, as trials on disk are read cheapest."""
    wanted = np.isin(trial_ids, stimulus_ids)
    responses = np.empty((int(wanted.sum()), trials.shape[1]), dtype=np.float32)
    done = 0
    for start in range(0, len(trial_ids), ROWS_PER_BLOCK):
        chosen = wanted[start : start + ROWS_PER_BLOCK]
        if chosen.any():
            block = np.asarray(trials[start : start + ROWS_PER_BLOCK])[chosen]
            check_finite(block, f"trials {start + 1} to {start + len(chosen)}")
            responses[done : done + len(block)] = block
            done += len(block)
    return responses, trial_ids[wanted]


def _reliability_of_average(responses, generator):
    """Reliability, 0..1, of the average of responses (n_repeats, n_voxels) across voxels."""
    k = len(responses)
    centred = responses - responses.mean(axis=1, keepdims=True)
    covariance = centred @ centred.T  # between trials: that of any two averages is a sum of its entries
    smaller, larger = k // 2, k - k // 2
    members = _halves(k, generator)
    one, other = members / smaller, (1 - members) / larger
    both, first, second = (
        np.einsum("si,ij,sj->s", left, covariance, right) for left, right in ((one, other), (one, one), (other, other))
    )
    norms = np.sqrt(np.maximum(first, 0) * np.maximum(second, 0))
    correlation = np.divide(both, norms, out=np.zeros_like(both), where=norms > 0).mean()
    if correlation <= 0:
        return 0.0
    noise = (np.sqrt(k**2 + 4 * smaller * larger * max(1 / correlation**2 - 1, 0.0)) - k) / 2
    return 1 / (1 + noise / k)


def _halves(k, generator):
    """Which of k trials are in the first, never the larger half: 0.0 or 1.0, (n_splits, k), each way to split once."""
    if comb(k, k // 2) > _MOST_SPLITS:
        return (np.argsort(generator.random((_MOST_SPLITS, k)), axis=1) < k // 2).astype(np.float64)
    chosen = [half for half in combinations(range(k), k // 2) if k % 2 or 0 in half]
    members = np.zeros((len(chosen), k))
    members[np.arange(len(chosen))[:, None], chosen] = 1
    return members


def _check(trials, trial_ids, stimulus_ids, mean, std):
    n_trials, n_voxels = trials.shape
    if len(trial_ids) != n_trials:
        raise InputError(f"There are {n_trials:,} trials but {len(trial_ids):,} stimulus ids; give one id per trial.")
    if mean.shape != (n_voxels,) or std.shape != (n_voxels,):
        raise InputError(
            f"Trials have {n_voxels:,} voxels but mean and std have shapes {mean.shape} and {std.shape}; "
            "take them from training patterns of the same subject and roi."
        )
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
        raise InputError("mean and std hold NaN, infinite or negative values; expected the training patterns' own.")
    if not np.isin(stimulus_ids, trial_ids).any():
        raise InputError(
            f"None of the {n_trials:,} trials shows any of the {len(stimulus_ids):,} stimuli; "
            "pass trials of the split that the stimuli come from."
        )
