"""SSIM of grey pictures (Wang et al. 2004), in the two forms that this field publishes under one name.

Both are `skimage.metrics.structural_similarity` of what `rgb2gray` makes of the pictures, with Gaussian weights of sigma 1.5 on
11 pixels, population covariance and data range 1, in float64, averaged over the windows that lie inside the picture:

    mean of (2 ab + C1)(2 cov + C2) / ((a² + b² + C1)(var a + var b + C2)),   a and b the means in a window.

Published code passes ``multichannel=True`` for pictures that are grey by then. In scikit-image 0.17.2, which Brain-Diffuser's
environment names, that flag takes each column of the picture for a channel of its own: windows are 11 pixels of one column,
and the score is the mean over columns (``channel_axis=-1`` today). From 0.20 on the flag is ignored, and windows are 11 x 11
pixels (``channel_axis=None``). The first is the higher number wherever columns are smoother than pictures.
"""

from threading import local

import numpy as np
from numpy.lib.stride_tricks import as_strided

from brainrecon.evaluation.metrics.correlation import in_blocks, paired
from brainrecon.evaluation.metrics.pixel_metrics import refuse_outside
from stages.ground.errors import InputError

_GREY = np.array([0.2125, 0.7154, 0.0721])  # as scikit-image's rgb2gray
_RADIUS = 5  # 3.5 standard deviations of 1.5, as scikit-image truncates
_TAPS = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / 1.5) ** 2)
_TAPS /= _TAPS.sum()
_WINDOW = len(_TAPS)
_C1, _C2 = 0.01**2, 0.03**2

# The Gaussian is a product with a band matrix, this many lines at a time: few zeros are multiplied, and the products
# are too small for a BLAS to split over threads, which would wait for each other.
_LINES = 16
_LENGTH = 512
_BAND = np.zeros((_LINES, _LINES + _WINDOW - 1))
for _line in range(_LINES):
    _BAND[_line, _line : _line + _WINDOW] = _TAPS
_BAND_T = np.ascontiguousarray(_BAND.T)


def structural_similarity(reference, predicted):
    """SSIM over windows of 11 x 11 pixels: what scikit-image from 0.20 on computes, and MindEye publishes.

    A picture's score depends neither on the other pictures nor on the number of threads.

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
    return _similarities(reference, predicted, _Windows)


def structural_similarity_of_columns(reference, predicted):
    """SSIM over windows of 11 pixels of a column: what scikit-image 0.17.2 makes of a grey picture and ``multichannel=True``.

    The mean over all columns of the SSIM of each as a row of numbers; neighbouring columns are never compared.

    >>> shown = np.random.default_rng(0).random((2, 16, 16, 3))
    >>> structural_similarity_of_columns(shown, shown).round(6)
    array([1., 1.])

    Parameters
    ----------
    reference, predicted : arrays of shape (n_pictures, height, width, 3), floating point in 0..1
        At least 11 pixels on each side, as for `structural_similarity`.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, in -1..1

    Raises
    ------
    InputError
        If the shapes differ, or a value is not finite or outside 0..1.
    """
    return _similarities(reference, predicted, _WindowsOfColumns)


def ssim_beside(reference):
    """SSIM of any pictures beside these: `structural_similarity`, with what depends on the reference alone computed once.

    >>> shown = np.random.default_rng(0).random((2, 16, 16, 3))
    >>> bool((ssim_beside(shown)(shown[::-1], [1, 0]) == structural_similarity(shown, shown)[::-1]).all())
    True

    Parameters
    ----------
    reference : array of shape (n_references, height, width, 3), floating point in 0..1
        It is kept as grey pictures and their means in windows, float64: 16 bytes a pixel.

    Returns
    -------
    compare : callable
        ``compare(predicted, rows)`` gives the scores of pictures (n, height, width, 3), each beside the reference in its
        row: float64 (n,), the same to the last digit.
    """
    return _Beside(reference, _Windows)


def ssim_of_columns_beside(reference):
    """`structural_similarity_of_columns` of any pictures beside these, as `ssim_beside`."""
    return _Beside(reference, _WindowsOfColumns)


def _similarities(reference, predicted, windows):
    """A score per pair of pictures, by what one class of windows says of it."""
    reference, predicted = paired(reference, predicted)
    _check_shape(reference)
    scores, extremes = np.empty(len(reference)), np.empty((2, 2, len(reference)))
    own = local()

    def compare(rows):
        if not hasattr(own, "windows"):
            own.windows = windows(*reference.shape[1:3])
        for row in range(rows.start, rows.stop):
            for side, pictures in enumerate((reference, predicted)):
                extremes[side, :, row] = pictures[row].min(), pictures[row].max()
            scores[row] = own.windows.similarity(own.windows.of_reference(reference[row]), predicted[row])

    in_blocks(compare, len(reference), reference[:1].size)
    for low, high in extremes:
        refuse_outside(low, high, "SSIM")
    return scores


class _Beside:
    """What windows keep of references, and the scores of other pictures beside these."""

    def __init__(self, reference, windows):
        reference = np.asarray(reference)
        _check_shape(reference)
        _refuse_values(reference)
        self._shape, self._new_windows = reference.shape, windows
        own = windows(*reference.shape[1:3])
        self._kept = [tuple(part.copy() for part in own.of_reference(picture)) for picture in reference]

    def __call__(self, predicted, rows):
        predicted = np.asarray(predicted)
        paired(np.broadcast_to(np.uint8(0), (len(rows), *self._shape[1:])), predicted)
        _refuse_values(predicted)
        own = self._new_windows(*self._shape[1:3])
        return np.array([own.similarity(self._kept[row], picture) for row, picture in zip(rows, predicted)])


def _check_shape(pictures):
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or min(pictures.shape[1:3]) < _WINDOW:
        raise InputError(
            f"SSIM takes pictures of shape (n, height, width, 3) and at least {_WINDOW} pixels a side, not "
            f"{pictures.shape}. Enlarge them, or choose a protocol with a larger size."
        )


def _refuse_values(pictures):
    refuse_outside(*(np.array([end(picture) for picture in pictures]) for end in (np.min, np.max)), "SSIM")


class _WindowsOfColumns:
    """SSIM of one pair of pictures after another, in memory that is used again.

    Of both pictures' Gaussian windows the map needs their means, the mean of the sum of squares, and that of the product.
    Only windows inside the picture count, so that no border has to be made up.
    """

    def __init__(self, height, width):
        self._shape, self._rows = (height, width), height - _WINDOW + 1
        n_rows, n_columns = -(-self._rows // _LINES), -(-(width - _WINDOW + 1) // _LINES)
        full = n_rows * _LINES + _WINDOW - 1, n_columns * _LINES + _WINDOW - 1
        self._values = np.empty((height, width, 3))
        self._maps = np.zeros((4, *full))
        self._filtered = np.empty((4, n_rows, _LINES, full[1]))
        picture, line, item = self._maps.strides
        self._down = as_strided(
            self._maps, (4, n_rows, _LINES + _WINDOW - 1, full[1]), (picture, line * _LINES, line, item)
        )
        self._lines = self._filtered.reshape(4, n_rows * _LINES, full[1])
        self._means = self._room_for_means()

    def _room_for_means(self):
        return np.empty((self._rows, self._shape[1]))

    def of_reference(self, reference):
        """What a reference (height, width, 3) keeps for all that is compared with it: its grey picture, and that filtered.

        Both lie in memory that the next reference takes; who keeps them copies them.
        """
        height, width = self._shape
        grey = self._maps[0, :height, :width]
        self._greyed(reference, grey)
        self._filter(slice(0, 1))
        return grey, self._filtered[0]

    def similarity(self, kept, predicted):
        """SSIM of a picture of shape (height, width, 3) with a reference, by what `of_reference` kept of it."""
        height, width = self._shape
        one, (_, other, squares, product) = kept[0], self._maps[:, :height, :width]
        self._greyed(predicted, other)
        np.multiply(one, one, out=squares)
        squares += np.multiply(other, other, out=product)
        np.multiply(one, other, out=product)
        product *= 2
        np.copyto(self._filtered[0], kept[1])
        self._filter(slice(1, 4))
        return self._mean()

    def _greyed(self, picture, out):
        np.copyto(self._values, picture)
        np.matmul(self._values, _GREY, out=out)

    def _filter(self, maps):
        """Windows along the columns of some of the four maps."""
        for start in range(0, self._down.shape[-1], _LENGTH):
            part = slice(start, start + _LENGTH)
            np.matmul(_BAND, self._down[maps, ..., part], out=self._filtered[maps, ..., part])

    def _mean(self):
        return _map(*self._lines[:, : self._rows, : self._shape[1]], out=self._means).mean()


class _Windows(_WindowsOfColumns):
    """The same with windows that reach over columns, too."""

    def __init__(self, height, width):
        self._columns = width - _WINDOW + 1
        super().__init__(height, width)
        self._windows = np.empty((4, *self._means.shape))
        picture, line, item = self._lines.strides
        shape = *self._windows.shape[:-1], _LINES + _WINDOW - 1
        self._across = as_strided(self._lines, shape, (picture, item * _LINES, line, item))

    def _room_for_means(self):
        return np.empty((-(-self._columns // _LINES), self._rows, _LINES))

    def _mean(self):
        for start in range(0, self._across.shape[2], _LENGTH):
            part = slice(start, start + _LENGTH)
            np.matmul(self._across[:, :, part], _BAND_T, out=self._windows[:, :, part])
        values = _map(*self._windows, out=self._means)
        surplus = values.shape[0] * _LINES - self._columns
        return (values[:-1].sum() + values[-1, :, : _LINES - surplus].sum()) / (self._rows * self._columns)


def _map(one, other, squares, product, out):
    """SSIM of each window, from means of one picture, of the other, of their squares together, and of twice their product.

    It stands in `out`; the four are overwritten.
    """
    means = np.multiply(one, other, out=out)
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
    return means
