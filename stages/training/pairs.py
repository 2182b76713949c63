"""Pictures beside trials of a category: what a network learns from that is shown no pair of a response and its picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.training.batches import Shuffled, VirtualTrials

BRAIN_CATEGORY, PICTURE_CATEGORY = "brain category", "picture category"
CATEGORIES = (BRAIN_CATEGORY, PICTURE_CATEGORY)
"""Names of the targets that hold the numbers of both categories, (n, 1)."""
CATEGORIES_OF = ("any", "own")


@dataclass(frozen=True)
class Pairs:
    """Which trials stand beside a picture: a convex sum of trials of one category.

    >>> Pairs(of="own", shared=False, categories=np.array([0, 0, 1]))
    Pairs(of='own', shared=False, categories=array([0, 0, 1]))

    Attributes
    ----------
    of : {"any", "own"}
        Trials of a category that is drawn anew for each picture in each step, all as likely; or of the picture's own. Published
        for the encoder that is matched to pictures: "any".
    shared : bool
        One subset of trials and one row of weights for all pictures of a step, or one for each; see
        `stages.training.batches.VirtualTrials`.
    categories : int array of shape (n_stimuli,), optional
        Number of each stimulus's category; whoever has the data gives it.
    """

    of: str = "any"
    shared: bool = True
    categories: np.ndarray | None = None

    def __post_init__(self):
        check("of", self.of, OneOf(*CATEGORIES_OF))


class PairedTrials:
    """Pictures of a step, each once in an epoch, and the trials beside them.

    >>> pairs = Pairs(of="own", categories=np.array([4, 9]))
    >>> pictures, rows, weights = PairedTrials(np.array([0, 0, 1, 1]), batch_size=2, seed=0, pairs=pairs)(step=0)
    >>> [sorted(own.tolist()) for own in rows[pictures.argsort()]], weights.sum(axis=1).tolist()
    ([[0, 1], [2, 3]], [1.0, 1.0])

    Parameters
    ----------
    stimuli : int array of shape (n_samples,)
        The stimulus of each trial. Pictures are those of these stimuli.
    batch_size, seed : int
    pairs : Pairs
        With categories of all stimuli.
    """

    def __init__(self, stimuli, batch_size, seed, pairs):
        if pairs.categories is None or len(pairs.categories) <= np.max(stimuli, initial=-1):
            n = 0 if pairs.categories is None else len(pairs.categories)
            raise InputError(
                f"There are {n:,} categories for {np.max(stimuli) + 1:,} stimuli; give each stimulus the number of its category."
            )
        self._pictures, categories = np.unique(stimuli), np.asarray(pairs.categories)
        self._virtual = VirtualTrials(len(stimuli), batch_size, seed, categories[stimuli], shared=pairs.shared)
        known, self._own = np.unique(categories[self._pictures], return_inverse=True)
        self._n_categories, self._of_any, self._seed = len(known), pairs.of == "any", seed
        self._order = Shuffled(len(self._pictures), batch_size, seed)

    def __call__(self, step):
        """Return what a step (counted from 0) takes.

        Returns
        -------
        pictures : int array of shape (batch_size,)
            Stimuli.
        rows : int array of shape (batch_size, most trials of a category)
            Of the trials of the category beside each picture.
        weights : float32 array of the same shape
            They add to 1.
        """
        chosen = self._order(step)
        beside = self._own[chosen]
        if self._of_any:
            beside = np.random.default_rng([self._seed, step, 7]).integers(0, self._n_categories, len(chosen))
        return self._pictures[chosen], *self._virtual.of(beside, step)
