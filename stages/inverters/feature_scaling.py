r"""Decoded features brought to the spread of true ones, and what each layer counts in a search.

Decoded features vary less than true ones. Shen and others (2019) and KamitaniLab's scripts after them give the features :math:`f`
of a layer the spread that the layer has over pictures, before a picture with these features is searched for. With the mean
:math:`m` over all units, the spread :math:`s` of the decoded features and the layer's usual one :math:`s_0`

.. math:: \text{feature\_std: } (f - m) / s \cdot s_0 + m \qquad \text{spread: } f / s \cdot s_0

The spread of maps is the mean over channels of their standard deviations over places, that of other layers the standard
deviation over units; `spread` divides by their number n, `feature_std` by n - 1. The squared distance to the features of a layer
counts :math:`1 / |f|^2`, as a share of the sum over layers.
"""

from __future__ import annotations

import numpy as np

from stages.ground.checks import OneOf, check

SCALINGS = ("feature_std", "spread", "none")
_DEGREES = {"feature_std": 1, "spread": 0}


def spread_of(features, ddof=1):
    """Return the spread of one layer's features of one picture.

    >>> spread_of(np.array([[[1.0, 3.0]], [[0.0, 6.0]]]), ddof=0)
    2.0

    Parameters
    ----------
    features : array of shape (channels, height, width) or (values,)
    ddof : int
        What is taken off the number that is divided by.

    Returns
    -------
    float
        NaN if a channel has no more than `ddof` places.
    """
    values = np.asarray(features, dtype=np.float64)
    rows = values.reshape(len(values), -1) if values.ndim > 1 else values[None]
    if rows.shape[1] <= ddof:
        return float("nan")
    return float(rows.std(axis=1, ddof=ddof).mean())


def scaled(features, usual_spread, scaling="feature_std", centre=None):
    """Give features of one layer of one picture their usual spread.

    >>> scaled(np.array([1.0, 2.0, 3.0]), usual_spread=5.0).tolist()
    [-3.0, 2.0, 7.0]

    Parameters
    ----------
    features : array of shape (channels, height, width) or (values,)
    usual_spread : float
        Of true features, averaged over channels.
    scaling : {"feature_std", "spread", "none"}
    centre : array of the shape of `features`, optional
        Taken off before and added again, such as the mean of the training features.

    Returns
    -------
    features : float32 array of the same shape
        Features that do not vary stay as they are.
    """
    check("scaling", scaling, OneOf(*SCALINGS))
    values = np.asarray(features, dtype=np.float64)
    if scaling == "none":
        return values.astype(np.float32)
    centre = 0.0 if centre is None else np.asarray(centre, dtype=np.float64)
    values = values - centre
    mean = values.mean() if scaling == "feature_std" else 0.0
    spread = spread_of(values, _DEGREES[scaling])
    factor = usual_spread / spread if spread > 0 else 1.0
    return ((values - mean) * factor + mean + centre).astype(np.float32)


def layer_weights(features):
    """Return what the squared distance of each layer counts.

    >>> layer_weights({"conv1_1": np.array([1.0, 0.0]), "fc8": np.array([0.0, 0.5])})
    {'conv1_1': 0.2, 'fc8': 0.8}

    Parameters
    ----------
    features : mapping of str to array
        By layer, scaled.

    Returns
    -------
    weights : dict of str to float
        Their sum is 1. A layer of zeros alone counts for all.
    """
    squares = {name: float(np.square(values, dtype=np.float64).sum()) for name, values in features.items()}
    weights = {name: 1 / max(square, float(np.finfo(np.float32).tiny)) for name, square in squares.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
