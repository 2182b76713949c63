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

from brainrecon.datasets.split import ROWS_PER_BLOCK, check_finite
from brainrecon.evaluation.statistics.bootstrap import Estimate
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from brainrecon.evaluation.statistics.split_half import reliability_of_average
from stages.ground.errors import InputError

# All splits up to nine repeats; a random choice of this many beyond.
_MOST_SPLITS = 200
FEWEST_TRAINING = 6
"""Of fewer training pictures, the error of a z-score has no variance that one could expect."""


def pattern_reliability(trials, trial_stimulus_ids, stimulus_ids, mean, std, seed=0, shared=0.0):
    """Reliability across voxels of each stimulus's average pattern: the share of its variance that is no noise.

    Trials are z-scored with training statistics, voxel by voxel. The repeats of a stimulus are split into halves (one larger
    by one if their number is odd) in every possible way, at most 200 at random; each half is averaged, and the
    correlations r between both halves, across voxels, are averaged over splits.
    `brainrecon.evaluation.statistics.split_half.reliability_of_average` makes of it the reliability of the average over all
    repeats. Of noise alone, reliabilities of many stimuli have the mean 0; `ceiling_of_patterns` makes a ceiling of that mean.
    (The mean of the stimuli's own ceilings, negative ones taken as 0, is .20 for noise in 50 voxels, and .26 in 20.)

    Whatever repeats share counts as signal: a session's drift of whole voxels, or attention drawn the same way each time, raise
    it. Noise may be correlated between voxels, not between trials. The error of the training mean, which all trials share, is
    taken off as `error_of_mean` expects it. One stimulus's reliability is as uncertain as a correlation over that many
    independent voxels, so read the mean over stimuli.

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
    shared : float
        What the error of `mean` adds to the products of all trials, by `error_of_mean`; 0 if the mean is known.

    Returns
    -------
    reliability : array of shape (n_stimuli,), float64
        In -1..1, in the order of `stimulus_ids`; NaN if a stimulus has fewer than two repeats, which tell nothing.

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
    reliability = np.full(len(stimulus_ids), np.nan)
    for position in np.flatnonzero(last - first >= 2):
        own = responses[order[first[position] : last[position]]]
        # A generator for each stimulus: its reliability depends on no other's.
        generator = np.random.default_rng([seed, len(own)])
        reliability[position] = _reliability_of_average((own - mean) * factor, generator, shared)
    return reliability


def error_of_mean(patterns, mean, std):
    """What the error of a training mean adds to the product of any two trials, centred across voxels.

    The mean of n patterns is off by their spread over the root of n, and their standard deviation, by which that is divided, is
    off as well. With z the training patterns' own z-scores, each centred across voxels, one expects of normal responses

        mean of sum over voxels of z²  /  (n - 3)        the mean of Student's t²

    Without taking it off, halves of noise would agree by about 1 / n: for ten training pictures and two repeats a ceiling of .4.

    Parameters
    ----------
    patterns : array of shape (n_stimuli, n_voxels)
        The training patterns that `mean` and `std` are of, `FEWEST_TRAINING` or more.
    mean, std : array of shape (n_voxels,)

    Returns
    -------
    shared : float
    """
    factor, total = np.divide(1.0, std, out=np.zeros(len(std)), where=std > 0), 0.0
    for start in range(0, len(patterns), ROWS_PER_BLOCK):
        standard = (patterns[start : start + ROWS_PER_BLOCK] - mean) * factor
        total += float(((standard - standard.mean(axis=1, keepdims=True)) ** 2).sum())
    return total / len(patterns) / (len(patterns) - 3)


def ceiling_of_patterns(reliability, **options):
    """Highest mean correlation across voxels that predictions of patterns can expect: the root of their mean reliability.

    The noise-free pattern correlates with the average by the root of its reliability (Spearman 1904).

    >>> ceiling_of_patterns([0.8, 0.8, 0.8, 0.8]).mean.__round__(6)
    0.894427

    Parameters
    ----------
    reliability : array of shape (n_stimuli,)
        As `pattern_reliability` gives it.
    **options
        As for `brainrecon.evaluation.statistics.intervals.bootstrap_mean`.

    Returns
    -------
    ceiling : Estimate, or None
        None if the interval of the mean reliability reaches 0 or cannot be told: these repeats do not tell signal from noise.
    """
    found = bootstrap_mean(reliability, **options)
    if found.ci_low is None or found.ci_low <= 0:
        return None
    return Estimate(found.n, *(float(np.sqrt(value)) for value in found[1:]))


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


def _reliability_of_average(responses, generator, shared):
    """Reliability, -1..1, of the average of responses (n_repeats, n_voxels) across voxels."""
    k = len(responses)
    centred = responses - responses.mean(axis=1, keepdims=True)
    covariance = centred @ centred.T - shared  # between trials: that of any two averages is a sum of its entries
    smaller, larger = k // 2, k - k // 2
    members = _halves(k, generator)
    one, other = members / smaller, (1 - members) / larger
    both, first, second = (
        np.einsum("si,ij,sj->s", left, covariance, right) for left, right in ((one, other), (one, one), (other, other))
    )
    norms = np.sqrt(np.maximum(first, 0) * np.maximum(second, 0))
    correlation = np.divide(both, norms, out=np.zeros_like(both), where=norms > 0).mean()
    return float(reliability_of_average(correlation, smaller, larger))


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
