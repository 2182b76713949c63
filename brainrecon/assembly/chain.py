"""The chain of a system: its steps, checked against each other, fitted in order, and run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from brainrecon.assembly import from_patterns
from brainrecon.assembly.chain_order import checked_order, held_against
from brainrecon.assembly.fitting import Fitting, fit_again
from brainrecon.assembly.settings import DESCRIPTION, read_saved, to_dict
from brainrecon.assembly.targets import encode
from brainrecon.assembly.trial_outputs import RESPONSES as OF_RESPONSES
from brainrecon.assembly.values import (
    MEASURED,
    RESPONSES,
    SHOWN,
    Item,
    Machine,
    Training,
    Workspace,
)
from brainrecon.datasets.folds import category_numbers, check_pictures_disjoint
from brainrecon.features.store import FeatureStore
from stages.ground.errors import InputError
from stages.ground.process_group import is_first
from stages.ground.progress import SILENT
from weights.seals import broken, seal
from weights.whole_files import write_text


class Chain:
    """The steps of a system.

    >>> from brainrecon.assembly.registry import system_class
    >>> chain = Chain(system_class("brain-diffuser")())
    >>> for step in chain.steps:
    ...     print(type(step).__name__, "gives", *step.gives)
    Decode gives vdvae clip_image clip_text
    Show gives first_picture
    Draw gives picture
    >>> chain.predicts, chain.output
    (('vdvae', 'clip_image', 'clip_text'), 'picture')

    Parameters
    ----------
    system : brainrecon.assembly.system.System
    machine : Machine, optional

    Attributes
    ----------
    steps : list of Step
    given : tuple of str
        Names of all values, in the order in which they come to be; those that are measured first.
    targets : dict of str to TargetSource
        Values that are predictions of a target.
    target_of : dict of str to str
        Value -> the target that it predicts: ``cnn8_V1`` and ``cnn8_V2`` are predictions of ``cnn8``.
    learned_targets : dict of str to TargetSource
        These, and what training is held against besides.
    n_voxels : int or dict of str to int, optional
        Of the patterns it was fitted on; of several subjects those of each.
    usual_size : float, optional
        Of the responses it was fitted on, as `brainrecon.assembly.response_size` takes it.
    described : dict
        What method.json says of the steps that are fitted.

    Raises
    ------
    InputError
        A step reads what no step before it gives, two steps give one value or learn in one folder, no step gives the output,
        or a step reads what the output is compared with.
    """

    def __init__(self, system, machine: Machine | None = None) -> None:
        self.system, self.machine = system, machine or Machine()
        self.steps = system.steps(self.machine)
        self.given = checked_order(self)
        self.targets = {name: source for step in self.steps for name, source in step.targets.items()}
        self.target_of = {name: target for step in self.steps for name, target in step.target_of.items()}
        self.learned_targets = held_against(self) | self.targets
        self.n_voxels: int | dict[str, int] | None = None
        self.usual_size: float | None = None
        self.described: dict = {}

    name = property(lambda self: self.system.name)
    output = property(lambda self: self.system.output)
    image_embedding = property(lambda self: self.system.image_embedding)

    def __repr__(self) -> str:
        arrows = " -> ".join(f"{type(step).__name__}({', '.join(step.gives)})" for step in self.steps)
        return f"Chain({self.name}: {arrows})"

    @property
    def encodes(self) -> bool:
        """Whether it goes from pictures to responses: its output is `values.RESPONSES`, and it reads `values.SHOWN`."""
        return self.output == RESPONSES

    @property
    def measured(self) -> tuple[str, ...]:
        """What there is before the first step: the responses, or of a chain that encodes the shown pictures.

        Both are there only if outputs are chosen by the shown pictures, and no step but the one that chooses may read these.
        """
        if self.encodes:
            return (SHOWN,)
        return (*MEASURED, SHOWN) if self.system.chooses_by_shown else MEASURED

    # Asked by name

    def giver(self, name: str):
        """The step that gives a value; None for what is measured."""
        return next((step for step in self.steps if name in step.gives), None)

    def readers(self, name: str) -> list:
        """The steps that read a value."""
        return [step for step in self.steps if name in (*step.reads, *step.optional)]

    def medium(self, name: str) -> str:
        """Medium of a value: features, picture, caption or film."""
        step = self.giver(name)
        return "features" if step is None else step.medium(name)

    def needed(self, name: str) -> set[str]:
        """Names of all values that `name` is made from, itself included."""
        step = self.giver(name)
        inputs = () if step is None else (*step.reads, *step.optional)
        return {name}.union(*(self.needed(one) for one in inputs))

    @cached_property
    def predicting(self) -> list:
        """The steps that give features."""
        return [step for step in self.steps if any(step.medium(name) == "features" for name in step.gives)]

    @property
    def predicts(self) -> tuple[str, ...]:
        """Values that can be asked for as embeddings: those of medium features, in order."""
        return tuple(name for step in self.steps for name in step.gives if step.medium(name) == "features")

    @property
    def averages_outputs(self) -> bool:
        """Whether a step reads trials one by one, and what it gives, or makes of them first, is averaged over them."""
        return any(step.averages != OF_RESPONSES for step in self.steps)

    @property
    def draws(self) -> bool:
        """Whether outputs are drawn, each into a file; features are predicted when the chain is fitted."""
        return self.medium(self.output) != "features"

    # Learning

    def encoded_to_learn(self, taken=()) -> tuple[str, ...]:
        """Values whose targets are encoded for fitting, one for each target: what several are held to is encoded once.

        Parts that are `taken` from elsewhere learn nothing.
        """
        first: dict = {}
        for step in self.steps:
            for name in (*step.gives, *step.beside) if step.is_learned and step.part not in taken else ():
                if name in self.learned_targets:
                    first.setdefault(id(self.learned_targets[name]), name)
        return tuple(first.values())

    def check_data(self, subject) -> None:
        """Refuse data that the system cannot learn from; reading all pictures takes a while."""
        self.check_pictures(subject)
        if self.system.needs.categories:
            category_numbers(subject)
        if self.system.needs.disjoint_pictures:
            check_pictures_disjoint(subject)

    def check_pictures(self, subject) -> None:
        """Refuse data without the pictures that the system learns from."""
        if self.system.needs.pictures and subject.train.images is None:
            raise InputError(
                f"{subject.source} has no pictures to learn from; put them where `brainrecon data files` says."
            )

    def fit(
        self,
        training: Training,
        folder=None,
        store=None,
        predictions=None,
        progress=SILENT,
        training_pictures=None,
        taken=None,
        pretrained=None,
    ):
        """Fit the steps in order.

        Parameters
        ----------
        training : Training
        folder : path, optional
            Where fitted steps are written, and found; without it everything stays in memory.
        store : FeatureStore, optional
        predictions : mapping of str to Prediction, optional
            Patterns that steps may predict on the way, by the part of the step.
        progress : callable
        training_pictures : callable, optional
            As a `Workspace` has it, for steps that are opened instead of fitted.
        taken : mapping of str to str, optional
            Checkpoints from which steps are taken instead of fitted, by the part of the step. All are read and checked before
            one is written.
        pretrained : path, optional
            Of a new subject: what `save` wrote of this chain when it was fitted on the subjects before. Steps go on from it, or
            are kept as they were, see `Step.for_new_subject`.

        Returns
        -------
        self
        """
        Fitting(self, training, folder, store or FeatureStore(), progress, training_pictures).fit(
            predictions or {}, taken or {}, pretrained
        )
        return self

    def free_targets(self) -> None:
        """Let go of the targets' networks: what comes next does not need them, or loads them again."""
        for source in self.learned_targets.values():
            source.free()

    def free(self) -> None:
        """Let go of all networks that can be loaded again."""
        self.free_targets()
        for step in self.steps:
            step.free()

    def fit_in_memory(self, subjects, store=None, progress=SILENT, captions=None, pretrained=None, before=None):
        """Fit on subjects, their targets from the feature store or encoded now, without a folder.

        Parameters
        ----------
        subjects : brainrecon.datasets.subject.Subject or brainrecon.datasets.cohort.Cohort
        store, progress, pretrained
            As of `fit`.
        captions : list of list of str, optional
            Of the training stimuli of the one subject, in place of the dataset's own.
        before : brainrecon.datasets.cohort.Cohort, optional
            Of a new subject: the subjects that `pretrained` was fitted on, if a step looks at their responses.
        """
        those = dict(subjects) if isinstance(subjects, Mapping) else {subjects.name: subjects}
        first = next(iter(those))
        if len(those) > 1 and self.system.many_subjects != "together":
            raise InputError(
                f"{self.name} learns from one subject but was given {', '.join(those)}; give it one of these, or choose a method "
                "of several."
            )

        def features(names, subject=first, by="columns"):
            found, of = store or FeatureStore(), {**(before or {}), **those}[subject]
            return encode(
                self.learned_targets, names, of, "train", found, captions=lambda: captions, by=by, progress=progress
            )

        training = Training(those, features, lambda name: captions, dict(before or {}))
        return self.fit(training, store=store, progress=progress, pretrained=pretrained)

    def is_fitted(self, folder) -> bool:
        """Whether `folder` holds every fitted step."""
        return (Path(folder) / DESCRIPTION).exists() and all(
            step.is_fitted(Path(folder) / step.part) for step in self.steps
        )

    def save(self, folder) -> None:
        """Write settings and every fitted step into `folder`."""
        self.describe(folder, *self.steps)
        for step in self.steps:
            step.save(Path(folder) / step.part)
        seal(folder)

    def open(self, folder, store=None, **found):
        """Read what `save` wrote, or the decoder folder of a run; `found` is what a `Workspace` has besides."""
        if damage := broken(folder):
            raise InputError(f"In {folder}, {damage}; {fit_again(folder)}.")
        self.described = read_saved(folder)
        self.n_voxels, self.usual_size = (self.described.get(name) for name in ("n_voxels", "usual_size"))
        for step in self.steps:
            if step.is_learned:
                own = Path(folder) / step.part
                step.open(Workspace(store or FeatureStore(), own, description=self.described, **found))
        return self

    def describe(self, folder, *steps) -> None:
        """Write method.json, with what these steps have to say besides."""
        for step in steps:
            self.described |= step.description()
        known = {"method": self.name, "settings": to_dict(self.system.settings), "n_voxels": self.n_voxels}
        if self.usual_size is not None:
            known["usual_size"] = self.usual_size
        # In one order, whether a step was fitted now or found.
        described = {name: value for name, value in self.described.items() if name not in known}
        if is_first():
            write_text(Path(folder) / DESCRIPTION, json.dumps(described | known, indent=1) + "\n")

    def summary(self) -> list[dict]:
        """What was learned, for people: a row each, the first value its name and the others numbers."""
        return [row for step in self.steps for row in step.summary()]

    def curves(self) -> dict:
        """The course of training of each step that was trained: dict of its values' names to dict of label to (steps, values)."""
        return {step.about: curves for step in self.steps if (curves := step.curves())}

    # Running

    def predict(self, patterns, subject=""):
        """Embeddings of patterns: dict of value name to array (n_stimuli, n_values), float32; `subject` is whose they are.

        Each pattern is taken as one trial by a step that averages outputs. A chain that encodes takes pictures in place of
        patterns, (n_stimuli, height, width, 3) uint8, and what it gives last are the responses to them.
        """
        if not self.predicts:
            raise InputError(
                f"{self.name} predicts no embeddings, only its {self.output}; reconstruct with it instead."
            )
        values = from_patterns.measured(self, self.checked(patterns, subject), 1)
        items = [Item(subject, str(row)) for row in range(len(patterns))]
        wanted = set().union(*(self.needed(name) for name in self.predicts))
        for step in self.steps:
            if wanted.intersection(step.gives):
                values |= step.run(items, {name: values[name] for name in (*step.reads, *step.optional)})
        return {name: values[name] for name in self.predicts}

    def run_from_patterns(
        self,
        stimulus_ids,
        patterns,
        *,
        samples=1,
        seed=0,
        batch_size=None,
        repeats=None,
        subject="",
        progress=SILENT,
    ):
        """Outputs for patterns, without a run folder.

        Parameters
        ----------
        stimulus_ids : sequence of str, length n_stimuli
            With `seed` and the sample's number they determine the noise.
        patterns : array of shape (n_stimuli, n_voxels), float32
            Each is taken as one trial by a step that averages outputs. Pictures for a chain that encodes, as of `predict`.
        samples : int
        seed : int
        batch_size : int, optional
            Items drawn at a time.
        repeats : int, optional
            Trials that each pattern is the average of; unknown if it is not given.
        subject : str
            Whose patterns they are, for a chain of several subjects.
        progress : callable, optional

        Returns
        -------
        array of shape (n_stimuli, samples, ...)
            For pictures (n_stimuli, samples, height, width, 3), uint8.

        Raises
        ------
        NotFinite
            Outputs are NaN or infinite; `stream_from_patterns` gives the others.
        """
        outputs = [[None] * samples for _ in stimulus_ids]
        drawn = self.stream_from_patterns(
            stimulus_ids,
            patterns,
            samples=samples,
            seed=seed,
            batch_size=batch_size,
            repeats=repeats,
            subject=subject,
        )
        for done, (row, sample, output) in enumerate(drawn, start=1):
            outputs[row][sample] = output
            progress("reconstructing", done, len(stimulus_ids) * samples)
        return np.stack([np.stack(own) for own in outputs])

    def stream_from_patterns(
        self, stimulus_ids, patterns, *, samples=1, seed=0, batch_size=None, repeats=None, subject=""
    ):
        """Yield (row of the pattern, sample, output) as they are drawn; arguments as of `run_from_patterns`.

        Raises
        ------
        NotFinite
            Outputs are NaN or infinite; raised after all others have been yielded.
        """
        return from_patterns.stream(
            self,
            stimulus_ids,
            self.checked(patterns, subject),
            samples=samples,
            seed=seed,
            batch_size=batch_size,
            repeats=repeats,
            subject=subject,
        )

    def checked(self, patterns, subject=""):
        """Patterns as they are, if they have the right number of voxels and are finite; an InputError if not.

        `subject` is whose they are, which a chain of several subjects has to know.

        A warning names the factor where they are of another size than the responses that the method learned from.
        """
        return from_patterns.checked(self, patterns, subject)
