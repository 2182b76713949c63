"""A system: a published method as its name, its paper, its settings, and the steps of its chain."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.settings import from_dict
from brainrecon.assembly.step import Step
from brainrecon.assembly.targets import TargetSource, part
from brainrecon.assembly.values import Machine
from weights import store as checkpoint_store
from weights.sizes import with_sizes


@dataclass(frozen=True)
class Needs:
    """Data that a system needs.

    >>> Needs(captions=True)
    Needs(pictures=True, disjoint_pictures=False, captions=True, categories=False)

    Attributes
    ----------
    pictures : bool
        Pictures of the training stimuli.
    disjoint_pictures : bool
        No picture stands in training and in another split under two ids; reading all of them takes a while.
    captions : bool
        Captions of the training stimuli, without which it cannot learn.
    categories : bool
        Categories of the training stimuli, likewise.
    """

    pictures: bool = True
    disjoint_pictures: bool = False
    captions: bool = False
    categories: bool = False


@dataclass(frozen=True)
class NoSettings:
    """A system without settings."""


WITH_MANY_SUBJECTS = {
    "": "learns from one",
    "together": "learns from several together, and a new one is added after them (--subjects, --new-subject)",
    "reference": "learns from one, into whose voxels others are brought (--subjects, --new-subject)",
}
"""What `System.many_subjects` says, in words."""


class System(ABC):
    """A published method.

    >>> import brainrecon
    >>> import numpy as np
    >>> from brainrecon.assembly.step import Step
    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> class AlwaysTheFirst(Step):
    ...     gives, media, is_learned = ("picture",), {"picture": "picture"}, True
    ...     def fit(self, training, workspace):
    ...         self.picture = np.asarray(training.subject.train.images[0])
    ...     def run(self, items, values, *, seed=0):
    ...         return {"picture": [self.picture] * len(items)}
    >>> class Mine(System):
    ...     name, explanation = "always-the-first", "the first training picture, whatever the response"
    ...     def steps(self, machine):
    ...         return [AlwaysTheFirst()]
    >>> write_template("my-study")
    >>> subject = brainrecon.load("arrays:my-study")
    >>> reconstructor = brainrecon.Reconstructor(Mine).fit(subject)
    >>> reconstructor.reconstruct(subject.test.patterns, subject.test.stimulus_ids).shape
    (4, 1, 64, 64, 3)

    Parameters
    ----------
    settings : settings_class or dict, optional
        A nested dictionary names only what differs from the defaults.

    Attributes
    ----------
    name : str
        On the command line.
    explanation : str
        How its output is made, in a line.
    citation : str
        Authors, year, title, place; empty for a system that nobody published.
    settings_class : type
        A frozen dataclass of dataclasses and plain values.
    evidence : Evidence, optional
        What is known of its likeness to its authors' code; `brainrecon methods` and the documentation show it.
    many_subjects : {"", "together", "reference"}
        What it makes of several subjects: nothing, it learns from one; all are learned from together, and a new one is added by
        going on; or one is the reference, into whose space others are brought.
    output : str
        The last value of its chain: what a task scores. If it depends on the settings, the instance has its own, and its own
        explanation and protocol with it.
    needs : Needs
    tiny : mapping
        Settings for the embedded networks: the checkpoints that have an embedded twin, and what goes with them.
    without_captions : mapping
        Settings for data that have no captions; empty if it reads none.
    without_captions_note : str
        What to say then.
    asks_for : str
        What its settings have to name before it is anything; empty if its defaults are complete.
    image_embedding : str, optional
        The value by which pictures are compared: the training picture nearest to what was decoded.
    compared_by : mapping of str to str
        Target that a protocol scores or searches -> the value of its own by which it is compared there, a prediction of the
        same target under another name, such as an embedding that was trained for retrieval.
    of_drawing : tuple of str
        Names of settings that nothing learned depends on, so that a run may take the decoder of one in which they differ.
    of_new_subject : tuple of str
        Names of settings that concern a new subject alone, so that it may come after a run on others in which they differ.
    protocol : str
        How its output is judged if that is of photographs and by published networks, and nothing else is asked for.
    """

    name: ClassVar[str]
    explanation: str
    citation: ClassVar[str] = ""
    settings_class: ClassVar[type] = NoSettings
    evidence: ClassVar[Evidence | None] = None
    many_subjects: ClassVar[str] = ""
    output: str = "picture"
    needs: ClassVar[Needs] = Needs()
    tiny: ClassVar[Mapping[str, Any]] = {}
    without_captions: ClassVar[Mapping[str, Any]] = {}
    without_captions_note: ClassVar[str] = (
        "No captions: the text context is dropped (text_context = false in config.toml)."
    )
    asks_for: ClassVar[str] = ""
    image_embedding: ClassVar[str | None] = None
    compared_by: ClassVar[Mapping[str, str]] = {}
    of_drawing: ClassVar[tuple[str, ...]] = ("generator", "checkpoints.generator")
    of_new_subject: ClassVar[tuple[str, ...]] = ()
    protocol: str = "mindeye-2023"

    def __init__(self, settings: Any = None) -> None:
        if not isinstance(settings, self.settings_class):
            settings = from_dict(self.settings_class, settings or {})
        self.settings = settings

    @abstractmethod
    def steps(self, machine: Machine) -> list[Step]:
        """The steps of the chain, in order, not yet fitted."""

    def settled(self, train: Any) -> Any:
        """Its settings, with what they leave to the data settled by a training split; a run records these."""
        return self.settings

    def settled_by(self, subject: Any) -> Any:
        """As `settled`, by the whole subject: what else stands beside its data."""
        return self.settled(subject.train)

    def settled_with(self, cohort: Any) -> Any:
        """As `settled_by`, by all subjects that are learned from together, the one that is tested among them.

        Parameters
        ----------
        cohort : mapping of str to brainrecon.datasets.subject.Subject
            The first is the one that is tested first.
        """
        return self.settled_by(next(iter(cohort.values())))

    def for_pretraining(self) -> Any:
        """Its settings where it is fitted on subjects before a new one."""
        return self.settings

    def category_means(self, target: str) -> Any:
        """Averages of categories among which predictions of a target are to be looked for, `stages.priors.category_means`.

        None if it knows none: they are then those of the categories of the stimuli.
        """
        return None

    # What a system may say otherwise, from its settings

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Names in `weights/manifest.toml` of what it reads: those of its settings' `checkpoints`, sorted."""
        return tuple(sorted(set(self._roles.values())))

    @property
    def clip(self) -> str | None:
        """Its CLIP checkpoint: it chooses captions and makes clusters of look-alikes; None if it has none."""
        return self._roles.get("clip")

    @property
    def generator_size(self) -> Any:
        """Size of the published generator that it draws with, `stages.generators.diffusion.memory.GeneratorSize`, or None."""
        from stages.generators.diffusion.published_sizes import PUBLISHED_SIZES

        return PUBLISHED_SIZES.get(self._roles.get("generator", ""))

    @property
    def fitted_through(self) -> tuple[str, ...]:
        """Names of checkpoints whose networks took part in a loss: if they also judge, scores say so."""
        return ()

    @property
    def chooses_by_shown(self) -> bool:
        """Whether its outputs are chosen by the pictures that were shown, as some published ones are; scores say so.

        Such a score is no measure of what was decoded: it has to be asked for, by a setting.
        """
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its scores has to know, a sentence each."""
        return ()

    @property
    def reads_single_trials(self) -> bool:
        """Whether the samples of a stimulus are drawn from its trials, one from each, and not all from their average."""
        return False

    # For its steps

    def target(
        self, place: str, role: str, machine: Machine, folders: Mapping[str, str] | None = None, **options: Any
    ) -> TargetSource:
        """A target, ``module:class``, from the checkpoint in a role of its settings' `checkpoints`.

        Parameters
        ----------
        place : str
        role : str
        machine : Machine
        folders : mapping of str to str, optional
            Options that are folders, each of the checkpoint in another role: ``{"tokenizer": "words"}``.
        **options
            What the target is told besides.
        """
        folders = dict(folders or {})

        def told(check: bool = True) -> dict[str, Any]:
            return {option: self.folder(other, check) for option, other in folders.items()} | options

        def load() -> Any:
            return part(place).from_pretrained(self.folder(role), device=machine.device, **told())

        def sketch() -> Any:
            from stages.checkpoints.outlines import outlines

            with outlines():
                return part(place).from_pretrained(self.folder(role, check=False), device="meta", **told(check=False))

        def sketched_from() -> tuple:
            read = [self.folder(one, check=False) for one in roles]
            found = ((path, path.stat()) for folder in read for path in sorted(folder.rglob("*")))
            files = tuple((path.name, one.st_size, one.st_mtime_ns) for path, one in found)
            return place, *map(str, read), files, repr(sorted(options.items()))

        roles = (role, *folders.values())
        names, dtype = tuple(self._roles[one] for one in roles), self.settings.decoder.features
        return TargetSource(load, names, dtype, sketch=sketch, sketched_from=sketched_from)

    def folder(self, role: str, check: bool = True) -> Path:
        """Folder of the checkpoint in a role of its settings' `checkpoints`; its files are proved unless `check` is off.

        Raises
        ------
        CheckpointError
            It is absent; the message names the embedded networks if the role has an embedded twin.
        """
        try:
            return checkpoint_store.path(self._roles[role], check)
        except checkpoint_store.CheckpointError as error:
            twin = role in self.tiny.get("checkpoints", {})
            more = (
                " Or take the small embedded networks, which know no photographs, with --weights tiny." if twin else ""
            )
            raise checkpoint_store.CheckpointError(f"{self._all_absent(role) or error}{more}") from None

    def _all_absent(self, role: str) -> str:
        """A sentence that names every checkpoint that is absent, if that of this role is and another is, too; else nothing."""
        found = checkpoint_store.verify(self.checkpoints, check=False)
        absent = [checkpoint_store.entry(status.name) for status in found if status.state == "absent"]
        if len(absent) < 2 or self._roles[role] not in {entry.name for entry in absent}:
            return ""
        named = " ".join(entry.name for entry in absent)
        return (
            f"{self.name} reads {with_sizes(absent)}, absent here; fetch them with `brainrecon weights pull {named}`, or set "
            "BRAINRECON_WEIGHTS to the folder that holds them."
        )

    @property
    def _roles(self) -> dict[str, str]:
        """Role -> name of the checkpoint, from the settings' `checkpoints`; a role without a name has none."""
        named = {field.name: getattr(self.settings, field.name) for field in dataclasses.fields(self.settings)}
        roles = vars(named["checkpoints"]) if "checkpoints" in named else {}
        return {role: name for role, name in roles.items() if name}
