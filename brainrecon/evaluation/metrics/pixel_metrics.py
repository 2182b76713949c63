"""Metrics on pixels: a shown and a reconstructed picture in, one score out."""

from threading import local

import numpy as np
from numpy.lib.stride_tricks import as_strided
from skimage.color import rgb2gray

from brainrecon.evaluation.metrics.correlation import as_rows, in_blocks, paired, row_correlation
from stages.ground.errors import InputError

_GREY = np.array([0.2125, 0.7154, 0.0721])  # as scikit-image's rgb2gray
_RADIUS = 5  # 3.5 standard deviations of 1.5, as scikit-image truncates
_TAPS = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / 1.5) ** 2)
_TAPS /= _TAPS.sum()
_WINDOW = len(_TAPS)
_C1, _C2 = 0.01**2, 0.03**2

# So many pictures are in memory as float64 at a time.
_PICTURES_PER_BLOCK = 64

# The Gaussian is a product with a band matrix, this many lines at a time: few zeros are multiplied, and the products
# are too small for a BLAS to split over threads, which would wait for each other.
_LINES = 16
_LENGTH = 512
_BAND = np.zeros((_LINES, _LINES + _WINDOW - 1))
for _line in range(_LINES):
    _BAND[_line, _line : _line + _WINDOW] = _TAPS
_BAND_T = np.ascontiguousarray(_BAND.T)


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


def structural_similarity(reference, predicted):
    """SSIM of grey pictures (Wang et al. 2004) in the form this field publishes.

    `rgb2gray` of both, Gaussian weights of sigma 1.5 on 11 x 11 pixels, population covariance, data range 1, averaged
    over the windows that lie inside the picture: `skimage.metrics.structural_similarity` with these settings, in
    float64. (The published code passes a multichannel flag for what is a grey picture; `channel_axis=None` is what that
    amounts to.) A picture's score depends neither on the other pictures nor on the number of threads.

    >>> shown = np.random.default_rng(0).random((2, 16, 16, 3))
    >>> structural_similarity(shown, shown).round(6)
    array([1., 1.])

    Parameters
    ----------
    reference, predicted : arrays of shape (n_pictures, height, width, 3), floating point in 0..1
        At least 11 pixels on each side, the width of the Gaussian window.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, in -1..1

    Raises
    ------
    InputError
        If the shapes differ, or a value is not finite or outside 0..1.
    """
    reference, predicted = paired(reference, predicted)
    if reference.ndim != 4 or reference.shape[-1] != 3 or min(reference.shape[1:3]) < _WINDOW:
        raise InputError(
            f"SSIM takes pictures of shape (n, height, width, 3) and at least {_WINDOW} pixels a side, not "
            f"{reference.shape}. Enlarge them, or choose a protocol with a larger size."
        )
    scores, extremes = np.empty(len(reference)), np.empty((2, 2, len(reference)))
    own = local()

    def compare(rows):
        if not hasattr(own, "windows"):
            own.windows = _Windows(*reference.shape[1:3])
        for row in range(rows.start, rows.stop):
            for side, pictures in enumerate((reference, predicted)):
                extremes[side, :, row] = pictures[row].min(), pictures[row].max()
            scores[row] = own.windows.similarity(reference[row], predicted[row])

    in_blocks(compare, len(reference), reference[:1].size)
    for low, high in extremes:
        _refuse_outside(low, high, "SSIM")
    return scores


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
            _refuse_outside(side[rows].min(axis=1), side[rows].max(axis=1), "Mean squared error")
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


class _Windows:
    """SSIM of one pair of pictures after another, in memory that is used again.

    Of both pictures' Gaussian windows the map needs their means, the mean of the sum of squares, and that of the product.
    Only windows inside the picture count, so that no border has to be made up.
    """

    def __init__(self, height, width):
        self._shape = height, width
        self._inside = rows, columns = height - _WINDOW + 1, width - _WINDOW + 1
        n_rows, n_columns = -(-rows // _LINES), -(-columns // _LINES)
        full = n_rows * _LINES + _WINDOW - 1, n_columns * _LINES + _WINDOW - 1
        self._values = np.empty((height, width, 3))
        self._maps = np.zeros((4, *full))
        self._filtered = np.empty((4, n_rows, _LINES, full[1]))
        self._windows, self._means = np.empty((4, n_columns, rows, _LINES)), np.empty((n_columns, rows, _LINES))
        picture, line, item = self._maps.strides
        self._down = as_strided(
            self._maps, (4, n_rows, _LINES + _WINDOW - 1, full[1]), (picture, line * _LINES, line, item)
        )
        lines = self._filtered.reshape(4, n_rows * _LINES, full[1])
        picture, line, item = lines.strides
        self._across = as_strided(
            lines, (4, n_columns, rows, _LINES + _WINDOW - 1), (picture, item * _LINES, line, item)
        )

    def similarity(self, reference, predicted):
        """SSIM of two pictures of shape (height, width, 3)."""
        height, width = self._shape
        one, other, squares, product = self._maps[:, :height, :width]
        for grey, picture in ((one, reference), (other, predicted)):
            np.copyto(self._values, picture)
            np.matmul(self._values, _GREY, out=grey)
        np.multiply(one, one, out=squares)
        squares += np.multiply(other, other, out=product)
        np.multiply(one, other, out=product)
        product *= 2
        self._blur()
        return self._mean_of_map()

    def _blur(self):
        for start in range(0, self._down.shape[-1], _LENGTH):
            part = slice(start, start + _LENGTH)
            np.matmul(_BAND, self._down[..., part], out=self._filtered[..., part])
        for start in range(0, self._across.shape[2], _LENGTH):
            part = slice(start, start + _LENGTH)
            np.matmul(self._across[:, :, part], _BAND_T, out=self._windows[:, :, part])

    def _mean_of_map(self):
        """Mean of (2 ab + C1)(2 cov + C2) / ((a² + b² + C1)(var a + var b + C2)) with a and b the windows' means."""
        one, other, squares, product = self._windows
        means = np.multiply(one, other, out=self._means)
        means *= 2
        product -= means
        product += _C2
        means += _C1
        means *= product
        one *= one
        other *= other
        one += other
        squares -= one
        squares += _C2
        one += _C1
        one *= squares
        means /= one
        rows, columns = self._inside
        surplus = means.shape[0] * _LINES - columns
        return (means[:-1].sum() + means[-1, :, : _LINES - surplus].sum()) / (rows * columns)


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
        _refuse_outside(low, high, "Comparing binary patterns")
    return *counts, float(np.prod(reference.shape[1:3]))


def _ratio(part, whole):
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _refuse_outside(low, high, what):
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
