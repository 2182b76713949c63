"""A run folder: one system on one subject, all of its state in files that are whole or absent."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.condition import CONDITIONS, MEAN_PICTURE, RECONSTRUCTION, SHUFFLED_RESPONSES, condition
from brainrecon.assembly.values import Machine
from brainrecon.features.store import FeatureStore
from brainrecon.runs import beside, manifest
from brainrecon.runs.cohort import check_pretrained, of_pretraining, of_subject
from brainrecon.runs.config import RunConfig
from brainrecon.runs.folder import made_folder
from brainrecon.runs.layout import MEDIA, Layout
from brainrecon.runs.record import (
    check_checkpoints,
    check_data,
    check_place,
    check_threads,
    cohort_of,
    default_protocol,
    environment,
)
from stages.ground.devices import AUTO, chosen_device
from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite
from stages.ground.notebook_progress import IN_NOTEBOOKS
from stages.ground.process_group import first_goes_first, is_first, of_first
from weights.hashes import hash_file
from weights.partial_files import sweep
from weights.remark import Remark
from weights.seals import broken


class Run:
    """One system on one subject, in a folder.

    >>> from brainrecon import simulate
    >>> from brainrecon.runs.config import RunConfig
    >>> report = simulate("cohort", sessions=2, trials_per_session=30, shared=5, voxels=160)
    >>> config = RunConfig.from_dict({"method": "mean-image", "data": {"source": "nsd:cohort"}})
    >>> run = Run.create("runs/subj01", config, features="features").fit()
    >>> run.folder.name, run.config.data.subject
    ('subj01', 'subj01')
    >>> run.reconstruct()  # doctest: +SKIP
    >>> run.evaluate().to_csv("scores.csv")  # doctest: +SKIP

    Parameters
    ----------
    folder : path
        An existing run folder; `Run.create` makes one.
    features : path, optional
        Folder of the feature store; `brainrecon.features.store.default_folder()` if it is not given.
    device : str
        Torch device for targets, decoder and generator; the best there is by default.
    memory : float, optional
        Bytes that fitting the decoder may take.

    Attributes
    ----------
    config : RunConfig
    layout : Layout
    """

    def __init__(self, folder, features=None, device=AUTO, memory=None):
        self.folder, self.layout = Path(folder), Layout(Path(folder))
        self._above = None
        if not self.layout.config.exists():
            raise InputError(
                f"{self.folder} is no run folder: config.toml is missing; make one with "
                f"`brainrecon run METHOD KIND:PATH --out {self.folder}`."
            )
        self.config = RunConfig.read(self.layout.config)
        self.layout = Layout(self.folder, self.config.shared_decoder)
        self.store, self._computes_on = FeatureStore(features), (device, memory)

    @classmethod
    def create(cls, folder, config, features=None, device=AUTO, memory=None, weights=None):
        """Make a run folder, or open the one that is there if it was asked for the same.

        What the configuration leaves open is settled first, and nothing is written before the data have been opened.

        Parameters
        ----------
        folder : path
        config : RunConfig, or dict
            A dictionary as `brainrecon.runs.config.RunConfig.from_dict` takes it: method, data, and settings that differ.
        features, device, memory
            As of the class.
        weights : {"published", "tiny"}, optional
            With a dictionary: "tiny" takes the embedded networks wherever a checkpoint has a small twin.

        Raises
        ------
        InputError
            The folder belongs to a run with other settings, or holds other files; or the data cannot be loaded.
        """
        device = chosen_device(device)
        if not isinstance(config, RunConfig):
            config = RunConfig.from_dict(config, weights)
        elif weights is not None:
            raise InputError(f"weights are {weights!r} but the configuration is complete; give it as a dictionary.")
        # Of several processes one writes, and the others find it written.
        with first_goes_first():
            config, cohort = made_folder(folder, config, features, device)
            run = cls(folder, features, device, memory)
        if not config.data.folds or config.data.fold is not None:
            run.cohort = cohort
        return run

    def __repr__(self):
        return f"Run({str(self.folder)!r}: {self.config.method}, {self.config.data.source})"

    @cached_property
    def machine(self):
        """Where it computes; found when it is first needed, for a look at what is there needs none."""
        device, memory = self._computes_on
        return Machine(chosen_device(device), memory)

    @cached_property
    def parts(self):
        """The run itself, or one run for each of its folds."""
        data = self.config.data
        if not data.folds or data.fold is not None:
            return [self]
        folds = range(data.folds)
        return [self._within(self.layout.fold(k), replace(self.config, data=replace(data, fold=k))) for k in folds]

    @cached_property
    def splits(self):
        """The runs of all splits that are tested with this decoder, by split: this one first, then those tested beside.

        >>> run.splits["imagery"].scores  # doctest: +SKIP

        Several subjects that are learned from together stand here by their names. A run is made if it is not there, in the
        folder that `places_beside` says.
        """
        found = {beside.tested(self.config): self}
        for name, (config, folder) in self.places_beside.items():
            found[name] = run = self._within(folder, config)
            run._above = self
            if is_first() and RunConfig.read(run.layout.config).samples != run.config.samples:
                # Its folder is opened by itself as well.
                run.config.write(run.layout.config)
        return found

    @property
    def places_beside(self):
        """Configuration and folder of each run that shares this one's decoder, by split or subject; there or not."""
        found = {
            name: (beside.of_split(self.config, name), self.layout.split(name))
            for name in self.config.data.beside or ()
        }
        data = self.config.data
        if data.is_of_several and not self.config.shared_decoder:
            others = (name for name in data.subjects if name != data.subject)
            found |= {name: (of_subject(self.config, name), self.layout.subject(name)) for name in others}
        return found

    @cached_property
    def pretraining(self):
        """The run of the subjects that are learned from before a new one, made if it is not there; None of a run without."""
        if not self.config.data.is_of_new_subject:
            return None
        elsewhere = self.config.pretrained
        run = self._within(Path(elsewhere or self.layout.pretraining), of_pretraining(self.config))
        check_pretrained(self.config, self.subject, run)
        return run

    def _within(self, folder, config):
        """The run of a folder inside this one's, which is made if it is not there; data may have moved since."""
        with_machine = (self.store.folder, self.machine.device, self.machine.memory)
        # What is written last: a process may have been killed in between.
        there = of_first(Layout(folder).environment.exists)
        run = Run(folder, *with_machine) if there else Run.create(folder, config, *with_machine)
        known, data = run.config, self.config.data
        moved = replace(known.data, source=data.source, options=data.options)
        run.config = replace(known, samples=self.config.samples, data=moved)
        return run

    @property
    def _beside(self):
        """The runs of splits that are tested beside this one's own, a list."""
        return list(self.splits.values())[1:]

    @property
    def lends_no_response(self):
        """Whether some part tests one stimulus, so that it has no other test stimulus whose response it could be given."""
        return min(part.subject.test.n_stimuli for part in self.parts) < 2

    @cached_property
    def shuffled(self):
        """The same folds with responses shuffled among all stimuli and everything fitted anew: a run, made if it is not there.

        If a fold tests one stimulus, its shuffled response has to come from a stimulus that its decoder was trained on, and a
        decoder knows these. So decoders of their own are fitted to wrong pairs, which leave the same stimuli out.
        """
        config = replace(self.config, samples=1, data=replace(self.config.data, shuffled=True))
        return Run.create(self.layout.shuffled, config, self.store.folder, self.machine.device, self.machine.memory)

    def drawn_by(self, name):
        """(parts, condition) by which a condition is drawn: by the run's own parts, or by those with shuffled responses."""
        if name == SHUFFLED_RESPONSES and len(self.parts) > 1 and self.lends_no_response:
            return (self.shuffled.parts if Layout(self.layout.shuffled).config.exists() else []), RECONSTRUCTION
        return self.parts, name

    @cached_property
    def cohort(self):
        """The subjects that are learned from now, loaded as the configuration says; the one that is tested comes first."""
        check_place(self.folder, self.config)
        cohort = cohort_of(self.config, self.store, self.machine.device)
        if self.layout.environment.exists():
            check_data(self.folder, next(iter(cohort.values())))
        return cohort

    @property
    def subject(self):
        """The subject that is tested."""
        return next(iter(self.cohort.values()))

    @cached_property
    def unfitted(self):
        """The chain of the run's system, nothing of it fitted or loaded."""
        return Chain(self.config.system, self.machine)

    @cached_property
    def chain(self):
        """The fitted chain."""
        if self.config.data.folds and self.config.data.fold is None:
            raise InputError(f"{self.folder} has a decoder for each fold; name one, for example {self.layout.fold(0)}.")
        if not self.is_fitted:
            raise InputError(f"{self.folder} is not fitted yet; run `brainrecon fit` or `brainrecon run` first.")
        return self.opened_chain()

    def opened_chain(self):
        """The chain with its fitted steps read; that of the run above where this is a split of it, drawn with equal settings."""
        if self._above is not None and self._above.config.settings == self.config.settings:
            return self._above.chain
        return Chain(self.config.system, self.machine).open(
            self.layout.decoder, self.store, training_pictures=lambda: self.subject.train.images
        )

    @property
    def protocol(self):
        """Name of the protocol that judges unless another is asked for, see `brainrecon.runs.record.default_protocol`."""
        return default_protocol(self.config.system, self.parts[0].subject.pictures)

    def free(self):
        """Let go of all networks that can be loaded again."""
        if "chain" in vars(self):
            self.chain.free()

    @property
    def is_fitted(self):
        """Whether every fitted step is there, and the predicted values of the test stimuli."""
        predicted = (self.layout.embeddings("test", step.kept_as) for step in self.unfitted.predicting)
        return self.unfitted.is_fitted(self.layout.decoder) and all(path.exists() for path in predicted)

    def damage(self):
        """What of the fitted steps and predicted values is not as it was written, in a few words; None if nothing."""
        return broken(self.layout.decoder) or broken(self.layout.embeddings("test").parent)

    def image_path(self, name, stimulus_id, sample=0):
        """File of what a condition shows for a stimulus and a sample; a value on the way has no samples."""
        chain, shown = self.unfitted, condition(name).shown(self.unfitted)
        if chain.readers(shown):
            return self.layout.on_the_way(shown, chain.medium(shown), stimulus_id)
        return self.layout.output(name, chain.medium(chain.output), stimulus_id, sample)

    def n_samples(self, name):
        """How many outputs of a condition a stimulus has at most: one of a control, and of a value on the way."""
        one = condition(name)
        return 1 if one.is_control or self.unfitted.readers(one.shown(self.unfitted)) else self.config.samples

    def write_value(self, path, value, medium):
        """Write a picture, caption or film, whole or not at all, and note it in the manifest."""
        MEDIA[medium][0].write(path, value)
        sha256 = manifest.note(self.layout, path)
        self.written[path.relative_to(self.folder).as_posix()] = sha256

    def read_value(self, path, medium):
        """Read what `write_value` wrote; an InputError if it has changed since."""
        self.check_written(path)
        return MEDIA[medium][0].read(path)

    @cached_property
    def written(self):
        """Hashes of what was written, by the manifest: dict of file name to str."""
        return manifest.noted(self.layout)

    def check_written(self, path):
        """Refuse a file that is not as the manifest says; what it does not know, as of a process that was killed, passes."""
        known = self.written.get(path.relative_to(self.folder).as_posix())
        if known is not None and path.is_file() and hash_file(path) != known:
            raise InputError(
                f"{path} is not what was drawn, by {self.layout.manifest.name}; delete it and run the same command again."
            )

    # What is there to look at

    @property
    def stimulus_ids(self):
        """The test stimuli of all parts, list of str: the order of rows of `embeddings`."""
        return [str(name) for part in self.parts for name in part.subject.test.stimulus_ids]

    @property
    def embeddings(self):
        """Predicted values of the test stimuli: dict of name to array (n_stimuli, n_values), rows as `stimulus_ids`.

        >>> run.embeddings["clip_image"].shape  # doctest: +SKIP
        (982, 197376)

        Raises
        ------
        InputError
            The run is not fitted yet.
        """
        from brainrecon.runs.values import RunValues

        parts = []
        for part in self.parts:
            values = RunValues(part)
            predicted = [values.predicted("test", step) for step in part.chain.predicting]
            parts.append({name: rows for own in predicted for name, rows in own.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @property
    def scores(self):
        """Scores on disk: under the run's own protocol, or else the latest; `Run.evaluate` makes them.

        >>> run.scores.to_pandas().groupby("condition").mean(numeric_only=True)  # doctest: +SKIP

        Raises
        ------
        InputError
            The run has not been evaluated.
        """
        from brainrecon.evaluation.scores.scores import Scores
        from brainrecon.runs.score import scores_file

        path = scores_file(self)
        if not path.exists():
            raise InputError(f"{self.folder} has no scores yet; run `brainrecon evaluate {self.folder}` first.")
        return Scores.from_json(path)

    # The verbs; their modules bring the heavy libraries

    def fit(self, progress=IN_NOTEBOOKS):
        """Fit the steps of every part and predict the values of its test stimuli, and of the splits beside; what is done stays.

        Processes that torchrun or Accelerate started together train together; the first alone writes.
        """
        from brainrecon.runs.fit import fit_parts

        sweep(self.folder)
        fit_parts([part for run in (self, *self._beside) for part in run.parts], progress)
        return self

    def reconstruct(self, conditions=(RECONSTRUCTION,), stimuli=None, **options):
        """Draw what is missing, of the splits beside as well; options as in `brainrecon.runs.draw.reconstruct`."""
        options.setdefault("progress", IN_NOTEBOOKS)
        runs, spoilt = [self, *self._beside], []
        for run, chosen in zip(runs, beside.shared_out(stimuli, runs)):
            try:
                run._reconstruct(conditions, chosen, options)
            except NotFinite as error:
                spoilt.append(error)
        if spoilt:
            raise NotFinite.together(spoilt)
        return self

    def _reconstruct(self, conditions, stimuli, options):
        """Draw what is missing of this run alone."""
        from brainrecon.runs.draw import reconstruct

        sweep(self.folder)
        check_checkpoints(self.folder, environment(self.config)["checkpoints"])
        if options.get("reproducible"):
            check_threads(self.folder)
        if len(self.parts) > 1 and not self.config.data.shuffled:
            conditions = tuple(dict.fromkeys((*conditions, MEAN_PICTURE)))
        conditions = [name for name in conditions if name not in self.not_drawn(conditions)]
        works, spoilt = [], []
        if SHUFFLED_RESPONSES in conditions and len(self.parts) > 1 and self.lends_no_response:
            conditions.remove(SHUFFLED_RESPONSES)
            works = [lambda: self.shuffled.fit(options["progress"]).reconstruct(stimuli=stimuli, **options)]
        own = [stimuli] * len(self.parts)
        if stimuli is not None and len(self.parts) > 1:
            tested = [set(map(str, part.subject.test.stimulus_ids)) for part in self.parts]
            if absent := [name for name in stimuli if not any(name in one for one in tested)]:
                raise InputError(f"Stimulus {absent[0]!r} is in no fold; see `brainrecon data info`.")
            own = [[name for name in stimuli if name in one] for one in tested]
        for part, chosen in zip(self.parts, own):
            works.append(partial(reconstruct, part, conditions, stimuli=chosen, **options))
        for work in works:
            try:
                work()
            except NotFinite as error:
                spoilt.append(error)
        if spoilt:
            raise NotFinite.together(spoilt)

    def not_drawn(self, conditions):
        """Those of some conditions that this run cannot have, and why: dict of name to reason."""
        if not self.unfitted.draws:
            return dict.fromkeys(conditions, f"the method draws nothing, its output is {self.unfitted.output}")
        found = {name: CONDITIONS[name].why_not(self.unfitted) for name in conditions if name in CONDITIONS}
        reasons = {name: reason for name, reason in found.items() if reason}
        if SHUFFLED_RESPONSES in conditions and len(self.parts) == 1 and self.lends_no_response:
            reasons[SHUFFLED_RESPONSES] = "one stimulus is tested, and there is no other's response to give"
        asked = [name for name in conditions if name in CONDITIONS and CONDITIONS[name].shows_the_truth]
        if asked and any(part.subject.test.images is None for part in self.parts):
            lacking = f"{beside.tested(self.config)} has no pictures whose features it could take"
            reasons = dict.fromkeys(asked, lacking) | reasons
        return reasons

    def evaluate(self, protocol=None, progress=IN_NOTEBOOKS):
        """Score every condition whose outputs are there and write `scores/<protocol>.csv` and `.json`.

        The splits beside are scored as well, each in its own folder, see `splits`; of one that cannot be compared with anything
        a warning says so.
        """
        from brainrecon.runs.score import score_splits

        sweep(self.folder)
        own, *others = score_splits(self, protocol, again=True, progress=progress).values()
        for one in others:
            if one.why_not:
                warnings.warn(one.why_not, Remark, stacklevel=2)
        return own.scores
