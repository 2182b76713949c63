"""Trials of a step of which no two are of one stimulus, for losses that compare the samples of a batch."""

from __future__ import annotations

import numpy as np

from stages.training.batches import members_of
from stages.training.trouble import CannotTrain


class Apart:
    """Rows of a step's samples: trials in an order of the epoch's own, and in no batch two of one group.

    An epoch has whole batches, as many as can be made so; the trials that are left over are others in every epoch. Groups are
    gone through in random order, and the trials of each are dealt to batches, of which every one gets one before any gets
    another; these are in random order, too, in every round.

    >>> rows = Apart(n_samples=6, batch_size=2, seed=0, groups=np.array([7, 7, 8, 8, 9, 9]))
    >>> rows.n_in_epoch, [len(set(rows(step) // 2)) for step in range(6)]
    (6, [2, 2, 2, 2, 2, 2])

    Parameters
    ----------
    n_samples, batch_size, seed : int
    groups : array of shape (n_samples,)
        The group of each sample, such as the stimulus of a trial.

    Raises
    ------
    CannotTrain
        There are fewer groups than samples of a batch.
    """

    def __init__(self, n_samples, batch_size, seed, groups):
        self._members, present = members_of(n_samples, groups)
        self._counts = present.sum(axis=1)
        if len(self._counts) < batch_size:
            raise CannotTrain(
                f"A batch of {batch_size} samples is to hold no stimulus twice but there are {len(self._counts):,} stimuli to "
                "learn from",
                "load more stimuli, or make smaller batches, such as {batch_size}",
                {"batch_size": max(len(self._counts) // 2, 1)},
            )
        self._size, self._seed = batch_size, seed
        self.n_batches = _most_batches(self._counts, batch_size)
        self._epoch, self._batches = None, None

    @property
    def n_in_epoch(self):
        """Samples that an epoch goes through."""
        return self.n_batches * self._size

    def __call__(self, step):
        """Rows of a step (counted from 0), int array of shape (batch_size,)."""
        epoch, place = divmod(step, self.n_batches)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._dealt(np.random.default_rng([self._seed, epoch, 8]))
        return self._batches[place]

    def _dealt(self, random):
        """All batches of an epoch, int array of shape (n_batches, batch_size)."""
        batches, left, waiting = [[] for _ in range(self.n_batches)], self.n_in_epoch, []
        for group in random.permutation(len(self._counts)):
            trials = random.permutation(self._members[group, : self._counts[group]])[: min(self.n_batches, left)]
            left -= len(trials)
            taken, waiting = waiting[: len(trials)], waiting[len(trials) :]
            if len(taken) < len(trials):
                # A new round. Batches that the group has in the round before come later in it.
                fresh = random.permutation(self.n_batches).tolist()
                others = [batch for batch in fresh if batch not in taken][: len(trials) - len(taken)]
                taken, waiting = taken + others, [batch for batch in fresh if batch not in others]
            for batch, trial in zip(taken, trials):
                batches[batch].append(trial)
        return np.array(batches)


def _most_batches(counts, batch_size):
    """How many batches can be made if a group gives no batch two: the largest n with n * batch_size <= sum(min(counts, n))."""
    low, high = 1, int(counts.sum()) // batch_size
    while low < high:
        middle = (low + high + 1) // 2
        enough = np.minimum(counts, middle).sum() >= middle * batch_size
        low, high = (middle, high) if enough else (low, middle - 1)
    return low
