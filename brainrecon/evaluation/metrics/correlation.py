"""Correlations of rows: every row of one array with every row of another, or row i with row i.

A row is a picture's features, its pixels, or a response pattern. Everything is computed in float64 whatever the input;
float64 copies exist only in blocks.
"""

import numpy as np
import torch

from stages.ground.errors import InputError
from stages.ground.threads import in_order
from weights.suggestions import did_you_mean

SIMILARITIES = ("pearson", "cosine")

_COLUMNS_PER_BLOCK = 4096
_VALUES_PER_PRODUCT = 2**23
_VALUES_PER_BLOCK = 2**16  # two such blocks in float64 stay in a core's own cache
_VALUES_PER_PASS = 2**15
_PIECE = 2**13  # too short for a BLAS to split over threads
_ONES = np.ones(_VALUES_PER_PASS)


def correlation_matrix(reference, predicted, similarity="pearson"):
    """Correlations between all rows of two arrays, in float64.

    >>> correlation_matrix([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], [[2.0, 4.0, 6.0]]).round(6)
    array([[ 1.],
           [-1.]])

    Parameters
    ----------
    reference : array of shape (n_references, ...)
        Finite numbers; further axes are flattened.
    predicted : array of shape (n_predictions, ...)
        Every row of one is compared with every row of the other.
    similarity : {"pearson", "cosine"}
        Pearson correlation, or cosine similarity: the same without subtracting the mean of each row.

    Returns
    -------
    correlation : array of shape (n_references, n_predictions), float64
        NaN in the rows and columns that belong to constant rows of the input, or to zero rows for "cosine".

    Raises
    ------
    InputError
        If the numbers of features differ, a value is not finite, or the similarity is unknown.
    """
    if similarity not in SIMILARITIES:
        options = ", ".join(map(repr, SIMILARITIES)) + did_you_mean(similarity, SIMILARITIES)
        raise InputError(f"The similarity is {similarity!r}; expected one of {options}. Give one of these.")
    reference, predicted = as_rows(reference), as_rows(predicted)
    if reference.shape[1] != predicted.shape[1]:
        raise InputError(
            f"The references have {reference.shape[1]} features and the predictions {predicted.shape[1]}; "
            "compute both with the same network and picture size."
        )
    n_columns = min(_COLUMNS_PER_BLOCK, max(256, _VALUES_PER_PRODUCT // max(1, len(reference), len(predicted))))
    sides = [_Side(rows, similarity, n_columns) for rows in (reference, predicted)]
    product = torch.zeros((len(reference), len(predicted)), dtype=torch.float64)
    for start in range(0, reference.shape[1], n_columns):
        one, other = (torch.from_numpy(side.centred(slice(start, start + n_columns))) for side in sides)
        product.addmm_(one, other.T)
    if similarity == "pearson":
        product.addr_(*(torch.from_numpy(side.totals) for side in sides), alpha=-1 / reference.shape[1])
    correlation = product.numpy()
    correlation /= sides[0].norms()[:, None]
    correlation /= sides[1].norms()[None, :]
    return correlation


def row_correlation(reference, predicted):
    """Pearson correlation of row i with row i.

    >>> row_correlation([[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]]).round(6)
    array([-1.])

    Parameters
    ----------
    reference, predicted : arrays of one shape (n_rows, ...)
        Finite numbers; further axes are flattened.

    Returns
    -------
    correlation : array of shape (n_rows,), float64, in -1..1
        NaN if either row is constant. The same for each row, whatever other rows are there.

    Raises
    ------
    InputError
        If the shapes differ, or a value is not finite.
    """
    reference, predicted = paired(reference, predicted)
    reference, predicted = as_rows(reference), as_rows(predicted)
    correlation, finite = np.empty(len(reference)), np.ones((2, len(reference)), dtype=bool)
    # One row after the other in the same memory, in a core's own cache, and on one thread: the arithmetic is so short that
    # threads would wait for the interpreter longer than they work.
    memory = np.empty((2, min(_VALUES_PER_PASS, reference.shape[1])))
    with np.errstate(all="ignore"):
        for row in range(len(reference)):
            pair = reference[row : row + 1], predicted[row : row + 1]
            found = _from_raw_sums(*pair, memory)
            if np.isnan(found[0]):
                found, finite[:, row : row + 1] = _from_centred_sums(*pair, memory)
            correlation[row] = found[0]
    for side in finite:
        _refuse_unless(side)
    return np.clip(correlation, -1.0, 1.0)


def correlation_distance(reference, predicted):
    """One minus the Pearson correlation of matching feature rows, as `scipy.spatial.distance.correlation`.

    >>> correlation_distance([[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]]).round(6)
    array([2.])

    Parameters
    ----------
    reference, predicted : arrays of shape (n_pictures, ...)
        Row i of one belongs to row i of the other; further axes are flattened.

    Returns
    -------
    distances : array of shape (n_pictures,), float64, in 0..2
        1 if either row is constant.
    """
    return 1.0 - np.nan_to_num(row_correlation(reference, predicted), nan=0.0)


def brain_correlation(measured, predicted):
    """Pearson correlation of measured response patterns with those that an encoding model predicts from the pictures.

    >>> brain_correlation([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], [[2.0, 4.0, 6.0], [1.0, 1.0, 1.0]]).round(6)
    array([1., 0.])

    Parameters
    ----------
    measured : array of shape (n_pictures, n_voxels)
        Responses to the shown pictures.
    predicted : array of shape (n_pictures, n_voxels)
        Responses to the reconstructions, as an encoding model predicts them; row i belongs to row i.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, in -1..1
        0 if either pattern is constant over voxels.
    """
    return np.nan_to_num(row_correlation(measured, predicted), nan=0.0)


def as_rows(values):
    """The array as (n, n_features) numbers, n_features at least 1; a view if it can be."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf" or values.ndim < 1:
        raise InputError(
            f"Values to compare are of type {values.dtype} and shape {values.shape}; expected real numbers, one row "
            "for each picture. Convert them."
        )
    rows = values.reshape(len(values), int(np.prod(values.shape[1:], dtype=np.int64)))
    if rows.shape[1] == 0:
        raise InputError(f"Features of shape {values.shape} hold no values; expected at least one for each picture.")
    return rows


def paired(reference, predicted):
    """Both as arrays, of one shape."""
    reference, predicted = np.asarray(reference), np.asarray(predicted)
    if reference.shape != predicted.shape:
        raise InputError(
            f"The references have shape {reference.shape} and the predictions {predicted.shape}; "
            "bring both to one size first."
        )
    return reference, predicted


def in_blocks(work, n_rows, row_size):
    """Call `work(slice)` for blocks of rows, on the threads of `in_order`; the blocks do not depend on how many."""
    step = max(1, _VALUES_PER_BLOCK // max(1, row_size))
    for _ in in_order(work, [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]):
        pass


def _from_raw_sums(reference, predicted, memory):
    """Correlation of row i with row i in one pass over them, (n,); NaN if not subtracting the means costs digits."""
    n_features = reference.shape[1]
    products, totals = _sums(((reference, None, None), (predicted, None, None)), memory)
    squares = products[:2] - totals**2 / n_features
    good = ((products[:2] < 100 * squares) & (squares > 1e-200) & (squares < 1e200)).all(axis=0)
    together = products[2] - totals[0] * totals[1] / n_features
    return np.where(good, together / np.sqrt(squares[0]) / np.sqrt(squares[1]), np.nan)


def _from_centred_sums(reference, predicted, memory):
    """Correlation of row i with row i in two passes, (n,), NaN if a row is constant; which are finite, (2, n)."""
    sides, finite = [], []
    for rows in (reference, predicted):
        centre, scale, constant, is_finite = _standing(rows, "pearson")
        sides.append((rows, centre, np.where(constant, np.nan, scale)))
        finite.append(is_finite)
    products, totals = _sums(sides, memory)
    products -= np.stack([totals[0] ** 2, totals[1] ** 2, totals[0] * totals[1]]) / reference.shape[1]
    return products[2] / np.sqrt(products[0]) / np.sqrt(products[1]), np.stack(finite)


def _sums(sides, memory):
    """Sums over columns of both sides' squares and of their product, (3, 1), and of both sides themselves, (2, 1); of one row."""
    own = others = together = total = other_total = 0.0
    for start in range(0, sides[0][0].shape[1], _VALUES_PER_PASS):
        block = slice(start, start + _VALUES_PER_PASS)
        one, other = (_centred(*side, block, buffer)[0] for side, buffer in zip(sides, memory))
        ones = _ONES[: len(one)]  # a product with ones is a sum, in a third of the time
        own, others, together = own + one.dot(one), others + other.dot(other), together + one.dot(other)
        total, other_total = total + one.dot(ones), other_total + other.dot(ones)
    return np.array([[own], [others], [together]]), np.array([[total], [other_total]])


class _Side:
    """Rows of one side of a correlation matrix, centred block by block of columns while their squares are summed."""

    def __init__(self, rows, similarity, n_columns):
        self._rows, self._memory = rows, np.empty(len(rows) * n_columns)
        self._centre, self._scale = np.empty(len(rows)), np.empty(len(rows))
        self._undefined, finite = np.empty((2, len(rows)), dtype=bool)

        def measure(block):
            found = _standing(rows[block], similarity)
            self._centre[block], self._scale[block], self._undefined[block], finite[block] = found

        in_blocks(measure, *rows.shape)
        _refuse_unless(finite)
        self._squares, self._is_centred = np.zeros(len(rows)), similarity == "pearson"
        self.totals = np.zeros(len(rows))  # what rounding of the means left over

    def centred(self, columns):
        """The next columns in float64, until those after them are asked for."""
        part = self._rows[:, columns]
        copy = self._memory[: part.size].reshape(part.shape)

        def centre(rows):
            # A few rows at a time, so that all of this happens in a core's own cache.
            block = _centred(part[rows], self._centre[rows], self._scale[rows], slice(None), copy[rows].reshape(-1))
            self._squares[rows] += _products(block, block)
            self.totals[rows] += block.sum(axis=1)

        in_blocks(centre, *part.shape)
        return copy

    def norms(self):
        """Norms of the centred rows, NaN if the row is undefined."""
        rest = self.totals**2 / self._rows.shape[1] if self._is_centred else 0.0
        return np.sqrt(np.where(self._undefined, np.nan, self._squares - rest))


def _standing(rows, similarity):
    """Where rows stand: what to subtract, what to multiply by, whether they are undefined and whether finite; (n,) each.

    The factor is 1 but for magnitudes whose squares would leave the range of float64. It is a power of two, so that no
    digit changes.
    """
    low, high = rows.min(axis=1).astype(np.float64), rows.max(axis=1).astype(np.float64)
    mean = rows.sum(axis=1, dtype=np.float64) / rows.shape[1]
    finite = np.isfinite(mean) & np.isfinite(high - low)
    if similarity == "cosine":
        mean, undefined, reach = np.zeros(len(rows)), (low == 0) & (high == 0), np.maximum(high, -low)
    else:
        # By the values themselves: their rounded mean may differ from them in the last bit.
        undefined, reach = low == high, high - low
    fits = undefined | ~finite | ((reach > 1e-100) & (reach < 1e100))
    return mean, np.where(fits, 1.0, np.ldexp(1.0, np.minimum(-np.frexp(reach)[1], 1000))), undefined, finite


def _centred(rows, centre, scale, columns, memory):
    """Some columns of the rows in float64 in the given memory, minus `centre` and times `scale`, (n,) each or None."""
    part = rows[:, columns]
    copy = memory[: part.size].reshape(part.shape)
    np.copyto(copy, part)
    if centre is not None:
        copy -= centre[:, None]
    if scale is not None and (scale != 1).any():
        copy *= scale[:, None]
    return copy


def _products(one, other):
    """Scalar products of row i with row i, (n,), in pieces too short for a BLAS to split over threads."""
    whole = one.shape[1] // _PIECE * _PIECE
    left, right = (side[:, :whole].reshape(len(side), -1, _PIECE) for side in (one, other))
    products = (left[:, :, None, :] @ right[:, :, :, None])[..., 0, 0].sum(axis=1)
    return products + np.einsum("ij,ij->i", one[:, whole:], other[:, whole:])


def _refuse_unless(finite):
    if not finite.all():
        raise InputError(
            f"{int((~finite).sum())} of {len(finite)} pictures or feature rows hold NaN or infinite values; expected "
            "finite numbers. Look at what produced them."
        )
