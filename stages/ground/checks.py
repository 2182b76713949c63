"""Checks of what was given, each with its sentence: what is wrong with both values, what was expected, what to type."""

from __future__ import annotations

import numpy as np

from stages.ground.errors import InputError


def uint8_picture(picture, taker="what takes it"):
    """Return a picture as an array; InputError unless it is uint8 of shape (height, width, 3).

    >>> uint8_picture(np.zeros((4, 4, 3), np.uint8)).shape
    (4, 4, 3)

    Parameters
    ----------
    picture : array-like
    taker : str
        Who takes only such pictures, for the message: "the VDVAE".
    """
    return _uint8("The picture is", picture, "(height, width, 3)", 3, taker)


def uint8_pictures(pictures, taker="what takes them"):
    """Return pictures as an array; InputError unless they are uint8 of shape (n, height, width, 3).

    >>> uint8_pictures(np.zeros((2, 4, 4)), "CLIP")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    stages.ground.errors.InputError: Pictures are float64 of shape (2, 4, 4) but CLIP takes uint8 of shape (n, height, ...
    """
    return _uint8("Pictures are", pictures, "(n, height, width, 3)", 4, taker)


def _uint8(found, values, shape, n_axes, taker):
    values = np.asarray(values)
    if values.dtype != np.uint8 or values.ndim != n_axes or values.shape[-1] != 3 or 0 in values.shape[-3:]:
        pronoun = "them" if found.endswith("are") else "it"
        raise InputError(
            f"{found} {values.dtype} of shape {values.shape} but {taker} takes uint8 of shape {shape}; convert {pronoun} first."
        )
    return values
