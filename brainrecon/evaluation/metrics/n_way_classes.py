"""n-way identification by a network that classifies: whether it gives a picture the class that it gives the shown one.

The class g of a stimulus is the one that the network finds likeliest in the picture that was shown. A reconstruction succeeds if
the network gives g more than the other classes of a few that are drawn (MinD-Vis, Chen et al. 2023, after Gaziv et al. 2022)::

    success of a trial = fewer than top_k of n_way - 1 other classes have as much as g, or more

Nobody's reconstruction is compared with another's: the score of a stimulus is its own.
"""

from functools import lru_cache

import numpy as np

from brainrecon.evaluation.metrics.identification import among_the_best, n_way_chance
from stages.ground.errors import InputError
from stages.ground.item_seeds import numpy_generator

# Draws of a stimulus are the same for all its samples and under all conditions, which come close to one another.
_STIMULI_KEPT = 128


def n_way_of_classes(reference, predicted, n_way=50, top_k=1):
    """Probability of success over all ways to draw the other classes, exactly.

    With m other classes, b of which the network gives a reconstruction as much as g or more, the number of these among n - 1 that
    are drawn without replacement is hypergeometric::

        score = sum over k < top_k of C(b, k) C(m - b, n - 1 - k) / C(m, n - 1)

    which is what the mean of `n_way_of_classes_drawn` over ever more trials tends to.

    >>> shown, drawn = np.zeros((1, 1000)), np.zeros((1, 1000))
    >>> shown[0, 3], drawn[0, 3], drawn[0, 7] = 1, 1, 2
    >>> float(n_way_of_classes(shown, drawn)[0]) == 1 - 49 / 999
    True

    Parameters
    ----------
    reference, predicted : array of shape (n_pictures, n_classes)
        Probabilities or logits of classes, for the shown pictures and for what was drawn, row by row.
    n_way : int
        Classes among which g is looked for, at least 2; all of them if there are fewer, which is easier.
    top_k : int
        From 1 to `n_way` - 1.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, in 0..1
        Ties fail.

    Raises
    ------
    InputError
        Shapes differ, there is one class alone, or a value is not finite; or `n_way` and `top_k` leave nothing to fail at.
    """
    n_way_chance(n_way, top_k)
    _, better = _better(reference, predicted)
    n_others = better.shape[1] - 1
    n_drawn = min(n_way - 1, n_others)
    return np.array([among_the_best(n_others, int(count), n_drawn, top_k) for count in better.sum(axis=1)])


def n_way_of_classes_drawn(reference, predicted, n_way=50, top_k=1, n_trials=1000, items=None):
    """Share of successful trials, as it was published: the other classes of each are drawn.

    >>> shown = np.random.default_rng(0).random((2, 1000))
    >>> n_way_of_classes_drawn(shown, shown, items=["cat", "dog"])
    array([1., 1.])

    Parameters
    ----------
    reference, predicted, n_way, top_k
        As for `n_way_of_classes`.
    n_trials : int
        1 or more.
    items : sequence of str, length n_pictures, optional
        The stimulus of each picture: its draws follow from its name, so that they depend neither on the order of stimuli nor on
        how many there are. By default the number of its row.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, in 0..1

    Raises
    ------
    InputError
        As for `n_way_of_classes`, without trials, or with another number of items.
    """
    n_way_chance(n_way, top_k)
    if n_trials != int(n_trials) or n_trials < 1:
        raise InputError(f"Classes are drawn in {n_trials} trials; expected a whole number from 1. Change n_trials.")
    own, better = _better(reference, predicted)
    items = range(len(better)) if items is None else items
    if len(items) != len(better):
        raise InputError(
            f"There are {len(better):,} pictures and {len(items):,} items; give the stimulus of each picture."
        )
    n_others = better.shape[1] - 1
    scores = np.empty(len(better))
    for row, item in enumerate(items):
        drawn = _draws(str(item), n_others, min(n_way - 1, n_others), int(n_trials))
        # Numbers of other classes pass over the own one.
        failed = better[row][drawn + (drawn >= own[row])].sum(axis=1) >= top_k
        scores[row] = 1.0 - failed.mean()
    return scores


def classes_chance(n_way=50, top_k=1, n_trials=1000):
    """Expected score where the network gives classes at random: `top_k` / `n_way`."""
    return n_way_chance(n_way, top_k)


@lru_cache(maxsize=_STIMULI_KEPT)
def _draws(item, n_others, n_drawn, n_trials):
    """Numbers of the other classes of each trial, int (n_trials, n_drawn)."""
    random = numpy_generator(0, item, 0).random((n_trials, n_others))
    if n_drawn == n_others:
        return np.broadcast_to(np.arange(n_others), (n_trials, n_others))
    return random.argpartition(n_drawn, axis=1)[:, :n_drawn].astype(np.int32)


def _better(reference, predicted):
    """Class of each shown picture, (n,), and of which others its reconstruction has as much or more, (n, n_classes)."""
    reference, predicted = np.asarray(reference), np.asarray(predicted)
    if reference.ndim != 2 or reference.shape != predicted.shape or reference.shape[1] < 2:
        raise InputError(
            f"Classes of shown pictures have shape {reference.shape} and those of drawn ones {predicted.shape}; expected "
            "(n_pictures, n_classes) of both, two classes or more. Give them from the same network."
        )
    if not (np.isfinite(reference).all() and np.isfinite(predicted).all()):
        raise InputError(
            "Probabilities of classes are NaN or infinite; expected finite numbers. Look at these pictures."
        )
    own = reference.argmax(axis=1)
    better = predicted >= np.take_along_axis(predicted, own[:, None], axis=1)
    np.put_along_axis(better, own[:, None], False, axis=1)
    return own, better
