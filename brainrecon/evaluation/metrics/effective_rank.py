"""Effective rank of a set of embeddings: over how many directions they spread.

Decoders that predict little of a target still score above chance if all their predictions lie along the few
directions that the responses tell apart. Predictions whose effective rank is far below that of the true values have
collapsed to these: retrieval among many stimuli then saturates, however well two of them are told apart. Ridge
predictions always spread less than what they predict, so the number is read beside that of the true values over the
same stimuli (it cannot exceed n_stimuli - 1), and not by itself.

Noise spreads over all directions too: a high effective rank alone is no merit.
"""

import numpy as np
from scipy.linalg import eigvalsh, svdvals

from stages.ground.errors import InputError

_BYTES_PER_BLOCK = 1 << 26


def effective_rank(values):
    """Exponential of the entropy of the singular values, taken as a distribution (Roy & Vetterli 2007).

    The mean over stimuli is subtracted first: it tells no stimulus from another. With singular values s of what
    remains and p = s / sum(s), the effective rank is exp(-sum(p log p)). It is 1 if all stimuli lie on a line, k if
    they spread equally over k orthogonal directions and over no other, and does not change when the values are scaled,
    shifted or rotated.

    >>> round(effective_rank(np.eye(4)), 6)
    3.0

    Parameters
    ----------
    values : array of shape (n_stimuli, n_targets)
        Finite; in memory, or anything with ``shape`` and a method ``columns(start, stop)`` such as a `FeatureTable`, which
        is read by blocks of columns. Where targets are more than stimuli only float64 (n_stimuli, n_stimuli) is held
        besides a block.

    Returns
    -------
    rank : float
        In 1..min(n_stimuli - 1, n_targets); 0 if all rows are equal, as for a decoder that predicts the mean.

    Raises
    ------
    InputError
        If the values are not two-dimensional, empty, or not finite.
    """
    values = values if hasattr(values, "columns") else np.asarray(values)
    if len(values.shape) != 2 or not min(values.shape):
        raise InputError(
            f"An effective rank was asked of values of shape {tuple(values.shape)}; expected (n_stimuli, n_targets), at "
            "least one of each. Flatten further axes first."
        )
    n_stimuli, n_targets = values.shape
    if n_targets > n_stimuli:
        gram = np.zeros((n_stimuli, n_stimuli))
        for block in _centred_blocks(values):
            gram += block @ block.T
        squares = eigvalsh(gram)
        singular = np.sqrt(np.where(squares > _rounding(squares, n_targets), squares, 0.0))
    else:
        singular = svdvals(np.hstack(list(_centred_blocks(values))))
        singular = np.where(singular > _rounding(singular, n_stimuli), singular, 0.0)
    if not singular.any():
        return 0.0
    share = singular[singular > 0] / singular.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def _rounding(spectrum, longest_side):
    """Below this an eigen- or singular value is the rounding of zero, as `numpy.linalg.matrix_rank` has it."""
    return max(spectrum.max(), 0.0) * longest_side * np.finfo(np.float64).eps


def _centred_blocks(values):
    """Blocks of columns, float64, each column minus its mean; exactly zero if a column does not vary."""
    n_stimuli, n_targets = values.shape
    width = max(_BYTES_PER_BLOCK // (8 * n_stimuli), 1)
    for start in range(0, n_targets, width):
        stop = min(start + width, n_targets)
        block = values.columns(start, stop) if hasattr(values, "columns") else values[:, start:stop]
        block = block.astype(np.float64)
        if not np.isfinite(block).all():
            raise InputError(
                f"{int((~np.isfinite(block)).any(axis=1).sum())} of {n_stimuli} rows hold NaN or infinite values; expected "
                "finite numbers. Look at what predicted them."
            )
        # By the values themselves: the rounded mean of equal numbers may differ from them in the last bit.
        constant = block.max(axis=0) == block.min(axis=0)
        block -= block.mean(axis=0)
        block[:, constant] = 0.0
        yield block
