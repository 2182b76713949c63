"""For each stimulus of one subject, a sample of another subject that shows the same class: who teaches whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.ground.errors import InputError
from stages.ground.item_seeds import name_seed


@dataclass(frozen=True)
class Sampled:
    """Samples of other subjects.

    Attributes
    ----------
    subjects : array of str
        Whose each is.
    rows : int array
        Its place among the samples of that subject.
    """

    subjects: np.ndarray
    rows: np.ndarray


def class_partners(
    student: str, stimuli: Sequence[str], classes: Sequence, others: Mapping[str, Sequence], seed: int = 0
) -> Sampled:
    """Draw for each stimulus of a subject a sample of its class, all of those of the other subjects equally likely.

    >>> found = class_partners("subj01", ["a", "b"], [3, 5], {"subj02": [5, 3], "subj05": [5]})
    >>> str(found.subjects[0]), found.rows[0].item()
    ('subj02', 1)

    What a stimulus gets depends on its name, the seed and the others' samples, and not on the stimuli beside it.

    Parameters
    ----------
    student : str
        The subject, who is none of the others.
    stimuli : sequence of str
        Names of its stimuli.
    classes : sequence, length n_stimuli
        The class of each.
    others : mapping of str to sequence
        Classes of the samples of each other subject.
    seed : int

    Returns
    -------
    partners : Sampled
        In the order of the stimuli.

    Raises
    ------
    InputError
        The subject is among the others, numbers of stimuli and classes differ, or nobody else has a sample of a class.
    """
    if student in others:
        raise InputError(
            f"{student} is to be taught by {', '.join(others)}, one of whom it is itself; leave it out, and name others."
        )
    if len(stimuli) != len(classes):
        raise InputError(f"There are {len(stimuli):,} stimuli but {len(classes):,} classes; give each stimulus one.")
    known: dict = {}
    for subject, own in others.items():
        for row, name in enumerate(own):
            known.setdefault(name, []).append((subject, row))
    if alone := [row for row, name in enumerate(classes) if name not in known]:
        raise InputError(
            f"{len(alone):,} of {len(stimuli):,} stimuli of {student} are of classes that {', '.join(others) or 'nobody'} saw "
            f"nothing of (the first is {stimuli[alone[0]]}, of class {classes[alone[0]]}); make larger classes."
        )
    drawn = [
        known[one][np.random.default_rng(name_seed(f"{seed}/{stimulus}/partner")).integers(len(known[one]))]
        for stimulus, one in zip(stimuli, classes)
    ]
    return Sampled(
        np.array([subject for subject, _ in drawn], dtype=str), np.array([row for _, row in drawn], dtype=int)
    )
