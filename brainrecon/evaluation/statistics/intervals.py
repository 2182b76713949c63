"""Confidence intervals by bootstrap.

Here are those of scores that each belong to one stimulus, and of subjects' means; the ones of two-way identification,
whose scores come from comparing stimuli with one another, are in `brainrecon.evaluation.statistics.pair_intervals`.

No test here counts pairs. Two-way identification of n stimuli makes n (n - 1) comparisons, and a binomial test
that takes them for as many independent trials gives p-values that mean nothing: all comparisons of one stimulus
share its prediction, and every reference takes part in the comparisons of all others. For 100 predictions without
information such a test supposes a standard deviation of 0.005; the rate varies with one of about 0.03. What is
drawn independently of the rest is a stimulus, or a subject, and nothing below that is resampled.
"""

import numpy as np
from scipy import stats

from brainrecon.evaluation.statistics.bootstrap import (
    CONFIDENCE,
    N_RESAMPLES,
    Estimate,
    check_options,
    drawn_blocks,
    percentile_interval,
)
from stages.ground.errors import InputError

__all__ = [
    "CONFIDENCE",
    "Estimate",
    "N_RESAMPLES",
    "SUBJECTS_TO_RESAMPLE",
    "bootstrap_difference",
    "bootstrap_mean",
    "difference_over_subjects",
    "mean_over_subjects",
]

# From 8 subjects on, the bootstrap interval has about its nominal coverage.
SUBJECTS_TO_RESAMPLE = 8


def bootstrap_mean(values, *, confidence=CONFIDENCE, n_resamples=N_RESAMPLES, seed=0):
    """Mean over stimuli and its bootstrap percentile interval.

    Stimuli are drawn with replacement, `n_resamples` times; the interval lies between two percentiles of the
    resampled means. With n values those percentiles are widened from alpha / 2 to
    Phi(-sqrt(n / (n - 1)) t(alpha / 2; n - 1)): the plain ones cover too little in small samples, because a
    resample's spread is that of the sample and not of the population (Hesterberg 2015, "What teachers should
    know about the bootstrap", section 4.1). At n = 100 the lower percentile is 2.31 in place of 2.5, at
    n = 20 it is 1.59.

    The scores of different stimuli have to be independent. The success rates of two-way identification are not:
    each stimulus also competes with all others, and if stimuli differ in how distinct they are, resampled rates
    cover too little or too much. `bootstrap_pairs` takes the comparisons themselves.

    Percentiles follow a skewed distribution only to first order. Nominal 95 % covers 93 to 97 % of the time for
    normal, uniform and mildly skewed scores from 20 stimuli on; 92 % for exponential scores at n = 20.
    For 0 / 1 scores near an end it may fail altogether: with a true rate of 0.9, one in eight samples of 20 holds
    ones alone, and their interval has no width. There `scipy.stats.binomtest(...).proportion_ci("wilson")` is the
    better interval.

    >>> bootstrap_mean([0.2, 0.4, 0.6, 0.8]).n
    4

    Parameters
    ----------
    values : array of shape (n_stimuli,)
        One score per stimulus, finite.
    confidence : float
        Nominal coverage, 0.95 by default.
    n_resamples : int
        At least 2,000.
    seed : int
        Seeds a generator of its own; the same values and seed give the same interval.

    Returns
    -------
    estimate : Estimate
        (n, mean, ci_low, ci_high).

    Raises
    ------
    InputError
        If there are no values, one is not finite, `confidence` is not between 0 and 1, or `n_resamples` is below
        2,000.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InputError(
            f"A mean over stimuli needs one finite score per stimulus, these have shape {values.shape} and "
            f"{int((~np.isfinite(values)).sum())} that are not finite. Score at least one stimulus."
        )
    check_options(confidence, n_resamples)
    n, mean = len(values), float(values.mean())
    if n < 2:
        return Estimate(n, mean, None, None)
    means = np.concatenate([values[drawn].mean(axis=1) for drawn in drawn_blocks(n, n_resamples, seed)])
    return Estimate(n, mean, *percentile_interval(means, n, confidence))


def bootstrap_difference(values, others, **options):
    """Mean of the paired differences `values - others` over stimuli, with its interval.

    >>> round(bootstrap_difference([0.5, 0.7, 0.9], [0.4, 0.5, 0.9]).mean, 6)
    0.1

    Parameters
    ----------
    values, others : arrays of shape (n_stimuli,)
        Scores of the same stimuli in the same order under two conditions.
    **options
        As for `bootstrap_mean`.

    Returns
    -------
    estimate : Estimate
    """
    return bootstrap_mean(_paired_differences(values, others), **options)


def mean_over_subjects(per_subject, *, bounds=(-np.inf, np.inf), **options):
    """Mean of the subjects' means, with an interval over subjects.

    Subjects are the unit: each counts once, whatever its number of stimuli. The interval is about further subjects who
    see these stimuli. Where all subjects saw the same test pictures, what those pictures have in common to all is in
    every subject's mean and not in the interval.

    With few subjects no bootstrap gives 95 %: resamples of two, three or four means lie between the lowest and the
    highest, and that range holds the centre of symmetric means 50, 75 and 88 % of the time (1 - 2^(1 - n)). So the
    interval is Student's t below `SUBJECTS_TO_RESAMPLE`, which holds 95 % where means are normally distributed and is as
    wide as two or three subjects deserve, and the bootstrap from there on, which then reaches about 94 %.

    >>> mean_over_subjects([0.6, 0.8], bounds=(0, 1)).ci_high
    1.0

    Parameters
    ----------
    per_subject : sequence of arrays of shape (n_stimuli,), or of float
        One entry per subject: its scores by stimulus (numbers of stimuli may differ), or just their mean.
    bounds : (float, float)
        Lowest and highest possible score, where the interval ends.
    **options
        As for `bootstrap_mean`.

    Returns
    -------
    estimate : Estimate
        Its `n` is the number of subjects. A single subject has no spread over subjects: then stimuli within it are
        the unit, as in `bootstrap_mean`, and `n` is their number; a single mean has no interval.

    Raises
    ------
    InputError
        If there is no subject, or one has no scores or scores that are not finite.
    """
    subjects = [_scores_of(one, row) for row, one in enumerate(per_subject)]
    if not subjects:
        raise InputError("A mean over subjects needs scores of at least one, there are none. Score one subject first.")
    if len(subjects) == 1:
        return bootstrap_mean(subjects[0], **options)
    means = np.array([scores.mean() for scores in subjects])
    estimate = bootstrap_mean(means, **options)
    if len(means) >= SUBJECTS_TO_RESAMPLE:
        return estimate
    reach = stats.t.ppf((1 + options.get("confidence", CONFIDENCE)) / 2, len(means) - 1) * stats.sem(means)
    low, high = np.clip([estimate.mean - reach, estimate.mean + reach], *bounds)
    return estimate._replace(ci_low=float(low), ci_high=float(high))


def difference_over_subjects(per_subject, **options):
    """Mean over subjects of each subject's mean paired difference, with an interval over subjects.

    Differences are taken within a subject, stimulus by stimulus, then averaged over its stimuli, then over
    subjects; what distinguishes subjects from one another and hits both methods alike is gone. Everything that
    `mean_over_subjects` says about few subjects holds.

    >>> round(difference_over_subjects([([0.5, 0.7], [0.4, 0.5]), ([0.9, 0.9], [0.8, 0.6])]).mean, 6)
    0.175

    Parameters
    ----------
    per_subject : sequence of (own, other)
        One pair per subject: scores of the same stimuli in the same order by two methods, arrays of shape
        (n_stimuli,), or the two means. The difference is own - other.
    **options
        As for `bootstrap_mean`.

    Returns
    -------
    estimate : Estimate
        As from `mean_over_subjects`; with a single subject as from `bootstrap_difference`.

    Raises
    ------
    InputError
        If there is no subject, or the two sides of one hold different numbers of stimuli.
    """
    return mean_over_subjects([_paired_differences(own, other) for own, other in per_subject], **options)


def _paired_differences(values, others):
    values, others = np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if values.shape != others.shape:
        raise InputError(
            f"Paired differences need the same stimuli on both sides, not scores of shape {values.shape} and "
            f"{others.shape}. Keep the stimuli that both have."
        )
    return values - others


def _scores_of(one, row):
    """Scores of one subject as float64 (n_stimuli,)."""
    scores = np.asarray(one, dtype=np.float64)
    if scores.ndim > 1 or not scores.size or not np.isfinite(scores).all():
        raise InputError(
            f"Subject {row + 1} has scores of shape {scores.shape} with {int((~np.isfinite(scores)).sum())} that are "
            "not finite; expected one finite score per stimulus, or their mean. Look at what produced them."
        )
    return np.atleast_1d(scores)
