"""What a step of a training by gradient descent is made of: patterns, and the true values that they are held against."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext

import numpy as np

from stages.decoders.trials import Trials
from stages.ground.errors import InputError
from stages.ground.process_group import n_processes
from stages.training.batches import held_out, random_state_kept
from stages.training.pairs import CATEGORIES
from stages.training.sharing import BySubject
from stages.training.trouble import CannotTrain
from weights.names import trouble_with_part
from weights.suggestions import did_you_mean


class Samples:
    """Batches of a training, and those that are held out.

    A batch is a dict of `patterns`, `targets` and `step`. Of several subjects, `patterns` are a `BySubject`, to which each gives
    as many, and one of the companions too; the rows of `targets` are in the same order. Batches that are held out are of one
    subject at a time.

    Parameters
    ----------
    training : stages.decoders.trained.Training
    recipe : stages.training.recipe.Recipe
    by_subject : bool
        Whether the network reads several subjects: patterns are a `BySubject` then, even of one.

    Attributes
    ----------
    gives : dict of str to tuple of int
        Name and shape of each predicted value.
    trials : dict of str to stages.decoders.trials.Trials
        By subject.
    n_voxels : int, or dict of str to int
        By subject, if the network reads several.
    n_in_epoch : int
        Samples that an epoch goes through; each subject has an epoch of its own, and this is as if all were as short as the
        shortest.

    Raises
    ------
    InputError
        There are several subjects and the network reads one, a subject's trials do not fit or its name cannot be that of a
        file, a batch cannot be shared by subjects and parts, or there is a live target without stored values.
    """

    def __init__(self, training, recipe, by_subject=False):
        if len(training.responses) != 1 and not (by_subject and training.responses):
            raise InputError(
                f"This decoder learns from one subject but {len(training.responses)} were given; load one of them."
            )
        self.stored = {**training.features, **training.beside}
        self.live, self._epoch_of, self.recipe = training.live, training.epoch_of, recipe
        self._pairs, self._by_subject = training.pairs, by_subject
        if unknown := [name for name in self.live if name not in self.stored]:
            raise InputError(
                f"There are live values of {unknown[0]!r} but no stored ones, which validation looks at; expected some of "
                f"{', '.join(self.stored)}{did_you_mean(unknown[0], self.stored)}."
            )
        self.gives = {name: tuple(values.shape[1:]) for name, values in training.features.items()}
        self.gives |= {name: tuple(shape) for name, shape in training.free.items()}
        if by_subject:
            _check(training, recipe)
        self._companions = training.companions
        n_in_step = len(self._of_step([*training.responses], 0))
        kept_away = _kept_away(len(next(iter(self.stored.values()))), training.same, recipe)
        self.trials = {
            subject: Trials(
                subject,
                responses,
                training.stimulus_rows[subject],
                kept_away,
                self._epoch_of,
                recipe.batch_size // n_in_step,
                _seed_of(subject, recipe.seed) if by_subject else recipe.seed,
                self._pairs,
            )
            for subject, responses in training.responses.items()
        }
        n_voxels = {subject: trials.n_voxels for subject, trials in self.trials.items()}
        self.n_voxels = n_voxels if by_subject else next(iter(n_voxels.values()))
        learned = [trials.n_in_epoch for name, trials in self.trials.items() if name not in self._companions]
        self.n_in_epoch = min(learned) * n_in_step

    def at(self, step):
        """The batch of a step."""
        return self.completed(self.read(step), step)

    def read(self, step):
        """What is read for a step's batch, by nothing but the step: patterns, stimuli, and stored values."""
        return self._read(
            {subject: self.trials[subject].at(step) for subject in self._of_step(self.trials, step)}, self.live
        )

    @property
    def validated(self):
        """Subjects some of whose samples are held out."""
        return [subject for subject in self.trials if subject not in self._companions]

    def _of_step(self, subjects, step):
        """Those of some subjects that give samples to a step: all but the companions whose turn it is not."""
        there = self._companions and self._companions[step % len(self._companions)]
        return [subject for subject in subjects if subject == there or subject not in self._companions]

    def completed(self, read, step):
        """The batch of what was read for it: with values that are made for the step."""
        return self._completed(read, step, self.live)

    @property
    def are_read(self):
        """Whether anything lies in files."""
        arrays = [*self.stored.values(), *(trials.responses for trials in self.trials.values())]
        return not all(type(one) is np.ndarray for one in arrays)

    def validation(self, reading=None):
        """Batches of what is held out: stored values alone, and averages of stimuli whose trials are mixed in training.

        Parameters
        ----------
        reading : callable, optional
            ``reading(read, *given)`` reads what they need, in place of ``read(*given)``.
        """
        return _HeldOut(self, reading or (lambda read, *given: read(*given)))

    def read_held_out(self, subject, start):
        """What is read for a batch of a subject's samples that are held out."""
        return self._read({subject: self.trials[subject].held_out(start, start + self.recipe.batch_size)}, {})

    def completed_held_out(self, read):
        """The batch of it."""
        return self._completed(read, self.recipe.steps, {})

    def identity(self):
        """What a training depends on beside responses and recipe: plain data, and arrays."""
        live = {name: one.identity for name, one in self.live.items()}
        described, arrays = [self._epoch_of, live], []
        for trials in self.trials.values():
            first = trials.stimuli[: min(8, len(trials.stimuli))]
            arrays += [trials.stimuli, *self._targets(first, first, self._values(first, {}), 0, {}).values()]
        if self._by_subject:
            described += [list(self.trials), *([self._companions] if self._companions else [])]
        if self._pairs is not None:
            described, arrays = (
                [*described, self._pairs.of, self._pairs.shared],
                [*arrays, np.asarray(self._pairs.categories)],
            )
        return described, arrays

    def _read(self, taken, live):
        """What is read for a batch of what it takes of each subject: (patterns, seen, shown, values by the array they are of)."""
        patterns = BySubject({subject: one.patterns for subject, one in taken.items()})
        seen, shown = (np.concatenate(rows) for rows in zip(*((one.seen, one.shown) for one in taken.values())))
        if not self._by_subject:
            (patterns,) = patterns.values()
        return patterns, seen, shown, self._values(shown, live)

    def _completed(self, read, step, live):
        patterns, seen, shown, values = read
        return {"patterns": patterns, "targets": self._targets(seen, shown, values, step, live), "step": step}

    def _values(self, shown, live):
        """Stored values of the stimuli (n,), float32, by the identity of their array; of one array they are read once."""
        arrays = {id(values): values for name, values in self.stored.items() if name not in live}
        return {one: np.asarray(values[shown], dtype=np.float32) for one, values in arrays.items()}

    def _targets(self, seen, shown, values, step, live):
        """True values of the stimuli (n,) that were shown, dict of str to array (n, ...)."""
        # Values of one source are found once. What it draws, such as the first weights of a network that is loaded for them, is
        # no affair of the objectives, which draw from the same generators.
        with random_state_kept() if live else nullcontext():
            found = {one: np.asarray(one(shown, step), dtype=np.float32) for one in dict.fromkeys(live.values())}
        targets = {name: found[live[name]] if name in live else values[id(one)] for name, one in self.stored.items()}
        if self._pairs is not None:
            for name, stimuli in zip(CATEGORIES, (seen, shown)):
                targets[name] = np.asarray(self._pairs.categories[stimuli], dtype=np.float32)[:, None]
        return targets


class _HeldOut:
    """Batches that are held out, made anew whenever they are gone through."""

    def __init__(self, samples, reading):
        self._samples, self._reading = samples, reading

    def __iter__(self):
        samples = self._samples
        for subject in samples.validated:
            for start in range(0, samples.trials[subject].n_held_out, samples.recipe.batch_size):
                yield samples.completed_held_out(self._reading(samples.read_held_out, subject, start))


def _check(training, recipe):
    """Refuse several subjects of which a batch or a folder cannot be made."""
    for subject in training.responses:
        if trouble := trouble_with_part(subject):
            raise InputError(
                f"The subject {subject!r} cannot have a file of its name because {trouble}; give it another name, such as "
                "subj01."
            )
        if subject not in training.stimulus_rows:
            raise InputError(
                f"There are responses of {subject} but no stimulus_rows; give each response the row of its stimulus."
            )
    n_subjects = len(training.responses) - max(len(training.companions) - 1, 0)
    n_parts = n_processes() * recipe.accumulate
    multiple = n_subjects * n_parts
    if recipe.batch_size % multiple:
        in_parts = f" in {n_parts} parts each" if n_parts > 1 else ""
        raise CannotTrain(
            f"A batch of {recipe.batch_size} samples cannot be shared by {n_subjects} subjects{in_parts}",
            f"make it a multiple of {multiple}: {{batch_size}}",
            {"batch_size": max(round(recipe.batch_size / multiple), 1) * multiple},
        )


def _kept_away(n_stimuli, same, recipe):
    """Rows of the stimuli that validation keeps away from training; those of one picture together."""
    if same is None:
        return held_out(n_stimuli, recipe.validation, recipe.seed)
    groups, members = np.unique(same, return_inverse=True)
    return np.flatnonzero(np.isin(members, held_out(len(groups), recipe.validation, recipe.seed)))


def _seed_of(subject, seed):
    """Seed of a subject's own order, whoever stands beside it."""
    return int.from_bytes(hashlib.sha256(f"{seed} {subject}".encode()).digest()[:6], "big")
