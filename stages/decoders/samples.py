"""What a step of a training by gradient descent is made of: patterns, and the true values that they are held against."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import numpy as np

from stages.ground.errors import InputError
from stages.training.batches import InTurn, Mixtures, Shuffled, VirtualTrials, held_out, members_of, random_state_kept
from stages.training.pairs import CATEGORIES, PairedTrials
from weights.suggestions import did_you_mean

EPOCHS = ("trials", "stimuli", "mixtures", "virtual trials", "pictures")


class Samples:
    """Batches of one subject's training, and those that are held out.

    Parameters
    ----------
    training : stages.decoders.trained.Training
    recipe : stages.training.recipe.Recipe

    Attributes
    ----------
    gives : dict of str to tuple of int
        Name and shape of each predicted value.
    learned : int array
        Rows of the responses that are learned from; the others are held out.
    n_in_epoch : int
        Samples that an epoch goes through.

    Raises
    ------
    InputError
        There are several subjects, another number of responses than of stimuli, or a live target without stored values.
    """

    def __init__(self, training, recipe):
        if len(training.responses) != 1:
            raise InputError(
                f"This decoder learns from one subject but {len(training.responses)} were given; load one of them."
            )
        ((subject, self.responses),) = training.responses.items()
        self.stimuli = np.asarray(training.stimulus_rows[subject])
        if len(self.stimuli) != len(self.responses):
            raise InputError(
                f"There are {len(self.responses):,} responses but {len(self.stimuli):,} stimulus_rows; give each response the "
                "row of its stimulus."
            )
        self.stored = {**training.features, **training.beside}
        self.live, self._epoch_of, self._recipe = training.live, training.epoch_of, recipe
        self._pairs = training.pairs
        if unknown := [name for name in self.live if name not in self.stored]:
            raise InputError(
                f"There are live values of {unknown[0]!r} but no stored ones, which validation looks at; expected some of "
                f"{', '.join(self.stored)}{did_you_mean(unknown[0], self.stored)}."
            )
        self.gives = {name: tuple(values.shape[1:]) for name, values in training.features.items()}
        self.gives |= {name: tuple(shape) for name, shape in training.free.items()}
        kept_away = held_out(len(next(iter(self.stored.values()))), recipe.validation, recipe.seed)
        is_held_out = np.isin(self.stimuli, kept_away)
        self.learned, self._validated = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
        by_trial = self._epoch_of == "trials"
        self.n_in_epoch = len(self.learned) if by_trial else len(np.unique(self.stimuli[self.learned]))
        if self._pairs is not None:
            self._order = PairedTrials(self.stimuli[self.learned], recipe.batch_size, recipe.seed, self._pairs)
            return
        orders = {"trials": Shuffled, "stimuli": InTurn, "mixtures": Mixtures, "virtual trials": VirtualTrials}
        grouped = {} if by_trial else {"groups": self.stimuli[self.learned]}
        self._order = orders[self._epoch_of](len(self.learned), recipe.batch_size, recipe.seed, **grouped)

    def at(self, step):
        """The batch of a step: dict of `patterns`, `targets` and `step`."""
        chosen = self._order(step)
        if self._pairs is not None:
            shown, rows, weights = chosen
            return self._made(self.learned[rows], weights, step, self.live, shown)
        rows, weights = chosen if isinstance(chosen, tuple) else (chosen, None)
        return self._made(self.learned[rows], weights, step, self.live)

    def validation(self):
        """Batches of what is held out: stored values alone, and averages of stimuli whose trials are mixed in training."""
        rows, weights = self._validated, None
        if self._epoch_of in ("mixtures", "virtual trials", "pictures") and len(rows):
            members, present = members_of(len(rows), self.stimuli[rows])
            rows = rows[members]
            weights = (present / present.sum(axis=1, keepdims=True)).astype(np.float32)
        size = self._recipe.batch_size
        return _Batches(partial(self._held_out, rows, weights), range(0, len(rows), size))

    def _held_out(self, rows, weights, first):
        chosen = slice(first, first + self._recipe.batch_size)
        return self._made(rows[chosen], None if weights is None else weights[chosen], self._recipe.steps, {})

    def identity(self):
        """What a training depends on beside responses and recipe: plain data, and arrays."""
        first = self._made(np.arange(min(8, len(self.stimuli))), None, 0, {})
        live = {name: one.identity for name, one in self.live.items()}
        described, arrays = [self._epoch_of, live], [self.stimuli, *first["targets"].values()]
        if self._pairs is not None:
            described, arrays = (
                [*described, self._pairs.of, self._pairs.shared],
                [*arrays, np.asarray(self._pairs.categories)],
            )
        return described, arrays

    def _mixed(self, rows, weights):
        """Weighted sums (n, n_voxels) of trials, of which only those with a weight are read: of a large group many have none."""
        chosen = weights != 0
        counts = chosen.sum(axis=1)
        trials = np.asarray(self.responses[rows[chosen]], dtype=np.float32)
        return np.add.reduceat(trials * weights[chosen][:, None], np.cumsum(counts) - counts, axis=0)

    def _made(self, rows, weights, step, live, shown=None):
        """A batch of rows (n,) of the responses; or of mixtures, of rows and weights (n, most), beside other pictures if told."""
        if weights is None:
            patterns, seen = np.asarray(self.responses[rows], dtype=np.float32), self.stimuli[rows]
        else:
            patterns, seen = self._mixed(rows, weights), self.stimuli[rows[:, 0]]
        shown = seen if shown is None else shown
        # Values of one source or array are found once. What the former draw, such as the first weights of a network that is
        # loaded for them, is no affair of the objectives, which draw from the same generators.
        with random_state_kept() if live else nullcontext():
            found = {one: np.asarray(one(shown, step), dtype=np.float32) for one in dict.fromkeys(live.values())}
        arrays = {id(values): values for name, values in self.stored.items() if name not in live}
        read = {one: np.asarray(values[shown], dtype=np.float32) for one, values in arrays.items()}
        targets = {
            name: found[live[name]] if name in live else read[id(values)] for name, values in self.stored.items()
        }
        if self._pairs is not None:
            for name, stimuli in zip(CATEGORIES, (seen, shown)):
                targets[name] = np.asarray(self._pairs.categories[stimuli], dtype=np.float32)[:, None]
        return {"patterns": patterns, "targets": targets, "step": step}


class _Batches:
    """Batches that are made anew whenever they are gone through."""

    def __init__(self, make, starts):
        self.make, self.starts = make, starts

    def __iter__(self):
        return map(self.make, self.starts)
