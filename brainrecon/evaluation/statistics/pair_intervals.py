"""Confidence intervals of scores that come from comparing stimuli with one another.

Two-way identification asks of every pair of stimuli whether reference i resembles prediction j less than j's own
reference does. A stimulus takes part in two roles: its prediction is what is identified, and its reference competes
with all others. A picture like no other is easily identified and hardly ever mistaken for another, so that a set
that happens to hold many of them gains twice. Resampling the success rates alone leaves the second role fixed. Where
stimuli differ in that way, its nominal 95 % then covers 87 to 90 % for good predictions, and 98 to 99 % for predictions
without information, whose two roles cancel. Here a resample draws stimuli with everything that belongs to them. Pairs are
never drawn, and never counted as trials of a binomial test: see `brainrecon.evaluation.statistics.intervals`.
"""

import numpy as np

from brainrecon.evaluation.statistics.bootstrap import (
    CONFIDENCE,
    N_RESAMPLES,
    Estimate,
    check_options,
    drawn_blocks,
    percentile_interval,
)
from stages.ground.errors import InputError


def bootstrap_pairs(success, competes, *, confidence=CONFIDENCE, n_resamples=N_RESAMPLES, seed=0):
    """Mean success rate of all stimuli, with an interval that resamples stimuli in both roles.

    With success S and competition C, the rate of stimulus j is sum_i C_ij S_ij / sum_i C_ij, and the estimate is
    the mean rate. A resample draws n stimuli with replacement; with w_i copies of stimulus i, its value is

        sum_j w_j (sum_i w_i C_ij S_ij / sum_i w_i C_ij) / sum_j w_j

    over the j whose competitors were drawn at all. C_ii counts as 0: copies of a stimulus do not compete with one
    another, nothing could tell them apart. The draws are those of `bootstrap_mean` for the same n and seed, so that
    a success that does not depend on the competitor has precisely the interval of that function.

    Percentiles are widened as there. To first order the statistic is a mean of n independent terms, one per
    stimulus and both its roles, and its resamples have the spread of a sample for the same reason. What is left,
    of order 1 / n^2 in the variance, resamples exaggerate about three times, which shows where first-order terms
    are small or stimuli few: there the interval is somewhat too wide. Close to the ceiling, where the distribution is
    skewed, it falls short: nominal 95 % covers 90 to 93 % at a true rate of 0.98.

    >>> success = np.triu(np.ones((6, 6)), 1)
    >>> bootstrap_pairs(success, ~np.eye(6, dtype=bool)).mean
    0.5

    Parameters
    ----------
    success : array of shape (n_stimuli, n_stimuli), in 0..1
        Row i, column j: whether reference i correlates less with the prediction of stimulus j than the own
        reference of j does; averaged over the samples of j. The diagonal is not looked at, but has to be finite.
    competes : array of shape (n_stimuli, n_stimuli), bool or weights of at least 0
        Which references compete for which predictions. The diagonal is taken as 0.
    confidence, n_resamples, seed
        As for `bootstrap_mean`.

    Returns
    -------
    estimate : Estimate
        (n, mean, ci_low, ci_high). Two stimuli have no interval: every resample that holds a pair is the sample.

    Raises
    ------
    InputError
        With fewer than two stimuli, matrices that are not square and alike, values that are not finite or out of
        range, or a stimulus that nobody competes with.
    """
    success, competes = _checked(success, competes)
    return _estimate([(success * competes, competes)], confidence, n_resamples, seed)


def bootstrap_pair_difference(one, other, *, confidence=CONFIDENCE, n_resamples=N_RESAMPLES, seed=0):
    """Mean paired difference of success rates under two conditions, with its interval.

    As `bootstrap_pairs`, every resample holding the same stimuli on both sides. A stimulus whose competitors are
    missing from a resample on either side is left out of both.

    Parameters
    ----------
    one, other : (success, competes)
        Each as for `bootstrap_pairs`, of the same stimuli in the same order. The difference is one - other.
    confidence, n_resamples, seed
        As for `bootstrap_mean`.

    Returns
    -------
    estimate : Estimate

    Raises
    ------
    InputError
        As `bootstrap_pairs`, and if the two sides differ in their number of stimuli.
    """
    (success, competes), (other_success, other_competes) = _checked(*one), _checked(*other)
    if success.shape != other_success.shape:
        raise InputError(
            f"Paired differences need the same stimuli on both sides, not comparisons of {len(success)} and of "
            f"{len(other_success)}. Keep the stimuli that both have."
        )
    if np.array_equal(competes, other_competes):
        sides = [((success - other_success) * competes, competes)]  # the same sum, in half the products
    else:
        sides = [(success * competes, competes), (-other_success * other_competes, other_competes)]
    return _estimate(sides, confidence, n_resamples, seed)


def _estimate(sides, confidence, n_resamples, seed):
    check_options(confidence, n_resamples)
    n = len(sides[0][1])
    mean = float(_statistic(np.ones((1, n)), sides)[0])
    if n < 3:
        return Estimate(n, mean, None, None)
    resampled = np.concatenate([_statistic(_copies(drawn), sides) for drawn in drawn_blocks(n, n_resamples, seed)])
    return Estimate(n, mean, *percentile_interval(resampled[np.isfinite(resampled)], n, confidence))


def _statistic(copies, sides):
    """Mean over drawn stimuli of their rates, summed over the sides.

    Parameters
    ----------
    copies : float array of shape (n_resamples, n_stimuli)
        How often each stimulus was drawn.
    sides : sequence of (gains, competes)
        Arrays of shape (n_stimuli, n_stimuli); `gains` is success times competition, signed.

    Returns
    -------
    values : float64 array of shape (n_resamples,)
        NaN if no stimulus was drawn together with a competitor.
    """
    rates, present = np.zeros(copies.shape), copies.copy()
    for gains, competes in sides:
        competitors = copies @ competes
        missing = competitors == 0  # a sum of zeros is exactly zero
        competitors[missing] = 1.0
        rates += (copies @ gains) / competitors
        present[missing] = 0.0
    n_present = present.sum(axis=1)
    values = np.full(len(copies), np.nan)
    return np.divide(np.einsum("rj,rj->r", present, rates), n_present, out=values, where=n_present > 0)


def _copies(drawn):
    """How often each unit occurs in each row of `drawn`, float64 of the same shape."""
    n_rows, n = drawn.shape
    flat = drawn + np.arange(n_rows, dtype=np.int64)[:, None] * n
    return np.bincount(flat.ravel(), minlength=n_rows * n).reshape(n_rows, n).astype(np.float64)


def _checked(success, competes):
    """Both as float64 arrays of one square shape; a copy of `competes` with an empty diagonal."""
    success, competes = np.asarray(success, dtype=np.float64), np.array(competes, dtype=np.float64)
    if success.ndim != 2 or success.shape[0] != success.shape[1] or success.shape != competes.shape:
        raise InputError(
            f"Comparisons have shape {success.shape} and their competition {competes.shape}; expected one square "
            "shape for both, a row per competing reference and a column per stimulus."
        )
    if len(success) < 2:
        raise InputError(f"Comparisons need at least 2 stimuli, not {len(success)}. Score more stimuli.")
    # Written so that NaN is refused too.
    if not ((success >= 0) & (success <= 1)).all() or not ((competes >= 0) & (competes < np.inf)).all():
        raise InputError(
            f"Comparisons run from {success.min():.4g} to {success.max():.4g} and their competition from "
            f"{competes.min():.4g} to {competes.max():.4g}; expected successes in 0..1 and finite weights of at "
            "least 0. Give the comparisons, not correlations."
        )
    np.fill_diagonal(competes, 0.0)
    alone = np.flatnonzero(competes.sum(axis=0) == 0)
    if len(alone):
        raise InputError(
            f"{len(alone)} of {len(success)} stimuli have no competitor (the first is number {alone[0]}); expected "
            "at least one for each. Leave these stimuli out, or allow more pairs."
        )
    return success, competes
