"""Values that a decoder predicts, given the distribution of those that it was to predict.

Predictions are pulled to their mean. A network that reads them, such as a control net, knows maps of full contrast. So each
predicted value becomes the true value of the same rank:

    matched = Q_true(F_predicted(value)),

with distributions over all places of all training stimuli, predictions among them made by fits that had not seen the stimulus.
"""

from __future__ import annotations

import numpy as np

from stages.ground.checks import Number, check
from stages.ground.errors import InputError


def matching_table(predicted, true, n_quantiles=256):
    """Quantiles of predictions and of what they predict, by which `matched` goes.

    >>> true = np.linspace(0, 1, 1001)
    >>> table = matching_table(0.5 + 0.1 * (true - 0.5), true)
    >>> matched(np.float32([0.45, 0.5, 0.55]), table).round(3).tolist()
    [0.0, 0.5, 1.0]

    Parameters
    ----------
    predicted, true : array of the same shape
        Finite.
    n_quantiles : int

    Returns
    -------
    table : float32 array of shape (2, n_quantiles)
        Of predictions, and of true values, from the least to the largest.

    Raises
    ------
    InputError
        The shapes differ, or there is nothing.
    """
    check("n_quantiles", n_quantiles, Number(2, whole=True, example=256))
    predicted, true = np.asarray(predicted), np.asarray(true)
    if predicted.shape != true.shape or not predicted.size:
        raise InputError(
            f"Predictions have the shape {predicted.shape} and true values {true.shape}; expected the same one, and not empty."
        )
    shares = np.linspace(0, 1, n_quantiles)
    return np.stack([np.quantile(each.ravel(), shares) for each in (predicted, true)]).astype(np.float32)


def matched(values, table):
    """Give values the distribution of a `matching_table`; beyond its ends they are the least and the largest true value.

    Parameters
    ----------
    values : array of any shape
    table : array of shape (2, n_quantiles)

    Returns
    -------
    array of that shape, float32
    """
    predicted, true = table
    return np.interp(np.asarray(values, dtype=np.float64), predicted, true).astype(np.float32)
