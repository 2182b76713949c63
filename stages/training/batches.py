"""Which samples a step takes, and what is random in it: functions of the seed and the step alone."""

from __future__ import annotations

import random
from contextlib import contextmanager

import numpy as np
import torch

from stages.ground.errors import InputError


class Shuffled:
    """Rows of a step's samples: every sample once in an epoch, in an order of the epoch's own.

    >>> rows = Shuffled(n_samples=5, batch_size=2, seed=0)
    >>> sorted([*rows(0), *rows(1), rows(2)[0]]) == list(range(5))
    True

    Parameters
    ----------
    n_samples, batch_size, seed : int
        A batch may lie in two epochs, or in several.
    """

    def __init__(self, n_samples, batch_size, seed):
        self.n_samples, self.batch_size, self.seed = n_samples, batch_size, seed
        self._epoch, self._order = None, None

    def __call__(self, step):
        """Rows of a step (counted from 0), int array of shape (batch_size,)."""
        start = step * self.batch_size
        return np.array([self._row(number) for number in range(start, start + self.batch_size)])

    def _row(self, number):
        epoch, place = divmod(number, self.n_samples)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch, 0]).permutation(self.n_samples)
        return self._order[place]


class InTurn:
    """Rows of a step's samples: one of every group in an epoch, in an order of the epoch's own; rows of a group take turns.

    >>> rows = InTurn(n_samples=6, batch_size=3, seed=0, groups=np.array([7, 8, 9, 7, 8, 9]))
    >>> [sorted(rows(step).tolist()) for step in range(3)]
    [[0, 1, 2], [3, 4, 5], [0, 1, 2]]

    Parameters
    ----------
    n_samples, batch_size, seed : int
        A batch may lie in two epochs, or in several.
    groups : array of shape (n_samples,)
        The group of each sample, such as the stimulus of a trial. In step t a group of n rows gives its row t modulo n.
    """

    def __init__(self, n_samples, batch_size, seed, groups):
        if len(groups) != n_samples:
            raise InputError(f"groups has {len(groups)} entries for {n_samples} samples; give one to each.")
        _, members, self._counts = np.unique(groups, return_inverse=True, return_counts=True)
        self._by_group, self._first = np.argsort(members, kind="stable"), np.cumsum(self._counts) - self._counts
        self._order = Shuffled(len(self._counts), batch_size, seed)

    def __call__(self, step):
        """Rows of a step (counted from 0), int array of shape (batch_size,)."""
        chosen = self._order(step)
        return self._by_group[self._first[chosen] + step % self._counts[chosen]]


class Mixtures:
    """Rows of a step's samples and their weights: every group once in an epoch, as a mixture of its rows that is drawn anew.

    With r uniform in 0 to 1, a step takes up to r = 0.5 a random convex combination of each group's rows (uniform weights
    divided by their sum), up to 0.8 their mean, and else one of them: what Scotti et al. (2023) train a latent on. The kind is
    drawn for the whole step, as there; weights and rows are drawn for each sample.

    >>> mixtures = Mixtures(n_samples=6, batch_size=3, seed=0, groups=np.array([7, 8, 9, 7, 8, 9]))
    >>> rows, weights = mixtures(0)
    >>> rows.shape, weights.sum(axis=1).round(6).tolist()
    ((3, 2), [1.0, 1.0, 1.0])

    Parameters
    ----------
    n_samples, batch_size, seed : int
        A batch may lie in two epochs, or in several.
    groups : array of shape (n_samples,)
        The group of each sample, such as the stimulus of a trial.
    """

    COMBINED, AVERAGED = 0.5, 0.8

    def __init__(self, n_samples, batch_size, seed, groups):
        self._members, self._is_member = members_of(n_samples, groups)
        self._order, self._seed = Shuffled(len(self._members), batch_size, seed), seed

    def __call__(self, step):
        """Rows of a step (counted from 0), int array of shape (batch_size, most rows of a group), and weights of the same shape.

        Weights are float32 and add to 1; a group with fewer rows names one of them again, with the weight 0.
        """
        return self.of(self._order(step), step)

    def of(self, chosen, step):
        """Rows and weights of some groups in a step, by their places among the groups that there are, in order of their names."""
        present = self._is_member[chosen]
        weights = self._drawn(np.random.default_rng([self._seed, step, 6]), present)
        return self._members[chosen], (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    def _drawn(self, random, present):
        """Weights before they are divided by their sum, 0 for what is not present (both (batch_size, most rows of a group))."""
        # Above 0, so that weights can be divided by their sum.
        kind, drawn = random.random(), 1 - random.random(present.shape)
        if kind <= self.COMBINED:
            return drawn * present
        if kind <= self.AVERAGED:
            return present.astype(float)
        # The highest of equally distributed numbers is any of them.
        return (drawn == np.where(present, drawn, -1).max(axis=1, keepdims=True)).astype(float)


class VirtualTrials(Mixtures):
    """Rows of a step's samples and their weights: every group once in an epoch, as a convex sum of a random subset of its rows.

    A subset has from 1 to n - 1 of a group's n rows, each number as likely as every other; its weights are the softmax of
    numbers uniform in -1 to 1. MindArt (CVPR 2024) mixes trials of one category so.

    >>> rows, weights = VirtualTrials(n_samples=6, batch_size=2, seed=0, groups=np.array([7, 7, 7, 8, 8, 8]))(step=0)
    >>> rows.shape, weights.sum(axis=1).round(6).tolist(), bool((weights[0] == weights[1]).all())
    ((2, 3), [1.0, 1.0], True)

    Parameters
    ----------
    n_samples, batch_size, seed, groups
        See `Mixtures`.
    shared : bool
        Whether one subset of places and one row of weights is drawn for the whole step, as published for the encoder that is
        matched to pictures, or one for each sample, as for the caption model. Groups of fewer rows than the largest take those
        of their places that come first in the order that is drawn for all, and all of them if the subset has more.
    """

    def __init__(self, n_samples, batch_size, seed, groups, shared=True):
        super().__init__(n_samples, batch_size, seed, groups)
        self._shared = shared

    def _drawn(self, random, present):
        counts = present.sum(axis=1, keepdims=True)
        counts, drawn = (counts.max(keepdims=True), 1) if self._shared else (counts, len(present))
        # Up to one less than there are; a group of one is that one.
        sizes = random.integers(1, np.maximum(counts, 2))
        order, logits = random.random((drawn, present.shape[1])), random.uniform(-1, 1, (drawn, present.shape[1]))
        ranks = np.where(present, order, np.inf).argsort(axis=1).argsort(axis=1)
        return np.exp(logits) * (present & (ranks < sizes))


def members_of(n_samples, groups):
    """Rows of every group, in order.

    >>> members_of(3, [5, 5, 4])
    (array([[2, 2],
           [0, 1]]), array([[ True, False],
           [ True,  True]]))

    Returns
    -------
    rows : int array of shape (n_groups, most rows of a group)
        Groups with fewer name their first one again.
    present : bool array of the same shape
        Which are not named again.
    """
    if len(groups) != n_samples:
        raise InputError(f"groups has {len(groups)} entries for {n_samples} samples; give one to each.")
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    by_group, first = np.argsort(group, kind="stable"), np.cumsum(counts) - counts
    places = np.arange(counts.max(initial=0))
    present = places < counts[:, None]
    return by_group[first[:, None] + np.where(present, places, 0)], present


def held_out(n_stimuli, share, seed):
    """Choose the stimuli that validation keeps away from training.

    >>> held_out(10, 0.3, seed=0)
    array([2, 7, 8])

    Parameters
    ----------
    n_stimuli : int
    share : float
        0 keeps none.
    seed : int

    Returns
    -------
    rows : int array
        Sorted.

    Raises
    ------
    InputError
        The share of so few stimuli is none of them, or all.
    """
    n_kept = round(share * n_stimuli)
    if share and not 1 <= n_kept < n_stimuli:
        raise InputError(
            f"A validation share of {share} of {n_stimuli:,} training stimuli is {n_kept:,}; expected some of both: set "
            "validation to 0, or load more stimuli."
        )
    return np.sort(np.random.default_rng([seed, 3]).permutation(n_stimuli)[:n_kept])


def step_seed(seed, step, process=0):
    """Mix a seed of a step and a process."""
    return int(np.random.SeedSequence([seed, step, process, 2]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def sample_seed(seed, step, row):
    """Mix a seed of a step and a sample's place in its batch, for what is drawn for that sample alone."""
    return int(np.random.SeedSequence([seed, step, row, 5]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_all(seed):
    """Seed the global random generators of torch, numpy and Python, for what draws from them."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def random_state_kept():
    """Give the global random generators of torch, numpy and Python back as they were."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)
