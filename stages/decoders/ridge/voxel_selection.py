"""Which voxels a decoder is fitted on: scores per voxel, and masks from scores.

A score is one number per voxel, higher is better: `noise_ceiling` asks how well a voxel repeats itself,
`correlation_with_targets` how much it says about what will be predicted. `strongest` and `at_least` turn scores into a
mask. All of it is for training data alone: voxels that were chosen with the help of test responses make test scores
look better than they are.
"""

import reprlib
from numbers import Real

import numpy as np

from stages.ground.checks import Number, check, finite
from stages.ground.errors import InputError

TRIALS_PER_BLOCK = 256
VOXELS_PER_BLOCK = 1024
HELD_BYTES = 512 * 2**20  # for the means of stimuli that will be shown again
ROUNDING = 1e-6  # what averaging equal float32 numbers may make of them, as a share of their size


def noise_ceiling(betas, stimuli, repeats=None):
    """Noise ceiling of each voxel: how much of the variance of averaged responses a perfect model could explain.

    >>> rng = np.random.default_rng(0)
    >>> stimuli = np.arange(50).repeat(3)
    >>> signal = rng.standard_normal(50).repeat(3)
    >>> betas = np.stack([signal + 0.5 * rng.standard_normal(150), rng.standard_normal(150)], axis=1)
    >>> noise_ceiling(betas.astype(np.float32), stimuli).round().tolist()
    [90.0, 10.0]

    100 s² / (s² + 1/k), with s (ncsnr) the standard deviation of the signal over that of the noise of one trial and
    k the trials averaged for each stimulus (Allen et al. 2022, doi 10.1038/s41593-021-00962-x). The variances are
    those of `signal_and_noise`. Where stimuli differ in k, 1/k is its mean over stimuli, as the NSD data manual has
    it ("Functional data").

    Parameters
    ----------
    betas : array of shape (n_trials, n_voxels), float32
        Single-trial responses; see `signal_and_noise`.
    stimuli : array of shape (n_trials,), int or str
        Number or name of the stimulus shown on each trial.
    repeats : int or sequence of int, optional
        k: 1 for single trials, one number for averages over so many, or one per stimulus. By default as often as
        each stimulus is shown here: the ceiling of these betas averaged over repeats.

    Returns
    -------
    percent : array of shape (n_voxels,), float64
        0 to 100; 0 for a voxel that does not vary, 100 where repeats agree exactly.

    Raises
    ------
    InputError
        As `signal_and_noise`, or `repeats` are not whole numbers of 1 or more.
    """
    repeats = np.asarray(_shown(betas, stimuli) if repeats is None else repeats)
    if repeats.dtype.kind not in "iu" or repeats.size == 0 or repeats.min() < 1:
        raise InputError(
            f"repeats is {reprlib.repr(repeats.tolist())}; expected whole numbers of 1 or more: pass repeats=1 for the "
            "ceiling of single trials."
        )
    signal, noise = signal_and_noise(betas, stimuli)
    noise = noise * np.mean(1 / repeats)
    return 100 * np.divide(signal, signal + noise, out=np.zeros(len(signal)), where=signal > 0)


def signal_and_noise(betas, stimuli):
    """Variance of each voxel's signal and of the noise of one trial, from repeated stimuli.

    The noise variance is the mean, over stimuli with two trials or more, of the variance over a stimulus' trials
    (ddof 1). What it leaves of the variance over all trials (ddof 1), if anything, is the signal's. The square root
    of their ratio is NSD's ncsnr (Allen et al. 2022).

    NSD z-scores each session first, by all of its trials, so that the variance over trials is one. Here it is measured,
    as in the authors' own example for other data (GLMsingle, example 9, which leaves out stimuli shown once): the ratio
    depends on no unit, and for betas z-scored in sessions it is NSD's but for n_sessions / n_trials of the variance.
    Without z-scores, drift between sessions counts as noise where the repeats of a stimulus lie in different sessions,
    and as signal where they do not.

    Parameters
    ----------
    betas : array of shape (n_trials, n_voxels), float32
        Single-trial responses in any unit. Only sliced by rows, in blocks and in order, so it may live on disk. It is
        read once, or several times for a part of the voxels each where the means of the stimuli that will be shown
        again exceed 512 MiB: twice for the nsdgeneral of an NSD subject.
    stimuli : array of shape (n_trials,), int or str
        Number or name of the stimulus shown on each trial.

    Returns
    -------
    signal, noise : array of shape (n_voxels,), float64
        Variances, in the squared unit of `betas`.

    Raises
    ------
    InputError
        No stimulus is shown twice, another number of stimuli than of trials, or a value that is NaN or infinite.
    """
    _shown(betas, stimuli)
    stimuli = np.asarray(stimuli)
    _, first, positions, counts = np.unique(stimuli, return_index=True, return_inverse=True, return_counts=True)
    last = len(stimuli) - 1 - np.unique(stimuli[::-1], return_index=True)[1]
    opened, closed = (np.bincount(ends, minlength=len(stimuli)) for ends in (first, last))
    most_held = int(np.cumsum(opened - closed).max())
    n_voxels = betas.shape[1]
    width = max(1, HELD_BYTES // (8 * most_held))
    total, noise = np.empty(n_voxels), np.empty(n_voxels)
    for start in range(0, n_voxels, width):
        columns = slice(start, start + width)
        total[columns], noise[columns] = _total_and_noise(betas, positions, counts, columns)
    return np.maximum(total - noise, 0), noise


def _total_and_noise(betas, positions, counts, columns):
    """Variance over all trials and mean variance over a stimulus' trials, for some columns, in one reading."""
    n_voxels = len(range(*columns.indices(betas.shape[1])))
    mean, total, noise = np.zeros(n_voxels), np.zeros(n_voxels), np.zeros(n_voxels)
    held, shown = {}, np.zeros(len(counts), dtype=int)
    for start in range(0, len(positions), TRIALS_PER_BLOCK):
        block = np.asarray(betas[start : start + TRIALS_PER_BLOCK])
        _check_finite(block, f"betas of trials {start + 1} to {start + len(block)}", "voxels")
        block = block[:, columns].astype(np.float64)
        for trial, (stimulus, response) in enumerate(zip(positions[start : start + len(block)], block), start + 1):
            total += _squares_added(mean, response, trial)
            if counts[stimulus] == 1:
                continue
            shown[stimulus] += 1
            stimulus_mean = held.setdefault(stimulus, np.zeros(n_voxels))
            noise += _squares_added(stimulus_mean, response, shown[stimulus]) / (counts[stimulus] - 1)
            if shown[stimulus] == counts[stimulus]:
                del held[stimulus]
    return total / (len(positions) - 1), noise / np.count_nonzero(counts > 1)


def _squares_added(mean, response, nth):
    """Move `mean` on to the nth response; how much the sum of squares about the mean grows (Welford 1962)."""
    deviation = response - mean
    mean += deviation / nth
    return deviation**2 * ((nth - 1) / nth)


def correlation_with_targets(patterns, targets):
    """How closely each voxel follows the targets: root mean square, over columns, of Pearson's correlation.

    >>> rng = np.random.default_rng(0)
    >>> targets = rng.standard_normal((60, 1))
    >>> patterns = np.hstack([targets, rng.standard_normal((60, 1))])
    >>> correlation_with_targets(patterns, targets).round(2).tolist()
    [1.0, 0.12]

    Parameters
    ----------
    patterns : array of shape (n_stimuli, n_voxels)
        Training responses.
    targets : array of shape (n_stimuli, n_columns)
        What was shown, in the same order: a target, some of its columns, or a random projection of it.

    Returns
    -------
    scores : array of shape (n_voxels,), float64
        0 to 1; 0 for a voxel that does not vary. A column that does not vary counts as a correlation of 0. Where voxels
        have nothing to do with targets the score is about 1 / sqrt(n_stimuli - 1), not 0.

    Raises
    ------
    InputError
        Another number of patterns than of targets, fewer than two stimuli, no column, or a value that is NaN or
        infinite.
    """
    patterns, targets = _matrix(patterns, "patterns", "n_voxels"), _matrix(targets, "targets", "n_columns")
    if len(patterns) != len(targets):
        raise InputError(
            f"There are patterns of {len(patterns):,} stimuli but targets of {len(targets):,}; pass both for the same "
            "training stimuli, in the same order."
        )
    if len(patterns) < 2 or targets.shape[1] == 0:
        raise InputError(
            f"There are {len(targets):,} stimuli and {targets.shape[1]:,} target columns; a correlation needs 2 stimuli "
            "and 1 column or more: pass all training stimuli."
        )
    _check_finite(patterns, "patterns", "voxels")
    _check_finite(targets, "targets", "columns")
    precision = np.result_type(patterns, targets, np.float32)
    targets = _unit_columns(targets).astype(precision, copy=False)
    scores = np.empty(patterns.shape[1])
    for start in range(0, len(scores), VOXELS_PER_BLOCK):
        columns = slice(start, start + VOXELS_PER_BLOCK)
        correlations = _unit_columns(patterns[:, columns]).astype(precision, copy=False).T @ targets
        scores[columns] = np.sqrt(np.square(correlations).mean(axis=1, dtype=np.float64))
    return scores


def constant_columns(values):
    """Columns in which nothing varies but rounding.

    Parameters
    ----------
    values : array of shape (n_stimuli, n_columns)
        Patterns, a column per voxel, or targets; one stimulus or more.

    Returns
    -------
    mask : array of shape (n_columns,), bool
        True where the highest and the lowest value differ by no more than a millionth of the larger magnitude: averages
        of different numbers of equal float32 numbers differ by less.
    """
    low, high = (np.asarray(end, dtype=np.float64) for end in (np.min(values, axis=0), np.max(values, axis=0)))
    return high - low <= ROUNDING * np.maximum(-low, high)


def strongest(scores, top):
    """Mask of the voxels with the highest scores.

    >>> strongest(np.array([12.0, 55.0, np.nan, 31.0]), 2).tolist()
    [False, True, False, True]

    Parameters
    ----------
    scores : array of shape (n_voxels,)
        NaN: no score, never chosen.
    top : int
        How many to choose, 1 or more. Of equal scores, those of the first voxels are chosen.

    Returns
    -------
    mask : array of shape (n_voxels,), bool
        True for `top` voxels.

    Raises
    ------
    InputError
        `top` is not such a number, or fewer voxels have a score.
    """
    scores = _checked_scores(scores)
    check("top", top, Number(1, whole=True, example=1000))
    n_scored = int((~np.isnan(scores)).sum())
    if top > n_scored:
        raise InputError(
            f"The strongest {top:,} voxels are asked for but {n_scored:,} of {len(scores):,} have a score; "
            f"pass top={n_scored} or less."
        )
    mask = np.zeros(len(scores), dtype=bool)
    mask[np.argsort(-scores, kind="stable")[:top]] = True  # NaN is sorted last
    return mask


def at_least(scores, threshold):
    """Mask of the voxels whose score reaches a threshold.

    >>> at_least(np.array([12.0, 55.0, np.nan, 31.0]), 20).tolist()
    [False, True, False, True]

    Parameters
    ----------
    scores : array of shape (n_voxels,)
        NaN: no score, never chosen.
    threshold : float
        In the units of `scores`.

    Returns
    -------
    mask : array of shape (n_voxels,), bool
        True for one voxel or more.

    Raises
    ------
    InputError
        No voxel reaches the threshold, or it is not a number.
    """
    scores = _checked_scores(scores)
    if not isinstance(threshold, Real) or isinstance(threshold, bool) or np.isnan(threshold):
        raise InputError(f"threshold is {threshold!r}; expected a number, such as threshold=10.")
    mask = scores >= threshold
    if not mask.any():
        raise InputError(
            f"None of {len(scores):,} voxels scores {threshold:g} or more: the highest score is {np.nanmax(scores):g}; "
            "pass a threshold below that."
        )
    return mask


def _shown(betas, stimuli):
    """How often each stimulus is shown, in sorted order, once there is one per trial and some are shown twice."""
    shape = getattr(betas, "shape", ())
    if len(shape) != 2:
        raise InputError(f"betas have shape {shape}; expected an array (n_trials, n_voxels): pass single trials.")
    stimuli = np.asarray(stimuli)
    if stimuli.shape != shape[:1] or stimuli.dtype.kind not in "iuU":
        raise InputError(
            f"There are {shape[0]:,} trials but stimuli are {stimuli.dtype} of shape {stimuli.shape}; pass the "
            "number or the name of one stimulus per trial."
        )
    counts = np.unique(stimuli, return_counts=True)[1]
    if len(counts) == len(stimuli):
        raise InputError(
            f"Each of the {len(counts):,} stimuli is shown once in {len(stimuli):,} trials; noise is measured between "
            "repeats: pass single trials of which some show the same stimulus, or choose voxels by "
            "correlation_with_targets."
        )
    return counts


def _matrix(values, name, columns):
    values = np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise InputError(
            f"{name} are {values.dtype} of shape {values.shape}; expected numbers (n_stimuli, {columns}): "
            "pass one row per stimulus."
        )
    return values


def _checked_scores(scores):
    """`scores` in float64, once they are one number per voxel and not all NaN."""
    scores = np.asarray(scores)
    if scores.ndim != 1 or scores.dtype.kind not in "biuf":
        raise InputError(
            f"scores are {scores.dtype} of shape {scores.shape}; expected one number per voxel: pass what noise_ceiling or "
            "correlation_with_targets returns."
        )
    scores = scores.astype(np.float64)
    if np.isnan(scores).all():
        raise InputError(
            f"None of {len(scores):,} voxels has a score; pass scores of which one or more is a number, not NaN."
        )
    return scores


def _check_finite(values, where, what):
    finite(values, where, axis=1, units=what, fix=f"leave these {what} out, or compute them again")


def _unit_columns(values):
    """Columns with mean 0 and length 1, float64; 0 where nothing varies."""
    constant = constant_columns(values)
    values = values.astype(np.float64)
    values -= values.mean(axis=0)
    values /= np.where(constant, np.inf, np.linalg.norm(values, axis=0))
    return values
