"""Several subjects of a dataset, the stimuli that they share, and the law that holds over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from brainrecon.datasets.fewer_trials import without_stimuli
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean


@dataclass(frozen=True)
class Learned:
    """How much several subjects have to learn from.

    Attributes
    ----------
    n_stimuli, n_trials : int
        Of all subjects together; a stimulus of two counts twice.
    n_voxels : mapping of str to int
        Of each subject.
    """

    n_stimuli: int
    n_trials: int
    n_voxels: Mapping[str, int]


class Cohort(Mapping[str, Subject]):
    """Subjects by their names, in the order in which they are given.

    >>> import brainrecon
    >>> report = brainrecon.simulate("cohort", subjects=2, sessions=2, trials_per_session=30, shared=5, voxels=160)
    >>> cohort = Cohort.load("nsd:cohort")
    >>> cohort
    Cohort(subj01, subj02: 5 stimuli shared by all)
    >>> len(cohort.shared_ids), len(cohort.own_ids("subj02")), cohort["subj01"].name
    (5, 15, 'subj01')

    Parameters
    ----------
    subjects : iterable of brainrecon.datasets.subject.Subject
        Of one kind of dataset; they may have other voxels, and other numbers of them.

    Raises
    ------
    InputError
        There is none, two have one name, or they are of several kinds of data.
    """

    def __init__(self, subjects: Iterable[Subject]) -> None:
        given = list(subjects)
        self._subjects = {subject.name: subject for subject in given}
        if not given:
            raise InputError("A cohort has 0 subjects; expected one or more: name them with --subjects.")
        if len(self._subjects) < len(given):
            names = [subject.name for subject in given]
            raise InputError(f"{max(names, key=names.count)} is twice in the cohort {', '.join(names)}; name it once.")
        kinds = {subject.dataset: subject.name for subject in given}
        if len(kinds) > 1:
            told = " and ".join(f"{name} of {kind}" for kind, name in kinds.items())
            raise InputError(f"A cohort is of one kind of data but has {told}; load all subjects of one.")

    @classmethod
    def load(cls, data: str, subjects: Iterable[str] | None = None, roi: str | None = None, **options) -> Cohort:
        """Subjects of a dataset, see `brainrecon.load`; all that there are unless some are named.

        Parameters
        ----------
        data : str
            ``kind:path``.
        subjects : iterable of str, optional
        roi, **options
            As of `brainrecon.load`, for every subject.

        Raises
        ------
        InputError
            A subject is not there.
        """
        from brainrecon.datasets import load

        names = there_of(data, subjects)
        return cls(load(data, subject=name, roi=roi, **options) for name in names)

    def __getitem__(self, name: str) -> Subject:
        return self._subjects[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._subjects)

    def __len__(self) -> int:
        return len(self._subjects)

    def __repr__(self) -> str:
        return f"Cohort({', '.join(self)}: {len(self.shared_ids):,} stimuli shared by all)"

    @cached_property
    def shared_ids(self) -> np.ndarray:
        """Stimuli that every subject saw, in any split, array of str in the order of the first subject."""
        first, *others = (_seen(subject) for subject in self.values())
        kept = np.ones(len(first), dtype=bool)
        for other in others:
            kept &= np.isin(first, other)
        return first[kept]

    def own_ids(self, name: str) -> np.ndarray:
        """Stimuli that a subject saw and no other did, array of str in the subject's order."""
        seen = _seen(self[name])
        others = [_seen(subject) for other, subject in self.items() if other != name]
        return seen[~np.isin(seen, np.concatenate(others))] if others else seen

    @property
    def n_voxels(self) -> dict[str, int]:
        """Voxels of each subject."""
        return {name: subject.n_voxels for name, subject in self.items()}

    @property
    def train(self) -> Split | Learned:
        """What is learned from: of one subject its training split; of several how much it is, a `Learned`."""
        splits = {name: subject.train for name, subject in self.items()}
        if len(splits) == 1:
            return next(iter(splits.values()))
        return Learned(
            sum(split.n_stimuli for split in splits.values()),
            sum(split.n_trials for split in splits.values()),
            self.n_voxels,
        )

    @property
    def tested_ids(self) -> np.ndarray:
        """Stimuli that any subject is tested on, array of str."""
        return np.unique(np.concatenate([subject.test.stimulus_ids for subject in self.values()]))

    def apart(self, tested: Iterable[str] | None = None) -> Cohort:
        """The same subjects, of whom none learns from a stimulus that one of them is tested on.

        A decoder of several subjects would otherwise know a tested picture from another subject. What is left out is said in
        the subject's notes; a subject that loses nothing stays as it is.

        Parameters
        ----------
        tested : iterable of str, optional
            The stimuli; those that any subject of the cohort is tested on by default.

        Raises
        ------
        InputError
            Nothing is left to learn from.
        """
        ids = self.tested_ids if tested is None else np.asarray(list(tested), dtype=str)
        return Cohort(without_stimuli(subject, ids, "that a subject is tested on") for subject in self.values())


def there_of(data: str, names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Names of subjects of ``kind:path``: those that are asked for, once they are there, or all.

    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> write_template("one-study")
    >>> there_of("arrays:one-study")
    ('subj01',)
    """
    from brainrecon.datasets import load, subjects
    from brainrecon.datasets.subject import subject_name

    here = subjects(data)
    if not here:
        load(data)  # says what is missing
    if names is None:
        return tuple(here)
    # As people write them: a name that is there stands, and 1 is subj01.
    asked = tuple(name if name in here else subject_name(name) for name in names)
    if absent := [name for name in asked if name not in here]:
        meant = did_you_mean(absent[0], here)
        raise InputError(f"There is no subject {absent[0]!r} at {data}; there are {', '.join(here) or 'none'}{meant}.")
    return asked


def _seen(subject):
    """Stimuli of all splits, each once, in order."""
    ids = np.concatenate([split.stimulus_ids for split in subject.splits.values()])
    _, first = np.unique(ids, return_index=True)
    return ids[np.sort(first)]
