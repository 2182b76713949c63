"""The step from patterns to named values by a decoder that learns from everything at once, such as a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from brainrecon.assembly.changed_pictures import ChangedPictures
from brainrecon.assembly.region_voxels import RegionVoxels
from brainrecon.assembly.step import Step
from brainrecon.assembly.targets import loaded, operations_of_one
from brainrecon.assembly.training_cost import bytes_needed, describe_training
from brainrecon.assembly.training_tables import bytes_of_one, concatenated, of_one, tables_of
from brainrecon.assembly.trial_outputs import INPUTS, OUTPUTS, RESPONSES
from brainrecon.datasets.folds import category_numbers
from stages.decoders.trained import Training
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_rows
from stages.ground.main_memory import main_memory
from stages.ground.process_group import n_processes
from stages.training.pairs import CATEGORIES
from stages.training.trouble import CannotTrain, in_recipe
from weights import store as checkpoint_store
from weights.suggestions import did_you_mean

# How the training loop calls what an epoch goes through.
_EPOCHS = {
    "averaged": "trials",
    "single": "trials",
    "apart": "trials apart",
    "in turn": "stimuli",
    "mixed": "mixtures",
    "virtual": "virtual trials",
}
TRIALS = tuple(_EPOCHS)


class Learn(Step):
    """Fit a decoder of `stages.decoders` to targets, and predict them.

    >>> from torch import nn
    >>> from brainrecon.assembly.targets import TargetSource
    >>> from stages.decoders.trained import TrainedDecoder
    >>> from stages.training.recipe import Recipe
    >>> class Linear(nn.Linear):
    ...     def __init__(self, n_voxels, gives):
    ...         super().__init__(n_voxels, gives["colour"][0])
    ...     def forward(self, patterns):
    ...         return {"colour": super().forward(patterns)}
    >>> class Colour:
    ...     shape, n_targets = (3,), 3
    >>> colour = TargetSource(Colour, checkpoints=())
    >>> step = Learn({"colour": colour}, TrainedDecoder(Linear, Recipe(steps=100, batch_size=16)))
    >>> step.reads, step.gives, step.is_learned
    (('patterns',), ('colour',), True)

    Parameters
    ----------
    targets : mapping of str to brainrecon.assembly.targets.TargetSource
        By predicted value; several values may be held to one target.
    decoder : stages.decoders.decoder.Decoder
        Not yet fitted: ``decoder.fit(training, folder=None, progress=...)`` goes on where it was interrupted if it is given
        a folder; its class has ``from_pretrained(folder, device=...)``. One that trains by `stages.training.loop.train` has
        `trains_together` true, and one of several subjects `reads_subjects`.
    device : str
    trials : {"averaged", "single", "apart", "in turn", "mixed", "virtual"}
        Learn from patterns, each the average of a stimulus's trials; from every trial by itself, and if they are apart no
        two of a stimulus in a step; from one trial of every stimulus in an epoch, those of each taking turns; or from a mixture
        of them, `stages.training.batches.Mixtures` or `VirtualTrials` there.
    part : str
        Folder of what it learns.
    beside : mapping of str to TargetSource, optional
        What objectives of the decoder are held against besides; its network has outputs of these names, which are no values of
        the chain.
    changing : mapping of str to stages.training.picture_changes.PictureChanges, optional
        Values of `targets` and `beside` that are, in training, those of changed pictures: encoded anew in every step.
        Validation is held against those of the pictures as they are.
    released : stages.decoders.released.Released, optional
        How the file is read in which the method's authors released this decoder, for one that has
        ``take(folder, name, released, n_voxels, gives)``.
    settings : str, optional
        The table of the system's settings that the decoder's recipe is made of, such as "decoder": errors of a training advise
        in what people type.
    pairs : stages.training.pairs.Pairs, optional
        Learn from pictures beside virtual trials of a category, whatever `trials` says. Categories are those of the dataset.
    free : mapping of str to callable, optional
        Values that are given besides, for which nothing is true: ``free[name]() -> shape``.
    derived : mapping of str to callable, optional
        What objectives are held against besides, and no target gives, such as a caption behind that of a similar picture:
        ``derived[name](training, pretrained) -> array (n_stimuli, *shape)`` of the training of one subject, whose `shape` is
        about that of a row. None of all subjects, where it needs the folder of what was learned from others before and there is
        none: objectives that have `if_known` true are left out then.
    arguments : callable, optional
        ``arguments(subject) -> dict``: of the network, what follows from the subject; ``arguments(subjects)``, which are a dict
        by name, of a network that reads several.
    outlined : callable, optional
        ``outlined() -> dict``: of these what is known without it, for the cost that is told before.
    memory : float, optional
        Bytes of main memory that targets may take: half of it by default. More are read from the feature store batch by batch,
        from tables by rows.
    averages : {"responses", "inputs", "outputs"}
        What is averaged over the trials of a tested stimulus, see `brainrecon.assembly.trial_outputs`; `trials` is about those
        that are learned from. Inputs are what the network's method `prepared` makes of standardised patterns.
    n_trials : int
        Outputs that are averaged.
    companions : bool
        Whether, of a new subject, those that were learned from before are learned with again, one in each step: see
        `stages.decoders.trained.Training.companions`.
    kept_back : bool
        Whether the chain gets nothing of it: another step begins with its network, or predicts by it.
    left_out : callable, optional
        ``left_out(stimulus_ids) -> bool array``: training stimuli of which nothing is learned, whoever saw them.
    roi : str
        Voxels to read, of those that the subject was loaded with; see `brainrecon.datasets.voxels`. By default all. Of a decoder
        of one subject alone.

    Attributes
    ----------
    voxels : bool array of shape (n_voxels,), or None
        Those of the region; None for all.
    """

    is_learned = True

    def __init__(
        self,
        targets,
        decoder,
        device="cpu",
        trials="averaged",
        part="",
        *,
        beside=None,
        changing=None,
        released=None,
        settings=None,
        pairs=None,
        free=None,
        derived=None,
        arguments=None,
        outlined=None,
        memory=None,
        averages=RESPONSES,
        n_trials=3,
        companions=False,
        kept_back=False,
        left_out=None,
        roi="all",
    ):
        if trials not in TRIALS:
            raise InputError(
                f"trials is {trials!r}; expected one of {', '.join(TRIALS)}{did_you_mean(trials, TRIALS)}: pass --set "
                "trials=single."
            )
        self.targets, self._named, self.part = targets, (*targets, *(free or {})), part
        self.gives = () if kept_back else self._named
        self.decoder, self._device, self._trials = decoder, device, trials
        self.beside, self._changing = dict(beside or {}), dict(changing or {})
        self._released, self._settings, self._pairs = released, settings, pairs
        self._free, self._derived, self._arguments = dict(free or {}), dict(derived or {}), arguments
        self._outlined, self._memory, self._companions, self._costs = outlined, memory, companions, {}
        self._left_out = left_out
        self.averages = check("averages", averages, OneOf(RESPONSES, INPUTS, OUTPUTS))
        self.n_trials = check("n_trials", n_trials, Number(1, whole=True, example=3))
        self.trains_together = getattr(decoder, "trains_together", False)
        self.reads_subjects = getattr(decoder, "reads_subjects", False)
        self.for_new_subject = "go on" if self.reads_subjects else "again"
        self.roi, self._region = roi, RegionVoxels(roi)
        if self.reads_subjects and roi != "all":
            raise InputError(
                f"roi is {roi!r} but the network of {', '.join(self._named)} reads several subjects, each with all voxels it was "
                "loaded with; load the region with --roi, or leave roi out here."
            )

    @property
    def voxels(self):
        return self._region.voxels

    def fit(self, training, workspace):
        if len(training.subjects) > 1 and not self.reads_subjects:
            # Refused now rather than after hours of encoding.
            _ = training.subject
        pairs = None if self._pairs is None else replace(self._pairs, categories=category_numbers(training.subject))
        if companions := self._companions_of(training, workspace):
            training = replace(training, subjects=companions | dict(training.subjects))
        if self._arguments is not None:
            known = training.subjects if self.reads_subjects else training.subject
            self.decoder.arguments |= self._arguments(known)
        if self.roi != "all":
            self._region.choose(training.subject)
        sources, averaged = {**self.targets, **self.beside}, self._trials == "averaged" and pairs is None
        tables = tables_of(training, sources, self._room)
        responses, rows = {}, {}
        for name, subject in training.subjects.items():
            train = subject.train
            responses[name] = self._region.of(train.patterns if averaged else train.betas)
            rows[name] = tables.rows[name] if averaged else tables.rows[name][train.positions]
            if self._left_out is not None:
                kept = ~self._left_out(train.stimulus_ids)
                kept = np.flatnonzero(kept if averaged else kept[train.positions])
                responses[name], rows[name] = as_rows(responses[name]).take(kept), rows[name][kept]
        derived = {
            name: [derive(of_one(training, owner), workspace.pretrained) for owner in tables.owners]
            for name, derive in self._derived.items()
        }
        derived = {name: concatenated(parts) for name, parts in derived.items() if parts[0] is not None}
        learned = Training(
            responses,
            rows,
            {name: tables.values[name] for name in self.targets},
            _EPOCHS[self._trials] if pairs is None else "pictures",
            beside={name: tables.values[name] for name in self.beside} | derived,
            live=self._live(training, sources, tables.owners, workspace.progress),
            pairs=pairs,
            free={name: shape() for name, shape in self._free.items()},
            same=tables.same,
            companions=tuple(companions),
        )
        begun = {} if workspace.pretrained is None else {"pretrained": workspace.pretrained}
        try:
            self.decoder = self.decoder.fit(learned, folder=workspace.folder, progress=workspace.progress, **begun)
        except CannotTrain as error:
            raise error if self._settings is None else error.respelled(self._typed, self._where(workspace)) from error
        for name in self._changing:
            # The next step may need the memory.
            sources[name].free()

    def _companions_of(self, training, workspace):
        """Subjects that a new one is learned with again, by name."""
        if not self._companions or workspace.pretrained is None:
            return {}
        if not training.pretraining:
            raise InputError(
                "Those who were learned from before are to stand beside the new subject, but only their decoder is there; name "
                f"them with --subjects, or pass {self._typed('companions', 'false')}."
            )
        return dict(training.pretraining)

    def _live(self, training, sources, owners, progress):
        """What encodes changed pictures, by value; values of one target and one change have one."""
        if not self._changing:
            return {}
        images, made = concatenated([training.subjects[owner].train.images for owner in owners]), {}
        for name, changes in self._changing.items():
            key = sources[name], changes
            if key not in made:
                # Now, and not in the first step, so that people are told.
                loaded(sources[name], name, progress)
                made[key] = ChangedPictures(sources[name], images, changes, self._device)
        return {name: made[sources[name], changes] for name, changes in self._changing.items()}

    def _where(self, workspace):
        """What to type besides another setting: a folder in which something was computed holds a run of its own settings."""
        folder = workspace.folder and (Path(workspace.folder).parent if self.part else Path(workspace.folder))
        return " and another --out" if folder and any(path.is_file() for path in folder.rglob("[!.]*")) else ""

    def _typed(self, name, value):
        """How a setting of the training is typed."""
        return in_recipe(name, value) if self._settings is None else f"--set {self._settings}.{name}={value}"

    # Before it begins

    @property
    def _room(self):
        """Bytes of main memory that targets may take."""
        return self._memory if self._memory is not None else main_memory() // 2 // n_processes()

    @property
    def precision(self):
        return self.decoder.recipe.precision if self._counts else None

    def cost(self, train):
        cost = self._counted(train)
        if cost is None:
            return []
        targets = self._bytes_of_targets(train)
        return describe_training(cost, self.decoder.recipe, self._named, targets, self._device, self._typed)

    def memory(self, train):
        cost = self._counted(train)
        return None if cost is None else bytes_needed(cost, self._bytes_of_targets(train), self._device)[self._device]

    def operations(self, train):
        cost = self._counted(train)
        if cost is None or cost.operations is None:
            return {}
        named, encoding = ", ".join(self._named), self._operations_of_changed()
        more = {f"Encoding the changed pictures of {named}": encoding} if encoding else {}
        return {f"Training {named}": cost.operations} | more

    def _operations_of_changed(self):
        """Operations of encoding changed pictures in all steps of a training."""
        recipe, sources = self.decoder.recipe, {**self.targets, **self.beside}
        # What is held to one target and one change is encoded once.
        each = {(sources[name], changes) for name, changes in self._changing.items()}
        of_one = sum(operations_of_one(source, (changes.size, changes.size, 3)) for source, changes in each)
        return recipe.steps * recipe.batch_size * of_one

    @property
    def _counts(self):
        """Whether the decoder tells what its training takes; a decoder of another package need not."""
        return hasattr(self.decoder, "cost")

    def _counted(self, train):
        """What the decoder's training takes, or None if it cannot be counted."""
        if not self._counts:
            return None
        gives, beside = (
            {name: source.outline.shape for name, source in sources.items()} for sources in (self.targets, self.beside)
        )
        gives |= {name: shape() for name, shape in self._free.items()}
        beside |= {name: one.shape for name, one in self._derived.items()}
        if self._pairs is not None:
            beside |= dict.fromkeys(CATEGORIES, (1,))
        if self._outlined is not None:
            self.decoder.arguments |= self._outlined()
        n_voxels = train.n_voxels
        if self.reads_subjects and not isinstance(n_voxels, Mapping):
            n_voxels = {"": n_voxels}
        # Memory, operations and sentences follow from one count, which takes up to some seconds.
        asked = repr((n_voxels, gives, beside, self.decoder.recipe))
        if asked not in self._costs:
            self._costs[asked] = self.decoder.cost(n_voxels, gives, beside)
        return self._costs[asked]

    def _bytes_of_targets(self, train):
        """Of the targets in memory: all, or those of a batch and of the one that is read while it is computed."""
        of_one = bytes_of_one({**self.targets, **self.beside}.values())
        size = train.n_stimuli * of_one
        return size if size <= self._room else min(size, 2 * self.decoder.recipe.batch_size * of_one)

    # Running

    def run(self, items, values, *, seed=0):
        return self._run(items, self._region.of(np.asarray(values["patterns"])))

    def prepared(self, items, patterns):
        """What the network makes of trials before all else, rows (n_items, ...), for averages over those of a stimulus."""
        return self.decoder.prepared(self._region.of(patterns), **self._whose(items))

    def run_prepared(self, items, rows):
        """Values for rows that `prepared` gave, or for averages of them."""
        return self._run(items, rows, are_prepared=True)

    def _whose(self, items):
        # Items of one call are of one subject, which may be nameless if there is one only.
        return {"subject": next((item.subject for item in items), None) or None} if self.reads_subjects else {}

    def _run(self, items, patterns, **how):
        found = {}
        for name, columns, block in self.decoder.predict_blocks(patterns, **self._whose(items), **how):
            if name not in found:
                size = int(np.prod(self.decoder.gives[name]))
                found[name] = np.empty((len(patterns), size), dtype=np.float32)
            found[name][:, columns] = block
        return found

    def summary(self):
        return self.decoder.summary()

    def remarks(self):
        return [*self._region.remarks(), *self.decoder.notes()]

    def curves(self):
        return dict(self.decoder.curves())

    def save(self, folder):
        self._region.save(folder)
        self.decoder.save_pretrained(folder)

    def take(self, name, n_voxels):
        if self._released is None:
            super().take(name, n_voxels)
        if self._outlined is not None:
            self.decoder.arguments |= self._outlined()
        gives = {value: source.outline.shape for value, source in self.targets.items()}
        gives |= {value: shape() for value, shape in self._free.items()}
        self.decoder = self.decoder.take(checkpoint_store.path(name), name, self._released, n_voxels, gives)

    def open(self, workspace):
        self._region.open(workspace.folder)
        self.decoder = type(self.decoder).from_pretrained(workspace.folder, device=self._device)
