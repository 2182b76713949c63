"""The step from patterns to embeddings by a linear decoder.

Everything here is learned from the training split alone, voxels to leave out included.
"""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.linear_decoding import DECODINGS
from brainrecon.assembly.region_voxels import read_voxels, region_of, save_voxels
from brainrecon.assembly.resumable_ridge import predict_by_blocks
from brainrecon.assembly.step import Step
from brainrecon.assembly.values import PATTERNS
from stages.decoders.ridge import voxel_selection
from stages.decoders.ridge.ridge_storage import MODEST_BYTES, size_in_words
from stages.decoders.ridge.target_blocks import read_columns, sketch
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.suggestions import did_you_mean


class Decode(Step):
    """Ridge, or banded ridge, from patterns to one target or several.

    >>> from brainrecon.assembly.decoder_settings import DecoderSettings
    >>> from brainrecon.assembly.targets import TargetSource
    >>> from brainrecon.assembly.values import Machine
    >>> class Colour:
    ...     shape, n_targets = (3,), 3
    >>> colour = TargetSource(Colour, checkpoints=())
    >>> step = Decode({"colour": colour}, DecoderSettings(alpha=1000.0), Machine())
    >>> step.reads, step.gives, step.is_learned
    (('patterns',), ('colour',), True)

    Parameters
    ----------
    targets : mapping of str to brainrecon.assembly.targets.TargetSource
        In the decoder's column order.
    settings : brainrecon.assembly.decoder_settings.DecoderSettings
    machine : brainrecon.assembly.values.Machine
    part : str
    left_out : sequence of str
        Targets that the system does without under its settings; those of the decoder may still name them.
    roi : str
        Voxels to read, of those that the subject was loaded with; see `brainrecon.datasets.voxels`. By default all.
    target_of : mapping of str to str, optional
        Value -> the target that it predicts, if a value is not called as its target: ``{"cnn8_V1": "cnn8"}``.
    decoding : optional
        What is fitted, as those of `brainrecon.assembly.linear_decoding`; by default as `settings` say.
    reads : str
        The patterns: those that are measured, or what a step before makes of them that leaves the training patterns as they are.
    for_new_subject : {"again", "keep"}
        Fit anew on a new subject, or take the decoder of the subject that was learned from.

    Attributes
    ----------
    decoder : stages.decoders.ridge.ridge.RidgeDecoder or stages.decoders.ridge.banded_ridge.BandedRidgeDecoder
    voxels : bool array of shape (n_voxels,), or None
        Those that were chosen; None for all.
    """

    is_learned = True

    def __init__(
        self,
        targets,
        settings,
        machine,
        part="",
        left_out=(),
        roi="all",
        target_of=None,
        decoding=None,
        reads=PATTERNS,
        for_new_subject="again",
    ):
        self.reads, self.for_new_subject = (reads,), for_new_subject
        self.targets, self.gives, self.settings, self.part, self.roi = targets, tuple(targets), settings, part, roi
        self._target_of = {name: name for name in targets} | dict(target_of or {})
        for name in ("alpha", "rescale"):
            value = getattr(settings, name)
            if isinstance(value, dict) and (unknown := sorted(value.keys() - {*targets, *left_out})):
                raise InputError(
                    f"decoder.{name} names the target {unknown[0]!r}; expected some of {', '.join((*targets, *left_out))}"
                    f"{did_you_mean(unknown[0], (*targets, *left_out))}."
                )
        self._decoding = decoding or DECODINGS[settings.kind](settings, machine)
        self.voxels, self._tables = None, {}

    @property
    def target_of(self):
        return self._target_of

    @property
    def decoder(self):
        """What is fitted."""
        return self._decoding.decoder

    @property
    def no_mean_response(self):
        """Transductive rescaling uses the spread of what is predicted together: one prediction has none."""
        ways = self.settings.rescale
        if "transductive" in (ways.values() if isinstance(ways, dict) else (ways,)):
            return "its one prediction has no spread that transductive rescaling could use"
        return None

    # Learning

    def fit(self, training, workspace):
        features = training.features(self.gives)
        # Arrays in memory are in no table; a decoder keeps those itself.
        self._tables = {name: table.folder.name for name, table in features.items() if hasattr(table, "folder")}
        subject = training.subject
        responses, stimuli = self.training(subject.train, features, self._region(subject))
        self._decoding.fit(
            responses,
            features,
            stimuli,
            self._bands(subject.rois),
            workspace,
            self.patterns,
            before_config=lambda: self._describe(workspace),
        )

    def _describe(self, workspace):
        workspace.describe(self)
        self._save_voxels(workspace.folder)

    def training(self, split, features, region=None):
        """Choose voxels, and give what the decoder is fitted on.

        Parameters
        ----------
        split : brainrecon.datasets.split.Split
        features : dict of str to array-like of shape (n_stimuli, n_targets)
            Rows in the order of ``split.stimulus_ids``.
        region : bool array of shape (n_voxels,), optional
            Voxels to choose from; by default all.

        Returns
        -------
        responses : array of shape (n_trials, n_voxels), float32
        stimuli : array of int, shape (n_trials,), or None if a row is a stimulus
        """
        self.voxels = self._chosen_voxels(split, features, region)
        if self.settings.trials == "averaged":
            return self.patterns(split.patterns), None
        return self.patterns(np.asarray(split.betas[:], dtype=np.float32)), split.positions

    def patterns(self, patterns):
        """The chosen voxels of patterns (n_stimuli, n_voxels)."""
        if self.voxels is None:
            return patterns
        if patterns.shape[1] != len(self.voxels):
            raise InputError(
                f"Patterns have {patterns.shape[1]:,} voxels but the decoder chose its voxels among {len(self.voxels):,}; "
                "load the same subject and roi, or fit a decoder on these."
            )
        return patterns[:, self.voxels]

    def save(self, folder):
        self._save_voxels(folder)
        self._decoding.save(folder)

    def open(self, workspace):
        self._decoding.open(workspace.folder)
        if self.settings.voxels != "all" or self.roi != "all":
            self.voxels = read_voxels(workspace.folder)
        if names := workspace.description.get(self._described_as):
            # Looked up when they are needed: predictions of the test stimuli are on disk already.
            self._tables = dict(names)
            self.decoder.attach(lambda: {name: workspace.store.table(table) for name, table in names.items()})

    def description(self):
        """The tables of features that a decoder without targets of its own reads."""
        return {self._described_as: self._tables} if self.decoder.needs_targets else {}

    @property
    def _described_as(self):
        """Each of several such steps has its own tables."""
        return f"features of {self.part}" if self.part else "features"

    def summary(self):
        return self.decoder.summary()

    def cost(self, train):
        """What is written, where it is much."""
        sizes = {name: source.outline.n_targets for name, source in self.targets.items()}
        tables = {
            name: n_columns * train.n_stimuli * np.dtype(self.targets[name].dtype).itemsize
            for name, n_columns in sizes.items()
        }
        if sum(tables.values()) <= MODEST_BYTES:
            return []
        told = getattr(self.decoder, "what_is_stored", lambda *_: [])(self._n_rows(train), train.n_voxels, sizes)
        return [
            f"The feature store takes {size_in_words(sum(tables.values()))} for {', '.join(sizes)} of {train.n_stimuli:,} "
            f"stimuli, and {size_in_words(max(tables.values()))} more while the largest is arranged.",
            *told,
            f"Each stimulus that is predicted takes {size_in_words(4 * sum(sizes.values()))}.",
        ]

    def _n_rows(self, train):
        """Rows that are fitted to."""
        return train.n_stimuli if self.settings.trials == "averaged" else train.n_trials

    def operations(self, train):
        n_trials = self._n_rows(train)
        sizes = {name: source.outline.n_targets for name, source in self.targets.items()}
        what = f"Fitting {', '.join(sizes)} ({sum(sizes.values()):,} columns) to {n_trials:,} rows of {train.n_voxels:,} voxels"
        if self.settings.penalty == "target":
            what += ", a penalty for each column (decoder.penalty=group looks at a sketch only)"
        return {what: self._decoding.operations(n_trials, train.n_voxels, sizes)}

    def remarks(self):
        if self.voxels is None:
            return self.decoder.notes()
        how = [] if self.roi == "all" else [f"of roi {self.roi}"]
        how += [] if self.settings.voxels == "all" else ["chosen on the training stimuli"]
        return [f"{self.voxels.sum():,} of {len(self.voxels):,} voxels, {', '.join(how)}.", *self.decoder.notes()]

    # Running

    def run(self, items, values, *, seed=0):
        (read,) = self.reads
        return self.decoder.split(self.decoder.predict(self.patterns(np.asarray(values[read]))))

    def predict_blocks(self, values, *, seed=0, subject=""):
        (read,) = self.reads
        return self.decoder.predict_blocks(self.patterns(np.asarray(values[read])))

    def predict_into(self, path, names, values, progress=SILENT, *, seed=0, subject=""):
        (read,) = self.reads
        predict_by_blocks(self.decoder, self.patterns(values[read]), names, path, progress)

    # Voxels

    def _bands(self, rois):
        if unknown := [name for name in self.settings.bands if name not in rois]:
            raise InputError(
                f"There is no region {unknown[0]!r} to make a band of; expected some of {', '.join(sorted(rois))}"
                f"{did_you_mean(unknown[0], rois)}."
            )
        return {name: self.patterns(np.asarray(rois[name])[None])[0] for name in self.settings.bands}

    def _save_voxels(self, folder):
        save_voxels(folder, self.voxels)

    def _region(self, subject):
        """Voxels of `roi`, bool array, or None for all."""
        return region_of(subject, self.roi)

    def _chosen_voxels(self, split, features, region):
        if self.settings.voxels == "all":
            return region
        if region is None:
            return self._best(self._voxel_scores(split, features))
        voxels = np.zeros(len(region), dtype=bool)
        voxels[region] = self._best(self._voxel_scores(split, features)[region])
        return voxels

    def _best(self, scores):
        if self.settings.least_noise_ceiling is not None:
            return voxel_selection.at_least(scores, self.settings.least_noise_ceiling)
        return voxel_selection.strongest(scores, self.settings.top_voxels)

    def _voxel_scores(self, split, features):
        if self.settings.voxels == "noise_ceiling":
            return voxel_selection.noise_ceiling(split.betas, split.trial_stimulus_ids)
        columns = [
            np.asarray(read_columns(values, part))
            for name, values in features.items()
            for part in sketch(name, values.shape[1], self.settings.sketch, self.decoder.seed)
        ]
        return voxel_selection.correlation_with_targets(split.patterns, np.hstack(columns))
