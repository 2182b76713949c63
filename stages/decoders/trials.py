"""One subject's trials in a training: which are learned from and which are held out, and which of them a step takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.ground.errors import InputError
from stages.training.apart import Apart
from stages.training.batches import InTurn, Mixtures, Shuffled, VirtualTrials, members_of
from stages.training.pairs import PairedTrials

EPOCHS = ("trials", "trials apart", "stimuli", "mixtures", "virtual trials", "pictures")
_ORDERS = {"trials apart": Apart, "stimuli": InTurn, "mixtures": Mixtures, "virtual trials": VirtualTrials}
_AVERAGED = ("mixtures", "virtual trials", "pictures")


class Taken(NamedTuple):
    """What a batch takes of a subject.

    Attributes
    ----------
    patterns : array of shape (n, n_voxels), float32
    seen : int array of shape (n,)
        The stimulus of each pattern.
    shown : int array of shape (n,)
        The stimulus beside it: the same one, unless an epoch is of pictures.
    """

    patterns: np.ndarray
    seen: np.ndarray
    shown: np.ndarray


class Trials:
    """One subject's trials.

    >>> trials = Trials("subj01", np.eye(4), np.array([0, 1, 1, 2]), np.array([1]), "trials", batch_size=2, seed=0)
    >>> trials.learned.tolist(), trials.at(0).patterns.shape, trials.held_out(0, 9).seen.tolist()
    ([0, 3], (2, 4), [1, 1])

    Parameters
    ----------
    subject : str
        For errors.
    responses : rows of shape (n_trials, n_voxels)
        Read when a batch takes them.
    stimuli : int array of shape (n_trials,)
        The stimulus of each trial.
    kept_away : int array
        Stimuli that are held out.
    epoch_of : str
        One of `EPOCHS`, see `stages.decoders.trained.Training`.
    batch_size : int
        Trials, or mixtures of trials, of this subject in a step.
    seed : int
    pairs : stages.training.pairs.Pairs, optional

    Attributes
    ----------
    learned : int array
        Rows of the responses that are learned from; the others are held out.
    n_in_epoch : int
        Samples that an epoch goes through.
    n_held_out : int
        Samples that validation goes through.

    Raises
    ------
    InputError
        Another number of responses than of stimuli, or none to learn from.
    """

    def __init__(self, subject, responses, stimuli, kept_away, epoch_of, batch_size, seed, pairs=None):
        self.responses, self.stimuli = responses, np.asarray(stimuli)
        if len(self.stimuli) != len(responses):
            raise InputError(
                f"There are {len(responses):,} responses but {len(self.stimuli):,} stimulus_rows; give each response the "
                "row of its stimulus."
            )
        is_held_out = np.isin(self.stimuli, kept_away)
        self.learned, self._validated = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
        if not len(self.learned):
            raise InputError(
                f"{subject} has {len(responses):,} trials, of which {len(self._validated):,} are held out and none is left to "
                "learn from; load more of its sessions, or leave it out."
            )
        seen = self.stimuli[self.learned]
        if pairs is not None:
            self._order = PairedTrials(seen, batch_size, seed, pairs)
        elif epoch_of == "trials":
            self._order = Shuffled(len(seen), batch_size, seed)
        else:
            self._order = _ORDERS[epoch_of](len(seen), batch_size, seed, groups=seen)
        self._is_paired = pairs is not None
        self.n_in_epoch = len(seen) if epoch_of == "trials" else len(np.unique(seen))
        if epoch_of == "trials apart":
            self.n_in_epoch = self._order.n_in_epoch
        self._weights = None
        if epoch_of in _AVERAGED and len(self._validated):
            # Averages of stimuli whose trials are mixed in training.
            members, present = members_of(len(self._validated), self.stimuli[self._validated])
            self._validated = self._validated[members]
            self._weights = (present / present.sum(axis=1, keepdims=True)).astype(np.float32)
        self.n_held_out = len(self._validated)

    @property
    def n_voxels(self):
        """Voxels of a response."""
        return self.responses.shape[1]

    def at(self, step):
        """What a step takes."""
        chosen = self._order(step)
        if self._is_paired:
            shown, rows, weights = chosen
            return self._taken(self.learned[rows], weights, shown)
        rows, weights = chosen if isinstance(chosen, tuple) else (chosen, None)
        return self._taken(self.learned[rows], weights)

    def held_out(self, start, stop):
        """Some samples of validation."""
        rows = self._validated[start:stop]
        return self._taken(rows, None if self._weights is None else self._weights[start:stop])

    def _taken(self, rows, weights, shown=None):
        """Of rows (n,) of the responses; or of mixtures, of rows and weights (n, most), beside other pictures if told."""
        if weights is None:
            patterns, seen = np.asarray(self.responses[rows], dtype=np.float32), self.stimuli[rows]
        else:
            patterns, seen = self._mixed(rows, weights), self.stimuli[rows[:, 0]]
        return Taken(patterns, seen, seen if shown is None else shown)

    def _mixed(self, rows, weights):
        """Weighted sums (n, n_voxels) of trials, of which only those with a weight are read: of a large group many have none."""
        chosen = weights != 0
        counts = chosen.sum(axis=1)
        trials = np.asarray(self.responses[rows[chosen]], dtype=np.float32)
        return np.add.reduceat(trials * weights[chosen][:, None], np.cumsum(counts) - counts, axis=0)
