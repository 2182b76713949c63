"""Metrics on pixels: a shown and a reconstructed picture in, one score out."""

import numpy as np
from skimage.color import rgb2gray

from brainrecon.evaluation.metrics.correlation import as_rows, in_blocks, paired, row_correlation
from stages.ground.errors import InputError

# So many pictures are in memory as float64 at a time.
_PICTURES_PER_BLOCK = 64


def pixel_correlation(reference, predicted):
    """Pearson correlation of flattened pictures (PixCorr).

    >>> shown = np.random.default_rng(0).random((2, 16, 16, 3))
    >>> pixel_correlation(shown, 1 - shown).round(6)
    array([-1., -1.])

    Parameters
    ----------
    reference, predicted : arrays of shape (n_pictures, height, width, n_channels)
        Any numeric range; row i of one belongs to row i of the other.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, in -1..1
        0 if either picture is uniform: a uniform picture tells nothing, and its correlation is undefined.

    Raises
    ------
    InputError
        If the shapes differ, or a value is not finite.
    """
    return np.nan_to_num(row_correlation(reference, predicted), nan=0.0)


def mean_squared_error(reference, predicted):
    """Mean of the squared differences of all values of two pictures: ``MSE = mean((reference - predicted)²)``.

    >>> mean_squared_error(np.zeros((1, 2, 2, 3)), np.full((1, 2, 2, 3), 0.5))
    array([0.25])

    Parameters
    ----------
    reference, predicted : arrays of shape (n_pictures, height, width, n_channels), in 0..1
        Row i of one belongs to row i of the other.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, in 0..1
        0 for equal pictures: lower is better.

    Raises
    ------
    InputError
        If the shapes differ, or a value is not finite or outside 0..1.
    """
    sides = [as_rows(side) for side in paired(reference, predicted)]
    scores = np.empty(len(sides[0]))
    for start in range(0, len(scores), _PICTURES_PER_BLOCK):
        rows = slice(start, start + _PICTURES_PER_BLOCK)
        for side in sides:
            refuse_outside(side[rows].min(axis=1), side[rows].max(axis=1), "Mean squared error")
        shown, drawn = (side[rows].astype(np.float64) for side in sides)
        scores[rows] = ((shown - drawn) ** 2).mean(axis=1)
    return scores


def binary_accuracy(reference, predicted, threshold=0.5):
    """Fraction of pixels that are on in both pictures or off in both.

    >>> binary_accuracy(np.array([[[[1.0], [0.0]]]]), np.array([[[[1.0], [1.0]]]]))
    array([0.5])

    Parameters
    ----------
    reference, predicted : arrays of shape (n_pictures, height, width, n_channels), in 0..1
        Three channels or one. A pixel is on if its grey value (`rgb2gray`) is above the threshold.
    threshold : float
        Grey value in 0..1.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, in 0..1

    Raises
    ------
    InputError
        If the shapes differ, a value is not finite or outside 0..1, or pictures have another number of channels.
    """
    both, shown, drawn, n_pixels = _on_pixels(reference, predicted, threshold)
    return (n_pixels - shown - drawn + 2 * both) / n_pixels


def majority_of_pictures(reference, threshold=0.5):
    """The one picture that has the highest `binary_accuracy` for all references: on where most of them are.

    >>> majority_of_pictures(np.array([[[[1.0], [0.0]]], [[[1.0], [1.0]]], [[[0.0], [0.0]]]])).tolist()
    [[[1.0], [0.0]]]

    Parameters
    ----------
    reference : array of shape (n_pictures, height, width, n_channels), in 0..1
    threshold : float

    Returns
    -------
    picture : array of shape (height, width, n_channels), float64, 0 or 1
        Off where as many are on as off.
    """
    reference = np.asarray(reference)
    grey = rgb2gray(reference) if reference.shape[-1] == 3 else reference[..., 0]
    on = (grey > threshold).mean(axis=0) > 0.5
    return np.repeat(on[..., None], reference.shape[-1], axis=-1).astype(np.float64)


def mean_of_pictures(reference):
    """The one picture that has the least `mean_squared_error` for all references: their mean.

    >>> mean_of_pictures(np.array([[[[1.0]]], [[[0.5]]]])).tolist()
    [[[0.75]]]

    Parameters
    ----------
    reference : array of shape (n_pictures, height, width, n_channels), in 0..1

    Returns
    -------
    picture : array of shape (height, width, n_channels), float64
    """
    return np.asarray(reference).mean(axis=0, dtype=np.float64)


def binary_precision(reference, predicted, threshold=0.5):
    """Fraction of the pixels that are on in the prediction that are on in the reference.

    0 if the prediction has no pixel on, also when the reference has none: scikit-learn's `zero_division=0`.

    Parameters, returns and errors as for `binary_accuracy`.
    """
    both, _, drawn, _ = _on_pixels(reference, predicted, threshold)
    return _ratio(both, drawn)


def binary_recall(reference, predicted, threshold=0.5):
    """Fraction of the pixels that are on in the reference that are on in the prediction.

    0 if the reference has no pixel on: scikit-learn's `zero_division=0`.

    Parameters, returns and errors as for `binary_accuracy`.
    """
    both, shown, _, _ = _on_pixels(reference, predicted, threshold)
    return _ratio(both, shown)


def binary_f1(reference, predicted, threshold=0.5):
    """Harmonic mean of `binary_precision` and `binary_recall`.

    0 if neither picture has a pixel on: scikit-learn's `zero_division=0`.

    Parameters, returns and errors as for `binary_accuracy`.
    """
    both, shown, drawn, _ = _on_pixels(reference, predicted, threshold)
    return _ratio(2 * both, shown + drawn)


def _on_pixels(reference, predicted, threshold):
    """Numbers of pixels that are on in both, in the reference, in the prediction, (n,) each; and of all pixels."""
    reference, predicted = paired(reference, predicted)
    if reference.ndim != 4 or reference.shape[-1] not in (1, 3) or 0 in reference.shape[1:]:
        raise InputError(
            f"Binary patterns are pictures of shape (n, height, width, 3 or 1), not {reference.shape}. Add the axis of "
            "channels, or drop those that are no colours."
        )
    if not 0 <= threshold <= 1:
        raise InputError(f"The threshold of binary patterns is {threshold}; expected a grey value in 0..1. Change it.")
    counts, extremes = np.empty((3, len(reference))), np.empty((2, 2, len(reference)))

    def count(rows):
        on = []
        for side, pictures in enumerate((reference[rows], predicted[rows])):
            extremes[side, :, rows] = pictures.min(axis=(1, 2, 3)), pictures.max(axis=(1, 2, 3))
            pictures = pictures.astype(np.float64)
            on.append((rgb2gray(pictures) if pictures.shape[-1] == 3 else pictures[..., 0]) > threshold)
        for row, pattern in enumerate((on[0] & on[1], *on)):
            counts[row, rows] = pattern.sum(axis=(1, 2))

    in_blocks(count, len(reference), reference[:1].size)
    for low, high in extremes:
        refuse_outside(low, high, "Comparing binary patterns")
    return *counts, float(np.prod(reference.shape[1:3]))


def _ratio(part, whole):
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def refuse_outside(low, high, what):
    """Refuse pictures whose lowest and highest values, (n,) each, are not finite or outside 0..1."""
    finite = np.isfinite(low) & np.isfinite(high)
    if not finite.all():
        raise InputError(
            f"{int((~finite).sum())} of {len(finite)} pictures hold NaN or infinite values; expected finite numbers. "
            "Look at what produced them."
        )
    if len(low) and (low.min() < 0 or high.max() > 1):
        raise InputError(
            f"{what} takes pictures in 0..1, these run from {low.min():.4g} to {high.max():.4g}. "
            "Divide 8-bit pictures by 255."
        )
