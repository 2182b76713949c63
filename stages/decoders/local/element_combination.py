"""Weights with which image elements are put together into a picture, learned from held-out predictions.

Either each size of elements has one weight, or each element has one that is not negative, as in Miyawaki et al. (2008).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import SGDRegressor
from sklearn.model_selection import GroupKFold

from stages.ground.errors import InputError

UPDATES = 400_000
FEWEST_EPOCHS = 10


def size_weights(pictures_of_sizes, pictures, random_state=0):
    """One weight per size: least squares on the pixels, by stochastic gradient descent.

    The sizes say nearly the same of a pixel, and plain descent would hardly tell them apart. So it runs on combinations
    of them that are uncorrelated and of equal size over the pixels, averages over the latter half of its
    updates, and turns the result back.

    Parameters
    ----------
    pictures_of_sizes : array of shape (n_stimuli, n_sizes, n_pixels)
        Held-out predictions of each size by itself.
    pictures : array of shape (n_stimuli, n_pixels)
        What was shown.
    random_state : int, optional
        Of the order of the pixels.

    Returns
    -------
    array of shape (n_sizes,), float64
        Any sign; their sum is free.
    """
    n_sizes = pictures_of_sizes.shape[1]
    design = np.moveaxis(pictures_of_sizes, 1, 2).reshape(-1, n_sizes)
    shown = np.asarray(pictures, dtype=np.float64).reshape(-1)
    values, vectors = np.linalg.eigh(design.T @ design / len(design))
    kept = values > 1e-12 * max(values[-1], np.finfo(np.float64).tiny)
    scale = np.sqrt(np.mean(shown**2))
    if not kept.any() or scale == 0:
        return np.zeros(n_sizes)
    n_epochs = max(FEWEST_EPOCHS, -(-UPDATES // len(design)))
    turn = vectors[:, kept] / np.sqrt(values[kept])
    descent = SGDRegressor(
        penalty=None,
        fit_intercept=False,
        learning_rate="invscaling",
        eta0=0.02,
        power_t=0.5,
        max_iter=n_epochs,
        tol=None,
        average=n_epochs * len(design) // 2,
        random_state=random_state,
    )
    return turn @ descent.fit(design @ turn, shown / scale).coef_ * scale


def element_weights(contrasts, pictures, indicators):
    """A non-negative weight per element: exact least squares on the pixels.

    The picture of a stimulus is sum_m lambda_m z_m phi_m(x), with z_m the contrast of element m and phi_m 1 on its
    pixels. The Gram matrix of that design, of n_stimuli n_pixels rows, is Z'Z times the number of pixels that two
    elements share, entry by entry; only its square root goes to the solver of Lawson and Hanson.

    Parameters
    ----------
    contrasts : array of shape (n_stimuli, n_elements)
        Held-out predictions.
    pictures : array of shape (n_stimuli, n_pixels)
        What was shown.
    indicators : sparse array of shape (n_elements, n_pixels)
        1 where an element covers a pixel.

    Returns
    -------
    array of shape (n_elements,), float64
        0 or more.
    """
    gram = (contrasts.T @ contrasts) * (indicators @ indicators.T).toarray()
    products = np.einsum("ij,ij->j", contrasts, (indicators @ np.asarray(pictures, dtype=np.float64).T).T)
    # Elements at one scale: a square root of nearly singular matrices loses less.
    scale = np.sqrt(np.diag(gram))
    used = scale > 1e-10 * max(scale.max(), np.finfo(np.float64).tiny)
    found = np.zeros(len(gram))
    if not used.any():
        return found
    scale = scale[used]
    gram, products = gram[np.ix_(used, used)] / np.outer(scale, scale), products[used] / scale
    try:
        root = np.linalg.cholesky(gram)
        right = np.linalg.solve(root, products)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(gram)
        kept = values > len(gram) * np.finfo(np.float64).eps * values[-1]
        root = vectors[:, kept] * np.sqrt(values[kept])
        right = (vectors[:, kept].T @ products) / np.sqrt(values[kept])
    found[used] = nnls(root.T, right, maxiter=30 * len(gram))[0] / scale
    return found


def held_out_folds(pictures, groups, n_folds):
    """Folds in which equal pictures, and samples of one group, are all on one side.

    Parameters
    ----------
    pictures : array of shape (n_samples, n_pixels)
        Samples with equal rows stay together.
    groups : array of shape (n_samples,), optional
        So do samples with equal labels, such as that of a run.
    n_folds : int

    Returns
    -------
    list of (array of int, array of int)
        Rows to train on and rows to predict; of about equal numbers, the same for any order of the samples.

    Raises
    ------
    InputError
        Fewer sets of samples that can be told apart than folds, or labels that are not one per sample. Labels of runs leave
        a single set if pictures repeat over runs.
    """
    pattern = np.unique(pictures, axis=0, return_inverse=True)[1].reshape(-1)
    together = pattern
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (len(pictures),):
            raise InputError(
                f"groups have shape {groups.shape} but there are {len(pictures):,} samples; pass one label per sample."
            )
        label = np.unique(groups, return_inverse=True)[1]
        n_patterns = pattern.max() + 1
        size = n_patterns + label.max() + 1
        edges = (np.ones(len(pattern)), (pattern, n_patterns + label))
        together = connected_components(csr_array(edges, shape=(size, size)), directed=False)[1][pattern]
    n_sets, n_pictures = len(np.unique(together)), int(pattern.max()) + 1
    if n_sets < n_folds:
        raise InputError(
            f"There are {n_sets:,} sets of samples without an equal picture or group in another set, but n_folds is "
            f"{n_folds}; {_cure(n_sets, n_pictures, n_folds)}."
        )
    return list(GroupKFold(n_folds).split(pictures, groups=together))


def _cure(n_sets, n_pictures, n_folds):
    """What to pass where samples make fewer sets than folds; never what was passed."""
    cures = [f"pass n_folds={n_sets}" + (" or less" if n_sets > 2 else "")] if n_sets > 1 else []
    if n_pictures >= n_folds:
        cures.append(
            "leave groups out, so that the repeats of a picture stay together and samples of one group may be on both sides "
            "(what a group shares, such as the drift of a run, then leaks into the weights)"
        )
    cures.append("pass weights='equal', which holds nothing out")
    return ", or ".join(cures)
