"""Named values, the items they belong to, and what a chain learns from.

A value is known by its name: `patterns`, `clip_image`, `first_picture`, `picture`. It has one row per item: an array whose
first axis is the items, or a list of captions. `ABSENT` stands for a value that a condition takes away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.ground.errors import InputError
from stages.ground.progress import SILENT, Progress

if TYPE_CHECKING:
    from brainrecon.datasets.subject import Subject

Values = dict[str, Any]

PATTERNS = "patterns"
REPEATS = "repeats"
# What there is before the first step: the responses, and of how many trials each is the average.
MEASURED = (PATTERNS, REPEATS)
SHOWN = "shown"
"""The pictures that were shown, (n, height, width, 3) uint8: what there is before the first step of a chain that encodes."""
RESPONSES = "responses"
"""The output of a chain that encodes: the responses that pictures would evoke, (n, n_voxels), in the units of `patterns`."""


class Absent:
    """The type of `ABSENT`."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


@dataclass(frozen=True)
class Item:
    """One output to make: the subject, the stimulus that was seen, and which of several samples.

    >>> Item("subj01", "nsd00042", sample=2)
    Item(subject='subj01', stimulus_id='nsd00042', sample=2)

    Noise of an item depends on the run's seed, `stimulus_id` and `sample` alone.
    """

    subject: str
    stimulus_id: str
    sample: int = 0


@dataclass(frozen=True)
class Machine:
    """The device on which a chain computes, and the memory that it may take.

    >>> Machine("cuda:0", memory=4e9)
    Machine(device='cuda:0', memory=4000000000.0)

    Attributes
    ----------
    device : str
        Torch device.
    memory : float, optional
        Bytes that fitting a step may take.
    """

    device: str = "cpu"
    memory: float | None = None


@dataclass(frozen=True)
class Training:
    """What the steps of a chain learn from: the training splits of one subject or of several.

    Attributes
    ----------
    subjects : mapping of str to Subject
        By name; those that are learned from now.
    features : callable
        ``features(names, subject=None, by="columns") -> dict of str to FeatureTable (n_stimuli, n_values)``: true values of
        targets for the training stimuli of a subject, from the feature store or encoded now; rows in the order of
        ``subjects[subject].train.stimulus_ids``, or those of a subject in `pretraining`. The subject may be left out if there is
        one; `by` is how tables lie, see `FeatureStore.encode`.
    given_captions : callable, optional
        ``given_captions(subject) -> list of list of str``: captions of the training stimuli of the subject of that name in
        place of the dataset's own; None from it means the dataset's own.
    pretraining : mapping of str to Subject
        Of a new subject: those that the chain was fitted on before, empty if there are none.
    """

    subjects: Mapping[str, Subject]
    features: Callable[..., Mapping[str, Any]]
    given_captions: Callable[[str], list[list[str]] | None] = lambda subject: None
    pretraining: Mapping[str, Subject] = field(default_factory=dict)

    def captions(self) -> list[list[str]]:
        """Captions of the training stimuli of the one subject, a list for each.

        Raises
        ------
        InputError
            There are none.
        """
        captions = self.given_captions(self.subject.name) or self.subject.train.captions
        if captions is None:
            raise InputError(
                f"{self.subject.source} has no captions to learn from; pass --captions FILE, or put them where "
                "`brainrecon data files` says."
            )
        return captions

    @property
    def subject(self) -> Subject:
        """The one subject.

        Raises
        ------
        InputError
            There are several, and the step that asks learns from one.
        """
        if len(self.subjects) != 1:
            raise InputError(
                f"This step learns from one subject but {len(self.subjects)} were given ({', '.join(self.subjects)}); "
                "load one of them."
            )
        (subject,) = self.subjects.values()
        return subject


def _no_training_pictures() -> Any:
    raise InputError("This method shows training pictures and has none; open it through its run folder.")


@dataclass(frozen=True)
class Workspace:
    """What a step is given to be fitted or opened with.

    Attributes
    ----------
    folder : Path, optional
        The step's own folder, where a fit that takes long leaves what it needs to go on; None fits in memory.
    prediction : Prediction, optional
        Patterns to predict on the way, for a step that can do so in the pass in which it is fitted.
    store : FeatureStore
    description : dict
        What method.json says of the fitted chain; empty while it is being fitted.
    describe : callable
        ``describe(step)``: write method.json, before the file that says that the step is whole.
    pretrained : Path, optional
        Of a new subject: the folder of this step as it was fitted on the subjects before.
    training_pictures : callable
        ``training_pictures() -> array-like of shape (n_stimuli, height, width, 3), uint8``: those of the training split, for
        a step that shows them and is opened again.
    progress : callable
        Called with (label, done, total).
    """

    store: Any
    folder: Path | None = None
    pretrained: Path | None = None
    prediction: Prediction | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    describe: Callable[[Any], None] = lambda step: None
    training_pictures: Callable[[], Any] = _no_training_pictures
    progress: Progress = SILENT


@dataclass(frozen=True)
class Prediction:
    """Patterns (n_stimuli, n_voxels) whose predicted values are written to `path`, a row for each of `names`."""

    patterns: Any
    names: tuple[str, ...]
    path: Path
