"""How alike every picture is to every other one: what two-way identification compares."""

from collections.abc import Callable

import numpy as np

from brainrecon.evaluation.metrics.colour_similarity import colour_similarities
from brainrecon.evaluation.metrics.correlation import SIMILARITIES, as_rows, correlation_matrix
from stages.ground.errors import InputError


def similarity_matrix(reference, predicted, similarity="pearson"):
    """Similarities between all rows of two arrays, in float64; the larger, the more alike.

    >>> similarity_matrix([[250.0], [10.0]], [[5.0]], "mean_squared_error").tolist()
    [[-60025.0], [-25.0]]

    Parameters
    ----------
    reference : array of shape (n_references, ...)
    predicted : array of shape (n_predictions, ...)
    similarity : str
        "pearson" or "cosine", see `correlation_matrix`; "mean_squared_error", with its sign changed; or, of the pixels of square
        colour pictures in 0..1, "structural_similarity", see `colour_similarities`.

    Returns
    -------
    similarity : array of shape (n_references, n_predictions), float64

    Raises
    ------
    InputError
        Rows differ in length, or are no pixels of square colour pictures.
    """
    if similarity in SIMILARITIES:
        return correlation_matrix(reference, predicted, similarity)
    return OTHERS[similarity](as_rows(reference), as_rows(predicted))


def _of_squares(reference, predicted):
    """Minus the mean squared difference: in float64, for differences of bytes leave the range of bytes."""
    found = np.empty((len(reference), len(predicted)))
    for column, own in enumerate(predicted):
        difference = reference.astype(np.float64) - own
        found[:, column] = -np.einsum("ij,ij->i", difference, difference) / reference.shape[1]
    return found


def _of_structure(reference, predicted):
    side = round((reference.shape[1] / 3) ** 0.5)
    if 3 * side**2 != reference.shape[1]:
        raise InputError(
            f"Rows of {reference.shape[1]:,} values are no square colour pictures; expected 3 side² for structural similarity. "
            "Compare pixels by it, and no features."
        )
    return colour_similarities(*(rows.reshape(-1, side, side, 3) for rows in (reference, predicted)))


OTHERS: dict[str, Callable] = {"mean_squared_error": _of_squares, "structural_similarity": _of_structure}
