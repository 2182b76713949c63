"""Identification of the category of what was seen or imagined, among averages of many categories.

The rate of a prediction is the share of the other candidates that do not resemble it more than its own category does::

    rate = (n_candidates - 1 - #{candidates with r > r(own)}) / (n_candidates - 1)

as Horikawa and Kamitani (2017) have it: a tie is no failure.
"""

import numpy as np

from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.evaluation.metrics.identification import TIE
from stages.ground.class_labels import category_of
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

TIES = ("succeed", "fail")


def category_identification(predicted, candidates, own, own_candidates=None, ties="succeed", similarity="pearson"):
    """Identification rate of each prediction among the averages of categories.

    >>> candidates = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> category_identification(np.float32([[9, 1, 2], [4, 4, 1]]), candidates, own=[0, 2])
    array([1., 0.])

    Parameters
    ----------
    predicted : array of shape (n_predictions, n_values)
        Finite numbers.
    candidates : array of shape (n_candidates, n_values)
        Those that hold NaN, and those with which no correlation is defined, are left out.
    own : sequence of int, length n_predictions
        Row of the category of each prediction's stimulus.
    own_candidates : array of shape (n_predictions, n_values), optional
        What stands for the own category in place of its row, such as its average without the picture that was seen.
    ties : {"succeed", "fail"}
        Whether a candidate that resembles a prediction as much as the own one counts as beaten, as published.
    similarity : {"pearson", "cosine"}

    Returns
    -------
    rates : float64 array of shape (n_predictions,), 0 to 1, chance 0.5
        0 for a prediction that is constant; NaN if the own candidate is left out.

    Raises
    ------
    InputError
        Shapes or rows do not fit, fewer than two candidates are left, or `ties` or `similarity` is unknown.
    """
    rates = category_rates_of_all_pairs(predicted, candidates, own, own_candidates, ties, similarity)
    return rates.diagonal().copy()


def category_rates_of_all_pairs(predicted, candidates, own, own_candidates=None, ties="succeed", similarity="pearson"):
    """What each prediction would have as its rate if it were of each stimulus.

    >>> candidates = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> category_rates_of_all_pairs(np.float32([[9, 1, 2], [4, 5, 1]]), candidates, own=[0, 1])
    array([[1. , 0.5],
           [0. , 1. ]])

    Parameters
    ----------
    predicted, candidates, own, own_candidates, ties, similarity
        As of `category_identification`.

    Returns
    -------
    rates : float64 array of shape (n_predictions, n_predictions)
        Stimuli by rows, predictions by columns.
    """
    if ties not in TIES:
        raise InputError(f"ties is {ties!r}; expected one of {', '.join(TIES)}{did_you_mean(ties, TIES)}.")
    candidates, own = np.asarray(candidates), np.asarray(own)
    n_candidates = len(candidates)
    if own.shape != (len(predicted),) or own.dtype.kind not in "iu" or not ((own >= 0) & (own < n_candidates)).all():
        raise InputError(
            f"The categories of {len(predicted):,} predictions are {own.dtype} of shape {own.shape}; expected the row of each "
            f"one's own among the {n_candidates:,} candidates, counted from 0."
        )
    similar = _similar(candidates, predicted, similarity)
    # A prediction that is constant has no correlation with anything, and tells nothing of the candidates.
    silent = np.isnan(similar).all(axis=0)
    usable = _defined(candidates, similar, silent)
    n_usable = int(usable.sum())
    if n_usable < 2:
        raise InputError(
            f"{n_usable} of {n_candidates:,} candidates can be compared with; expected 2 or more categories."
        )
    if own_candidates is None:
        own_similar, scored = similar[own], usable[own]
    else:
        if np.shape(own_candidates) != np.shape(predicted):
            raise InputError(
                f"Own candidates have shape {np.shape(own_candidates)} but predictions {np.shape(predicted)}; give one for each."
            )
        own_similar = _similar(own_candidates, predicted, similarity)
        scored = usable[own] & _defined(own_candidates, own_similar, silent)
    rates = np.zeros((len(own), len(own)))
    for column in np.flatnonzero(~silent):
        order, wanted = np.sort(similar[usable, column]), own_similar[:, column]
        bars, side = (wanted + TIE, "right") if ties == "succeed" else (wanted - TIE, "left")
        above = n_usable - np.searchsorted(order, bars, side=side)
        # The own category, as it stands among the candidates, does not compete with itself.
        itself = similar[own, column]
        above -= itself > bars if ties == "succeed" else itself >= bars
        rates[:, column] = (n_usable - 1 - above) / (n_usable - 1)
    rates[~scored] = np.nan
    return rates


def first_label(references, candidates):
    r"""Whether the first of several names is the right one: 1.0 if it is, 0.0 if it is not.

    >>> first_label([["n02951358 canoe"], ["boat"]], ["n02951358 canoe\nboat", "fish\nboat"])
    array([1., 0.])

    Parameters
    ----------
    references : sequence of sequence of str
        The names of what was shown; a synset's number says more than its words.
    candidates : sequence of str
        Names, one in each line, the likeliest first.

    Returns
    -------
    scores : float64 array of shape (n_stimuli,), 0 or 1
    """
    right = [{category_of(label) for label in own} for own in references]
    first = [category_of(next(iter(text.splitlines()), "")) for text in candidates]
    return np.array([float(name in own) for own, name in zip(right, first, strict=True)], dtype=np.float64)


def _similar(rows, predicted, similarity):
    """Similarity of each row with every prediction; NaN if it is not defined."""
    rows = np.asarray(rows)
    similar = np.full((len(rows), len(predicted)), np.nan)
    finite = np.isfinite(rows).all(axis=1)
    if finite.any():
        similar[finite] = correlation_matrix(rows[finite], predicted, similarity)
    return similar


def _defined(rows, similar, silent):
    """Rows that are finite, and that a similarity with predictions is defined of."""
    return np.isfinite(rows).all(axis=1) & ~np.isnan(similar[:, ~silent]).any(axis=1)
