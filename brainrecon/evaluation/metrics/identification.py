"""Identification: whether a prediction resembles its own reference more than it resembles others.

All of it follows from the matrix of correlations between references and predictions, so that several ways of asking
cost one matrix. Ties fail, and so does what is undefined.
"""

from functools import lru_cache
from math import comb

import numpy as np

from brainrecon.evaluation.metrics.correlation import correlation_matrix
from stages.ground.errors import InputError

# Correlations of equal rows can differ in the last bits, because matrix kernels treat the edges of a block
# differently. Anything closer than this is a tie, and ties fail.
TIE = 1e-12


def two_way_identification(reference, predicted, targets=None, allowed=None, similarity="pearson"):
    """Fraction of the other references that resemble a prediction less than its own reference does.

    The published definition: the full matrix r of Pearson correlations between flattened features; the score
    of prediction j is the fraction of references i other than its own with r(i, j) < r(own, j). Ties fail.
    The denominator is the number of other references. An undefined correlation (a constant row) is below
    nothing and above nothing, so that a constant prediction scores 0.

    >>> shown = np.eye(4)
    >>> two_way_identification(shown, shown[[0, 1, 3, 2]])
    array([1., 1., 0., 0.])

    Parameters
    ----------
    reference : array of shape (n_references, ...)
        Features of the shown pictures; further axes are flattened.
    predicted : array of shape (n_predictions, ...)
        Features of the reconstructions.
    targets : integer array of shape (n_predictions,), optional
        The reference each prediction belongs to. By default prediction j belongs to reference j. Several
        samples of one stimulus are several predictions with one target.
    allowed : boolean array of shape (n_references, n_predictions), optional
        The references that may compete for each prediction, for example those of its own category. The own
        reference never competes with itself, whatever is said here.
    similarity : {"pearson", "cosine"}
        As for `correlation_matrix`.

    Returns
    -------
    scores : array of shape (n_predictions,), float64, in 0..1, chance 0.5
        NaN only if `allowed` leaves a prediction no competitor.

    Raises
    ------
    InputError
        With fewer than two references, with shapes that do not match, or with values that are not finite.
    """
    return identification_rates(correlation_matrix(reference, predicted, similarity), targets, allowed)


def identification_rates(correlation, targets=None, allowed=None):
    """Two-way identification from correlations that are already there.

    >>> identification_rates(np.array([[0.9, 0.2, 0.8], [0.1, 0.5, 0.3], [0.3, 0.1, 0.4]]))
    array([1. , 1. , 0.5])

    Parameters
    ----------
    correlation : array of shape (n_references, n_predictions)
        As `correlation_matrix` gives them; NaN if undefined.
    targets, allowed
        As for `two_way_identification`.

    Returns
    -------
    scores : array of shape (n_predictions,), float64, in 0..1
    """
    success, competes = success_matrix(correlation, targets, allowed)
    n_competitors = competes.sum(axis=0)
    scores = np.full(len(n_competitors), np.nan)
    np.divide(success.sum(axis=0), n_competitors, out=scores, where=n_competitors > 0)
    return scores


def success_matrix(correlation, targets=None, allowed=None):
    """Every single comparison of two-way identification.

    >>> success, competes = success_matrix(np.array([[0.9, 0.2], [0.1, 0.1]]))
    >>> success
    array([[False, False],
           [ True, False]])

    Parameters
    ----------
    correlation : array of shape (n_references, n_predictions)
        As `correlation_matrix` gives them; NaN if undefined.
    targets, allowed
        As for `two_way_identification`.

    Returns
    -------
    success : boolean array of shape (n_references, n_predictions)
        Whether prediction j resembles its own reference more than reference i; False if i does not compete.
    competes : boolean array of shape (n_references, n_predictions)
        Whether reference i competes for prediction j. The own one never does.

    Raises
    ------
    InputError
        With fewer than two references, or with shapes or targets that do not match.
    """
    correlation = np.asarray(correlation)
    n_references, n_predictions = correlation.shape
    if targets is None:
        if n_references != n_predictions:
            raise InputError(
                f"There are {n_predictions} predictions for {n_references} references; "
                "say with targets= which prediction belongs to which."
            )
        targets = np.arange(n_predictions)
    if n_references < 2:
        raise InputError(f"Identification compares at least 2 stimuli, not {n_references}. Score more stimuli.")
    targets, columns = np.asarray(targets), np.arange(n_predictions)
    known = targets.dtype.kind in "iu" and ((targets >= 0) & (targets < n_references)).all()
    if targets.shape != columns.shape or not known:
        raise InputError(
            f"The targets are {targets.dtype} of shape {targets.shape} for {n_predictions} predictions of "
            f"{n_references} references; expected one row of the references, counted from 0, for each prediction. "
            "Look up the row of each prediction's own reference."
        )
    if allowed is None:
        competes = np.ones((n_references, n_predictions), dtype=bool)
    else:
        competes = np.array(allowed, dtype=bool)
        if competes.shape != (n_references, n_predictions):
            raise InputError(
                f"The mask of allowed pairs has shape {competes.shape}, expected "
                f"{(n_references, n_predictions)}: one row per reference, one column per prediction."
            )
    competes[targets, columns] = False
    # Comparisons with NaN are False: they fail, as published.
    success = correlation < correlation[targets, columns] - TIE
    success &= competes
    return success, competes


def n_way_identification(reference, predicted, targets=None, allowed=None, n_way=2, top_k=1, similarity="pearson"):
    """Probability that the own reference is among the `top_k` best of `n_way` candidates.

    The candidates are the own reference and `n_way` - 1 of its competitors, drawn without replacement. The published
    procedure draws them; here the probability is computed exactly, so that it has no seed. With m competitors, b of
    which resemble the prediction as much as the own reference does or more, the number of those among the drawn is
    hypergeometric, and the own reference is found if that number is below `top_k`. At `n_way` 2 and `top_k` 1 this is
    two-way identification.

    >>> n_way_identification(np.eye(5), np.eye(5), n_way=3)
    array([1., 1., 1., 1., 1.])

    Parameters
    ----------
    reference, predicted, targets, allowed, similarity
        As for `two_way_identification`.
    n_way : int
        Number of candidates, at least 2. If there are fewer, all of them are taken, which is easier: 300 candidates
        need 300 stimuli.
    top_k : int
        From 1 to `n_way` - 1.

    Returns
    -------
    scores : array of shape (n_predictions,), float64, in 0..1, chance `top_k` / `n_way`
        0 if the correlation with the own reference is undefined; NaN only if `allowed` leaves no competitor.

    Raises
    ------
    InputError
        As for `two_way_identification`, or if `n_way` and `top_k` leave nothing to fail at.
    """
    return n_way_rates(correlation_matrix(reference, predicted, similarity), targets, allowed, n_way, top_k)


def n_way_rates(correlation, targets=None, allowed=None, n_way=2, top_k=1):
    """n-way identification from correlations that are already there.

    >>> n_way_rates(np.array([[0.9, 0.2, 0.8], [0.1, 0.5, 0.3], [0.3, 0.1, 0.4]]), n_way=3, top_k=2)
    array([1., 1., 1.])

    Parameters
    ----------
    correlation : array of shape (n_references, n_predictions)
        As `correlation_matrix` gives them, or any similarity; NaN if undefined.
    targets, allowed, n_way, top_k
        As for `n_way_identification`.

    Returns
    -------
    scores : array of shape (n_predictions,), float64, in 0..1
    """
    n_way_chance(n_way, top_k)
    success, competes = success_matrix(correlation, targets, allowed)
    n_competitors, n_beaten = competes.sum(axis=0), success.sum(axis=0)
    targets = np.arange(len(n_beaten)) if targets is None else np.asarray(targets)
    defined = ~np.isnan(np.asarray(correlation)[targets, np.arange(len(n_beaten))])
    scores = np.full(len(n_beaten), np.nan)
    for column in np.flatnonzero(n_competitors):
        m, b = int(n_competitors[column]), int(n_competitors[column] - n_beaten[column])
        scores[column] = among_the_best(m, b, min(n_way - 1, m), top_k) if defined[column] else 0.0
    return scores


def rates_of_all_pairs(correlation, n_way=2, top_k=1):
    """What prediction j would score if row i were its own: `n_way_rates` for every assignment of predictions to references.

    How many others row i beats in column j does not depend on which row is the column's own, so that every permutation only picks
    other entries; the diagonal is `n_way_rates` itself.

    >>> rates_of_all_pairs(np.array([[0.9, 0.2], [0.1, 0.5]]))
    array([[1., 0.],
           [0., 1.]])

    Parameters
    ----------
    correlation : array of shape (n_stimuli, n_stimuli)
        NaN if undefined, which scores 0.
    n_way, top_k
        As for `n_way_identification`.

    Returns
    -------
    rates : array of shape (n_stimuli, n_stimuli), float64, in 0..1
    """
    n = len(correlation)
    beaten = np.empty((n, n), dtype=np.intp)
    for column, values in enumerate(correlation.T):
        # Those below by more than a tie; undefined ones are sorted to the end and are never below.
        beaten[:, column] = np.searchsorted(np.sort(values), values - TIE)
    # The rate of every count: in these columns the own row j beats just the j rows before it.
    by_count = n_way_rates(np.tile(np.arange(n, dtype=float)[:, None], (1, n)), n_way=n_way, top_k=top_k)
    rates = by_count[np.minimum(beaten, n - 1)]
    rates[np.isnan(correlation)] = 0.0
    return rates


def n_way_chance(n_way=2, top_k=1):
    """Expected score of `n_way_identification` for predictions that carry no information: `top_k` / `n_way`."""
    if n_way != int(n_way) or top_k != int(top_k) or not 1 <= top_k < n_way:
        raise InputError(
            f"The own reference is looked for among the {top_k} best of {n_way}; expected whole numbers, at least 2 "
            "candidates, and fewer best ones than candidates. Change n_way or top_k."
        )
    return top_k / n_way


def sampled_pools(correlation, n_way, repeats, seed, top_k=1):
    """Count how often predictions find their own reference in random pools, as MindEye (Scotti et al. 2023) scores it.

    `repeats` times, `n_way` stimuli are drawn without replacement. Each prediction among them is looked for in the pool:
    it is found if its own reference is among the `top_k` best of the pool. `n_way_rates` gives the limit of many pools.

    >>> found, drawn = sampled_pools(np.eye(4), n_way=3, repeats=10, seed=0)
    >>> float(found.sum() / drawn.sum())
    1.0

    Parameters
    ----------
    correlation : array of shape (n_stimuli, n_stimuli)
        Similarity of reference i with prediction j; j belongs to j. NaN fails.
    n_way : int
        Size of a pool, at least 2; all stimuli if there are fewer.
    repeats : int
        Number of pools, at least 1.
    seed : int
        Seeds a generator of its own.
    top_k : int
        From 1 to `n_way` - 1.

    Returns
    -------
    found : integer array of shape (n_stimuli,)
        In how many pools each was found.
    drawn : integer array of shape (n_stimuli,)
        In how many pools each was. The published score is ``found.sum() / drawn.sum()``, since all pools have one size.

    Raises
    ------
    InputError
        As for `n_way_identification`, or without a pool.
    """
    n_way_chance(n_way, top_k)
    if repeats < 1:
        raise InputError(f"Retrieval is repeated over {repeats} pools; expected at least 1. Change the repeats.")
    success, competes = success_matrix(correlation)
    defined = ~np.isnan(np.diagonal(np.asarray(correlation, dtype=np.float64)))
    random, n = np.random.default_rng(seed), len(success)
    found, drawn = np.zeros(n, dtype=np.intp), np.zeros(n, dtype=np.intp)
    for _ in range(repeats):
        pool = random.choice(n, size=min(n_way, n), replace=False)
        inside = np.ix_(pool, pool)
        found[pool] += ((competes[inside] & ~success[inside]).sum(axis=0) < top_k) & defined[pool]
        drawn[pool] += 1
    return found, drawn


@lru_cache(maxsize=2**16)
def among_the_best(n_competitors, n_better, n_drawn, top_k):
    """Probability that fewer than `top_k` of the drawn are among the better ones, rounded once.

    >>> among_the_best(n_competitors=4, n_better=1, n_drawn=2, top_k=1)
    0.5

    Parameters
    ----------
    n_competitors, n_better : int
        All others, and how many of them are better.
    n_drawn : int
        Of all others, without replacement.
    top_k : int

    Returns
    -------
    probability : float
    """
    n_worse = n_competitors - n_better
    ways = sum(comb(n_better, k) * comb(n_worse, n_drawn - k) for k in range(min(top_k, n_drawn + 1)))
    return ways / comb(n_competitors, n_drawn)
