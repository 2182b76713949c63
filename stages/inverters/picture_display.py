"""A picture that was searched for, as 8 bit."""

from __future__ import annotations

import numpy as np


def displayed(greys, clip=4.0, rounded=False, limits_of=None):
    """Make 8 bit of a picture: extremes are cut off, and the rest is stretched from black to white.

    >>> displayed(np.linspace(-300.0, 500.0, 48).reshape(4, 4, 3), clip=0)[[0, -1], [0, -1]].tolist()
    [[0, 5, 10], [244, 249, 255]]

    Parameters
    ----------
    greys : array of shape (height, width, 3)
        On any scale.
    clip : float
        Percent of all values, in the three colours together; half of them at either end.
    rounded : bool
        Or cut off, as published.
    limits_of : array of shape (other height, other width, 3), optional
        The picture whose extremes they are, if it is another, such as a larger one.

    Returns
    -------
    picture : uint8 array of shape (height, width, 3)
        Black if all values are equal.
    """
    low, high = np.percentile(greys if limits_of is None else limits_of, [clip / 2, 100 - clip / 2])
    values = np.clip(np.asarray(greys, dtype=np.float64), low, high) - low
    values = 255 * (values / (high - low)) if high > low else values
    return (np.rint(values) if rounded else values).astype(np.uint8)
