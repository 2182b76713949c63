"""How the steps of a chain are fitted: in order, those that are there left alone, each written before the next begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from brainrecon.assembly.kept_steps import copy_kept_steps
from brainrecon.assembly.response_size import usual_size
from brainrecon.assembly.settings import DESCRIPTION, read_saved
from brainrecon.assembly.training_tables import of_one
from brainrecon.assembly.values import PATTERNS, Training, Workspace
from stages.ground.errors import InputError
from stages.ground.process_group import first_goes_first, is_first, of_first
from weights.seals import broken, seal


def fit_again(folder) -> str:
    """What to type where a fitted chain in `folder` is damaged: of a run, the command that mends it."""
    run = Path(folder).parent
    if not (run / "config.toml").exists():
        return "fit again, and save it anew"
    return f"`brainrecon fit --config {run / 'config.toml'} --out {run}` fits it again"


class Fitting:
    """One fit of a chain.

    Parameters
    ----------
    chain : brainrecon.assembly.chain.Chain
    training : Training
    folder : path, optional
        Where fitted steps are written, and found.
    store : brainrecon.features.store.FeatureStore
    progress : callable
    training_pictures : callable, optional
        As a `Workspace` has it.
    """

    def __init__(self, chain, training, folder, store, progress, training_pictures=None):
        self.chain, self.training, self.folder = chain, training, None if folder is None else Path(folder)
        self.found: dict[str, Any] = {"store": store, "progress": progress}
        self.found |= {"training_pictures": training_pictures} if training_pictures else {}
        self.learned = [step for step in chain.steps if step.is_learned]

    def fit(self, predictions, taken, pretrained):
        """Fit, open or take every step; arguments as of `brainrecon.assembly.chain.Chain.fit`."""
        chain, training = self.chain, self.training
        for subject in training.subjects.values():
            chain.check_data(subject)
        voxels = {name: subject.n_voxels for name, subject in training.subjects.items()}
        chain.n_voxels = voxels if len(voxels) > 1 else next(iter(voxels.values()))
        chain.described = {} if pretrained is None else self._begin_from(Path(pretrained))
        missing = of_first(lambda: {step.part for step in self.learned if not self._is_there(step)})
        if missing and chain.system.needs.captions:
            # Refused now rather than after a training.
            of_first(lambda: sum(len(of_one(training, name).captions()) for name in training.subjects))
        if pretrained is not None:
            missing -= {step.part for step in self.learned if step.for_new_subject == "keep"}
        taken = {part: name for part, name in taken.items() if part in missing}
        for step in self.learned:
            if step.part in taken:
                self._take(step, taken[step.part])
        for step in self.learned:
            before = None if pretrained is None else Path(pretrained) / step.part
            if step.part not in missing:
                self._open(step, self._of(step) or before)
                chain.usual_size = chain.described.get("usual_size")
            else:
                self._fit(step, step.part in taken, before, predictions.get(step.part))
        if self.folder is not None and is_first():
            chain.describe(self.folder)
            seal(self.folder)

    def _of(self, step):
        """The step's own folder; None in memory."""
        return None if self.folder is None else self.folder / step.part

    def _is_there(self, step):
        own = self._of(step)
        return own is not None and step.is_fitted(own)

    def _begin_from(self, pretrained):
        """What method.json says of the chain that was fitted on other subjects; steps that are kept are copied."""
        if damage := broken(pretrained):
            raise InputError(f"In {pretrained}, {damage}; {fit_again(pretrained)}.")
        if self.folder is not None:
            of_first(lambda: copy_kept_steps(self.chain.steps, pretrained, self.folder))
        return read_saved(pretrained)

    def _take(self, step, name):
        self.found["progress"](f"reading {name}", 0, 1)
        # A network of several subjects keeps them apart by their names, and be there one.
        named = {name: subject.n_voxels for name, subject in self.training.subjects.items()}
        step.take(name, named if step.reads_subjects else self.chain.n_voxels)
        self.found["progress"](f"reading {name}", 1, 1)

    def _open(self, step, folder):
        if self.folder is not None and (self.folder / DESCRIPTION).exists():
            self.chain.described |= read_saved(self.folder)
        step.open(Workspace(folder=folder, description=self.chain.described, **self.found))

    def _fit(self, step, is_taken, before, prediction):
        """Fit a step, or let the first process do so, and write it."""
        chain, own = self.chain, self._of(step)
        alone = own is not None and not step.trains_together
        if not is_taken and (is_first() or not alone):
            workspace = Workspace(
                folder=own,
                pretrained=before if step.for_new_subject == "go on" else None,
                prediction=prediction,
                describe=lambda one: chain.describe(self.folder, one),
                **self.found,
            )
            step.fit(self.training if alone else _read_in_turn(self.training), workspace)
        first = next(iter(self.training.subjects.values())).train
        if PATTERNS in step.reads and chain.usual_size is None and first.has_responses:
            chain.usual_size = usual_size(first)
        if own is not None and is_first():
            chain.describe(self.folder, step)
            step.save(own)
        if alone:
            # The others wait until it is written.
            of_first(lambda: None)
            if not is_first():
                self._open(step, own)


def _read_in_turn(training: Training) -> Training:
    """Training data whose features the first process encodes, and the others find."""

    def features(targets, **of):
        with first_goes_first():
            return training.features(targets, **of)

    return replace(training, features=features)
