"""Metrics: two sets of pictures, or of their features, in; one score per picture out.

Every function returns float64 scores in the order of the second argument's sample axis and never averages
over stimuli: means, intervals and differences are for `brainrecon.evaluation.intervals`. `METRICS` declares
for each one which direction is better, its bounds and its chance level.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity as skimage_structural_similarity

from stages.errors import InputError

# Correlations of equal rows can differ in the last bits, because matrix kernels treat the edges of a block
# differently. Anything closer than this is a tie, and ties fail.
TIE = 1e-12

_COLUMNS_PER_BLOCK = 4096
_VALUES_PER_BLOCK = 4_000_000


@dataclass(frozen=True)
class Metric:
    """What a reader has to know about a metric before reading its values.

    Attributes
    ----------
    function : callable
        `function(reference, predicted, ...) -> float64 (n_predicted,)`.
    takes : {"pixels", "features", "labels"}
        What the two arguments are.
    higher_is_better : bool
    bounds : (float, float)
        Lowest and highest possible score.
    chance : float or None
        Expected score of predictions that carry no information; None where it depends on the pictures, so
        that only a control (shuffled responses) can tell.
    percent : bool
        Whether people read it as a percentage.
    from_correlation : callable or None
        For metrics that compare every prediction with every reference: the same scores from their correlation
        matrix, `from_correlation(correlation, targets, allowed)`. The matrix of a subset of stimuli is a part
        of the whole one.
    """

    function: Callable
    takes: str
    higher_is_better: bool
    bounds: tuple[float, float]
    chance: float | None
    percent: bool = False
    from_correlation: Callable | None = None

    @property
    def relational(self):
        """Whether the score of one stimulus depends on which other stimuli are in the set."""
        return self.from_correlation is not None


def pixel_correlation(reference, predicted):
    """Pearson correlation of flattened pictures (PixCorr).

    Parameters
    ----------
    reference, predicted : arrays of shape (n_pictures, height, width, n_channels)
        Any numeric range; row i of one belongs to row i of the other.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, in -1..1
        0 where either picture is uniform: a uniform picture tells nothing, and its correlation is undefined.

    Raises
    ------
    InputError
        If the shapes differ, or a value is not finite.
    """
    reference, predicted = _paired(reference, predicted)
    return np.nan_to_num(_row_correlation(reference, predicted), nan=0.0)


def correlation_distance(reference, predicted):
    """One minus the Pearson correlation of matching feature rows, as `scipy.spatial.distance.correlation`.

    Parameters
    ----------
    reference, predicted : arrays of shape (n_pictures, ...)
        Row i of one belongs to row i of the other; further axes are flattened.

    Returns
    -------
    distances : array of shape (n_pictures,), float64, in 0..2
        1 where either row is constant.
    """
    reference, predicted = _paired(reference, predicted)
    return 1.0 - np.nan_to_num(_row_correlation(reference, predicted), nan=0.0)


def structural_similarity(reference, predicted):
    """SSIM of grey pictures in the form this field publishes.

    `rgb2gray` of both, Gaussian weights of sigma 1.5, population covariance, data range 1. (The published
    code passes a multichannel flag for what is a grey picture; `channel_axis=None` is what that amounts to.)

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
    reference, predicted = _paired(reference, predicted)
    for pictures in (reference, predicted):
        if pictures.size and (pictures.min() < 0 or pictures.max() > 1):
            raise InputError(
                f"SSIM takes pictures in 0..1, these run from {pictures.min():.4g} to {pictures.max():.4g}. "
                "Divide 8-bit pictures by 255."
            )
    if reference.ndim != 4 or reference.shape[-1] != 3 or min(reference.shape[1:3]) < 11:
        raise InputError(
            f"SSIM takes pictures of shape (n, height, width, 3) and at least 11 pixels a side, not "
            f"{reference.shape}. Enlarge them, or choose a protocol with a larger size."
        )
    return np.array(
        [
            skimage_structural_similarity(
                rgb2gray(one),
                rgb2gray(other),
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1.0,
                channel_axis=None,
            )
            for one, other in zip(reference.astype(np.float64), predicted.astype(np.float64), strict=True)
        ],
        dtype=np.float64,
    )


def two_way_identification(reference, predicted, targets=None, allowed=None):
    """Fraction of the other references that resemble a prediction less than its own reference does.

    The published definition: the full matrix r of Pearson correlations between flattened features; the score
    of prediction j is the fraction of references i other than its own with r(i, j) < r(own, j). Ties fail.
    The denominator is the number of other references. An undefined correlation (a constant row) is below
    nothing and above nothing, so that a constant prediction scores 0.

    Parameters
    ----------
    reference : array of shape (n_references, ...)
        Features of the shown pictures; further axes are flattened.
    predicted : array of shape (n_predictions, ...)
        Features of the reconstructions.
    targets : integer array of shape (n_predictions,), optional
        The reference each prediction belongs to. By default prediction j belongs to reference j. Several
        samples of one stimulus are several predictions with one target.
    allowed : boolean array of shape (n_references, n_predictions), optional
        The references that may compete for each prediction, for example those of its own category. The own
        reference never competes with itself, whatever is said here.

    Returns
    -------
    scores : array of shape (n_predictions,), float64, in 0..1, chance 0.5
        NaN only where `allowed` leaves a prediction no competitor.

    Raises
    ------
    InputError
        With fewer than two references, with shapes that do not match, or with values that are not finite.
    """
    return identification_rates(correlation_matrix(reference, predicted), targets, allowed)


def identification_rates(correlation, targets=None, allowed=None):
    """Two-way identification from correlations that are already there.

    Parameters
    ----------
    correlation : array of shape (n_references, n_predictions)
        As `correlation_matrix` gives them; NaN where undefined.
    targets, allowed
        As for `two_way_identification`.

    Returns
    -------
    scores : array of shape (n_predictions,), float64, in 0..1
    """
    n_references, n_predictions = correlation.shape
    if targets is None:
        if n_references != n_predictions:
            raise InputError(
                f"There are {n_predictions} predictions for {n_references} references; "
                "say with targets= which prediction belongs to which."
            )
        targets = np.arange(n_predictions)
    if n_references < 2:
        raise InputError(f"Two-way identification compares at least 2 stimuli, not {n_references}. Score more stimuli.")
    if allowed is None:
        competes = np.ones((n_references, n_predictions), dtype=bool)
    else:
        competes = np.array(allowed, dtype=bool)
        if competes.shape != (n_references, n_predictions):
            raise InputError(
                f"The mask of allowed pairs has shape {competes.shape}, expected "
                f"{(n_references, n_predictions)}: one row per reference, one column per prediction."
            )
    targets, columns = np.asarray(targets), np.arange(n_predictions)
    competes[targets, columns] = False

    own = correlation[targets, columns]
    beaten = correlation < own - TIE  # comparisons with NaN are False: they fail, as published
    n_competitors = competes.sum(axis=0)
    scores = np.full(n_predictions, np.nan)
    np.divide((beaten & competes).sum(axis=0), n_competitors, out=scores, where=n_competitors > 0)
    return scores


def label_agreement(reference, predicted):
    """Whether two sequences of labels agree: 1.0 where they do, 0.0 where they do not.

    Parameters
    ----------
    reference, predicted : sequences of str, length n_pictures
        Or of anything that compares equal to its like.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, 0 or 1
    """
    if len(reference) != len(predicted):
        raise InputError(f"There are {len(predicted)} labels for {len(reference)} references; give one for each.")
    return np.array([float(one == other) for one, other in zip(reference, predicted, strict=True)])


def correlation_matrix(reference, predicted):
    """Pearson correlations between all rows of two arrays, in float64.

    Parameters
    ----------
    reference : array of shape (n_references, n_features)
        Finite.
    predicted : array of shape (n_predictions, n_features)
        Every row of one is compared with every row of the other.

    Returns
    -------
    correlation : array of shape (n_references, n_predictions), float64
        NaN in the rows and columns that belong to constant rows of the input.
    """
    reference, predicted = _flattened(reference), _flattened(predicted)
    if reference.shape[1] != predicted.shape[1]:
        raise InputError(
            f"The references have {reference.shape[1]} features and the predictions {predicted.shape[1]}; "
            "compute both with the same network and picture size."
        )
    reference_mean = reference.mean(axis=1, dtype=np.float64, keepdims=True)
    predicted_mean = predicted.mean(axis=1, dtype=np.float64, keepdims=True)
    product = np.zeros((len(reference), len(predicted)))
    reference_squares, predicted_squares = np.zeros(len(reference)), np.zeros(len(predicted))
    # By blocks of features, so that float64 copies of large float32 features never exist whole.
    for start in range(0, reference.shape[1], _COLUMNS_PER_BLOCK):
        block = slice(start, start + _COLUMNS_PER_BLOCK)
        one, other = reference[:, block] - reference_mean, predicted[:, block] - predicted_mean
        product += one @ other.T
        reference_squares += np.einsum("ij,ij->i", one, one)
        predicted_squares += np.einsum("ij,ij->i", other, other)
    reference_squares[_is_constant(reference)] = np.nan
    predicted_squares[_is_constant(predicted)] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        return product / np.sqrt(reference_squares)[:, None] / np.sqrt(predicted_squares)[None, :]


METRICS = {
    "pixel_correlation": Metric(pixel_correlation, "pixels", True, (-1.0, 1.0), None),
    "structural_similarity": Metric(structural_similarity, "pixels", True, (-1.0, 1.0), None),
    "two_way_identification": Metric(
        two_way_identification,
        "features",
        True,
        (0.0, 1.0),
        0.5,
        percent=True,
        from_correlation=identification_rates,
    ),
    "correlation_distance": Metric(correlation_distance, "features", False, (0.0, 2.0), None),
    "label_agreement": Metric(label_agreement, "labels", True, (0.0, 1.0), None, percent=True),
}


def _row_correlation(reference, predicted):
    """Pearson correlation of row i with row i, float64 (n,); NaN where a row is constant."""
    reference, predicted = _flattened(reference), _flattened(predicted)
    correlation = np.full(len(reference), np.nan)
    per_block = max(1, _VALUES_PER_BLOCK // reference.shape[1])
    for start in range(0, len(reference), per_block):
        rows = slice(start, start + per_block)
        one, other = reference[rows].astype(np.float64), predicted[rows].astype(np.float64)
        defined = ~(_is_constant(one) | _is_constant(other))
        one, other = _centred(one[defined]), _centred(other[defined])
        norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        correlation[rows][defined] = np.clip(np.einsum("ij,ij->i", one, other) / norms, -1.0, 1.0)
    return correlation


def _centred(rows):
    """Rows minus their means, scaled to a largest magnitude of 1: tiny contrasts underflow when squared."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.abs(rows).max(axis=1, keepdims=True, initial=0.0)


def _is_constant(rows):
    # By the values themselves: their rounded mean may differ from them in the last bit.
    return rows.max(axis=1) == rows.min(axis=1)


def _flattened(values):
    """The array as (n, -1), finite and not empty along the second axis."""
    values = np.asarray(values)
    rows = values.reshape(len(values), int(np.prod(values.shape[1:], dtype=np.int64)))
    if rows.shape[1] == 0:
        raise InputError(f"Features of shape {values.shape} hold no values; expected at least one for each picture.")
    if not np.isfinite(rows).all():
        count = int((~np.isfinite(rows)).any(axis=1).sum())
        raise InputError(
            f"{count} of {len(rows)} pictures or feature rows hold NaN or infinite values; expected finite "
            "numbers. Look at what produced them."
        )
    return rows


def _paired(reference, predicted):
    """Both as arrays of one shape, finite."""
    reference, predicted = np.asarray(reference), np.asarray(predicted)
    if reference.shape != predicted.shape:
        raise InputError(
            f"The references have shape {reference.shape} and the predictions {predicted.shape}; "
            "bring both to one size first."
        )
    _flattened(reference), _flattened(predicted)
    return reference, predicted
