"""Settings of a network that is trained on several subjects at once, and then on a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from brainrecon.assembly.network_settings import NetworkSettings
from stages.ground.checks import Number, OneOf, check_all

if TYPE_CHECKING:
    from stages.decoders.new_subject import NewSubject
    from stages.training.recipe import Recipe

ALL_LAYERS, OWN_LAYERS = "all layers", "own layers"


@dataclass(frozen=True)
class ManySubjectsSettings(NetworkSettings):
    """How a network of several subjects is trained.

    Attributes
    ----------
    batch_size : int
        Samples of a step, of one subject; of a new subject with companions, of both.
    batch_size_each : int
        Samples that each subject gives to a step, of several that are learned from together.
    subjects : int, optional
        How many are learned from together; it follows from the data, if it is not given.
    pretraining_epochs : int, optional
        Of the training on other subjects before a new one; as many as `epochs`, if it is not given.
    new_subject : {"all layers", "own layers"}
        What is trained of a new subject: all that the others share as well, or what belongs to that subject alone.
    """

    batch_size_each: int = 8
    subjects: int | None = None
    pretraining_epochs: int | None = None
    new_subject: str = ALL_LAYERS

    published_steps: ClassVar[int] = 1000
    """Of an epoch that no data settle; systems name theirs."""
    trained_of_new: ClassVar[tuple[str, ...]] = (ALL_LAYERS, OWN_LAYERS)
    """What `new_subject` may be; a system in which it follows from another setting has a word for that too."""
    of_new_subject: ClassVar[tuple[str, ...]] = ("new_subject",)
    """Settings that concern a new subject alone: it may come after a run on others in which they differ."""

    def __post_init__(self) -> None:
        super().__post_init__()
        some = Number(1, whole=True, optional=True, example=2)
        rules = {"batch_size_each": Number(1, whole=True, example=8), "subjects": some, "pretraining_epochs": some}
        check_all(self, rules | {"new_subject": OneOf(*self.trained_of_new)})

    @property
    def samples_of_a_step(self) -> int:
        """Of all subjects that are learned from together."""
        return self.batch_size if self.subjects in (None, 1) else self.batch_size_each * self.subjects

    @property
    def training_of_new(self) -> NewSubject:
        """What the training of a new subject does otherwise, as a decoder takes it."""
        from stages.decoders.new_subject import NewSubject

        return NewSubject(own_alone=self.new_subject == OWN_LAYERS)

    def settled_with(self, cohort: Mapping) -> ManySubjectsSettings:
        """These settings with as many subjects as there are, and with as many steps in an epoch as these fill.

        Parameters
        ----------
        cohort : mapping of str to brainrecon.datasets.subject.Subject
            Those that are learned from together, or the new one.

        Raises
        ------
        InputError
            The share for validation is none of the stimuli of a subject, or all.
        """
        from stages.training.batches import held_out

        for subject in cohort.values():
            held_out(subject.train.n_stimuli, self.validation, self.seed)
        own = replace(self, subjects=len(cohort))
        return own if self.steps_per_epoch is not None else replace(own, steps_per_epoch=own._steps_of_an_epoch(cohort))

    def _steps_of_an_epoch(self, cohort: Mapping) -> int:
        """As many as the first subject fills, whose samples are gone through once."""
        train = next(iter(cohort.values())).train
        n = train.n_stimuli - round(self.validation * train.n_stimuli)
        if self.trials in ("single", "apart"):
            n = round(n * train.n_trials / train.n_stimuli)
        return max(n // (self.samples_of_a_step // len(cohort)), 1)

    def for_pretraining(self) -> ManySubjectsSettings:
        """These settings on the subjects before a new one, whose number and trials are not yet known."""
        return replace(self, subjects=None, steps_per_epoch=None, epochs=self.pretraining_epochs or self.epochs)

    def recipe(self, published_steps: int | None = None) -> Recipe:
        """The recipe of the training loop; `published_steps` in an epoch, unless it is settled."""
        known = replace(self, batch_size=self.samples_of_a_step) if self.subjects else self
        return NetworkSettings.recipe(known, published_steps or self.published_steps)
