"""SSIM of colour pictures, as scikit-image computes it by default, of pairs and of all pictures with all others."""

import numpy as np
from scipy.ndimage import uniform_filter

from brainrecon.evaluation.metrics.correlation import in_blocks, paired
from stages.ground.errors import InputError

_WINDOW = 7
_C1, _C2 = 0.01**2, 0.03**2
# Sample covariance.
_UNBIASED = _WINDOW**2 / (_WINDOW**2 - 1)


def structural_similarity_of_colours(reference, predicted):
    """SSIM over windows of 7 x 7 pixels of each colour, averaged over colours: what MinD-Vis (Chen et al. 2023) publishes.

    It is `skimage.metrics.structural_similarity` with ``channel_axis=-1`` and all else by default: windows weigh alike, sample
    covariance, data range 1 of pictures in 0..1.

    >>> shown = np.random.default_rng(0).random((2, 16, 16, 3))
    >>> structural_similarity_of_colours(shown, shown).round(6)
    array([1., 1.])

    Parameters
    ----------
    reference, predicted : arrays of shape (n_pictures, height, width, 3), floating point in 0..1
        At least 7 pixels on each side.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, in -1..1

    Raises
    ------
    InputError
        If the shapes differ, or pictures are too small.
    """
    reference, predicted = paired(reference, predicted)
    _check(reference)
    scores = np.empty(len(reference))

    def compare(rows):
        for row in range(rows.start, rows.stop):
            scores[row] = _similarity(_windows(reference[row]), _windows(predicted[row]))

    in_blocks(compare, len(reference), reference[:1].size)
    return scores


def colour_similarities(reference, predicted):
    """The same of every picture of one array with every picture of another.

    >>> shown = np.random.default_rng(0).random((2, 16, 16, 3))
    >>> colour_similarities(shown, shown[:1]).shape
    (2, 1)

    Parameters
    ----------
    reference : array of shape (n_references, height, width, 3), floating point in 0..1
    predicted : array of shape (n_predictions, height, width, 3)

    Returns
    -------
    similarities : array of shape (n_references, n_predictions), float64
    """
    reference, predicted = np.asarray(reference), np.asarray(predicted)
    _check(reference)
    kept = [_windows(picture) for picture in reference]
    found = np.empty((len(reference), len(predicted)))

    def compare(columns):
        for column in range(columns.start, columns.stop):
            own = _windows(predicted[column])
            found[:, column] = [_similarity(one, own) for one in kept]

    in_blocks(compare, len(predicted), reference.size)
    return found


def _check(pictures):
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or min(pictures.shape[1:3]) < _WINDOW:
        raise InputError(
            f"SSIM of colours takes pictures of shape (n, height, width, 3) and at least {_WINDOW} pixels a side, not "
            f"{pictures.shape}. Enlarge them, or choose a protocol with a larger size."
        )


def _means(values):
    """Means in the windows that lie inside a picture."""
    border = _WINDOW // 2
    return uniform_filter(values, size=(_WINDOW, _WINDOW, 1))[border:-border, border:-border]


def _windows(picture):
    """A picture in float64, its means in windows, and its variances there."""
    picture = np.asarray(picture, dtype=np.float64)
    mean = _means(picture)
    return picture, mean, _UNBIASED * (_means(picture**2) - mean**2)


def _similarity(one, other):
    (first, mean, variance), (second, other_mean, other_variance) = one, other
    product = mean * other_mean
    covariance = _UNBIASED * (_means(first * second) - product)
    above = (2 * product + _C1) * (2 * covariance + _C2)
    below = (mean**2 + other_mean**2 + _C1) * (variance + other_variance + _C2)
    return float((above / below).mean())
