"""Tokens that are kept as cues: those of which a classifier is surest, its scores divided by a temperature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from stages.ground.checks import Number, check
from stages.priors.masked_tokens import UNKNOWN

_TEMPERATURES = (0.05, 50.0)


def kept(scores: NDArray, share: float, temperature: float = 1.0) -> tuple[NDArray, NDArray]:
    """Keep the surest tokens of each picture.

    >>> scores = np.log([[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]])
    >>> kept(scores, share=2 / 3)[0].tolist()
    [[0, -1, 1]]

    Parameters
    ----------
    scores : array of shape (n, n_places, n_codes)
        Before the softmax.
    share : float
        round(share * n_places) places are kept; of equally sure ones the first.
    temperature : float
        Scores are divided by it.

    Returns
    -------
    cues : int array of shape (n, n_places)
        The most probable token, or -1.
    is_kept : bool array of shape (n, n_places)
    """
    check("share", share, Number(0, 1))
    n_kept = round(share * scores.shape[1])
    sureness = softmax(np.asarray(scores, dtype=np.float64) / temperature, axis=-1).max(axis=-1)
    order = np.argsort(-sureness, axis=1, kind="stable")[:, :n_kept]
    is_kept = np.zeros(scores.shape[:2], dtype=bool)
    np.put_along_axis(is_kept, order, True, axis=1)
    return np.where(is_kept, scores.argmax(axis=-1), UNKNOWN), is_kept


def weights(scores: NDArray, is_kept: NDArray, temperature: float = 1.0) -> NDArray:
    """Probabilities of all codes at kept places, and zeros at others: float32 (n, n_places, n_codes)."""
    found = softmax(np.asarray(scores, dtype=np.float64) / temperature, axis=-1)
    return np.where(is_kept[..., None], found, 0.0).astype(np.float32)


def temperature_of(scores: NDArray, tokens: NDArray) -> float:
    """The temperature by which true tokens become most probable, from 0.05 to 50 (Guo et al. 2017).

    >>> scores = 5 * np.log([[[0.8, 0.2]] * 5])
    >>> round(temperature_of(scores, np.array([[0, 0, 0, 0, 1]])), 2)
    5.0

    Parameters
    ----------
    scores : array of shape (n, n_places, n_codes)
        Of stimuli that the classifier has not learned from.
    tokens : int array of shape (n, n_places)
    """
    scores, rows = np.asarray(scores, dtype=np.float64), tokens[..., None]

    def surprise(log_temperature: float) -> float:
        logs = log_softmax(scores / np.exp(log_temperature), axis=-1)
        return -float(np.take_along_axis(logs, rows, axis=-1).mean())

    bounds = tuple(float(np.log(one)) for one in _TEMPERATURES)
    return float(np.exp(minimize_scalar(surprise, bounds=bounds, method="bounded").x))


def token_accuracy(scores: NDArray, tokens: NDArray, learned: NDArray) -> dict[str, float]:
    """How often tokens are told right, beside what needs no response: the most frequent token of each place.

    >>> scores = np.log([[[0.8, 0.2]] * 2])
    >>> found = token_accuracy(scores, np.array([[0, 1]]), learned=np.array([[1, 1], [1, 1], [0, 1]]))
    >>> found["right"], found["most frequent of the place"]
    (0.5, 0.5)

    Parameters
    ----------
    scores : array of shape (n, n_places, n_codes)
    tokens : int array of shape (n, n_places)
        True ones of the same stimuli, which the classifier has not learned from.
    learned : int array of shape (n_learned, n_places)
        True ones of those that it has.

    Returns
    -------
    shares : dict of str to float
        ``right``: the most probable token is the true one; ``right among five``: one of the five most probable is; ``most
        frequent of the place``: the one that is most frequent there among `learned`, the smallest of several, is.
    """
    n_codes = scores.shape[-1]
    five = np.argpartition(-scores, min(5, n_codes) - 1, axis=-1)[..., :5]
    frequent = np.array([np.bincount(place, minlength=n_codes).argmax() for place in learned.T])
    return {
        "right": float((scores.argmax(axis=-1) == tokens).mean()),
        "right among five": float((five == tokens[..., None]).any(axis=-1).mean()),
        "most frequent of the place": float((frequent == tokens).mean()),
    }
