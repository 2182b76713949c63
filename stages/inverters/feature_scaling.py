r"""Decoded features brought to the spread of true ones, and what each layer counts in a search.

Decoded features vary less than true ones. Shen and others (2019) and KamitaniLab's scripts after them give the features :math:`f`
of a layer the spread that the layer has over pictures, before a picture with these features is searched for. With the mean
:math:`m` over all units, the spread :math:`s` of the decoded features and the layer's usual one :math:`s_0`

.. math:: \text{feature\_std: } (f - m) / s \cdot \overline{s_0} + m \qquad \text{spread: } f / s \cdot \overline{s_0}

and with the mean :math:`y` of the training features, unit by unit, of :math:`d = f - y` with its own :math:`m_d` and :math:`s_d`

.. math::

    \text{feature\_std\_train\_mean\_center: } (d - m_d) / s_d \cdot \overline{s_0} + m_d + y \qquad
    \text{spread\_train\_mean\_center: } d / s \cdot s_0 + y

The spread of maps is the mean over channels of their standard deviations over places, that of other layers the standard
deviation over units; `spread` divides by their number n, the others by n - 1. Usual spreads are one number a layer, or one a
channel, of which only `spread_train_mean_center` makes use: the others take their mean. `spread` is what the paper's own scripts
do, with spreads that were averaged already; `feature_std` is Takagi and Nishimoto's, `feature_std_train_mean_center` the
brain-decoding-cookbook's, `spread_train_mean_center` that of spurious_reconstruction. The squared distance to the features of a
layer counts :math:`1 / |f|^2`, as a share of the sum over layers.
"""

from __future__ import annotations

import numpy as np

from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError

ABOUT_THE_TRAINING_MEAN = ("feature_std_train_mean_center", "spread_train_mean_center")
SCALINGS = ("feature_std", "spread", *ABOUT_THE_TRAINING_MEAN, "none")


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


def scaled(features, usual_spread, scaling="feature_std", mean=None):
    """Give features of one layer of one picture their usual spread.

    >>> scaled(np.array([1.0, 2.0, 3.0]), usual_spread=5.0).tolist()
    [-3.0, 2.0, 7.0]

    Parameters
    ----------
    features : array of shape (channels, height, width) or (values,)
    usual_spread : float or array
        Of true features: one number, or one a channel.
    scaling : {"feature_std", "spread", "feature_std_train_mean_center", "spread_train_mean_center", "none"}
    mean : array of the shape of `features`, optional
        Of the training features; only the two that centre on it take it.

    Returns
    -------
    features : float32 array of the same shape
        Features that do not vary stay as they are.

    Raises
    ------
    InputError
        There is no such scaling, or it needs the mean of the training features and has none of this shape.
    """
    check("scaling", scaling, OneOf(*SCALINGS))
    values = np.asarray(features, dtype=np.float64)
    if scaling == "none":
        return values.astype(np.float32)
    about = 0.0
    if scaling in ABOUT_THE_TRAINING_MEAN:
        if mean is None or np.shape(mean) != values.shape:
            raise InputError(
                f"scaling={scaling!r} has a training mean of shape {None if mean is None else np.shape(mean)} for features of "
                f"shape {values.shape}; expected one mean a value: pass that of the training features, or scaling='feature_std'."
            )
        about = np.asarray(mean, dtype=np.float64)
    difference = values - about
    own, usual = 0.0, np.mean(usual_spread, dtype=np.float64)
    if scaling.startswith("feature_std"):
        own, spread = difference.mean(), spread_of(difference, 1)
    elif scaling == "spread":
        spread = spread_of(values, 0)
    else:
        # Of the features themselves, which are not centred, as published.
        spread = spread_of(values, 1)
        usual = np.asarray(usual_spread, dtype=np.float64).reshape(-1, *(1,) * (values.ndim - 1))
    if not spread > 0:
        return values.astype(np.float32)
    return ((difference - own) * (usual / spread) + own + about).astype(np.float32)


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
