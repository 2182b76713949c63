"""Methods by way of embeddings: targets of the stimuli, a decoder from patterns to them, and a generator of pictures.

What a method of this kind is made of, it says itself: the targets it predicts, its checkpoints, its generator and their
settings. How its generator is asked, each kind says: `brainrecon.methods.two_stage` and `brainrecon.methods.icgan2022`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from functools import cached_property
from importlib import import_module
from pathlib import Path

from brainrecon.assembly.decode import Decoding
from brainrecon.assembly.settings import from_dict, read_saved, to_dict
from brainrecon.features.store import FeatureStore
from stages.ground.errors import InputError
from weights import store as checkpoint_store
from weights.whole_files import write_text


class EmbeddingMethod(ABC):
    """What all such methods have in common.

    Parameters
    ----------
    settings : settings_class or dict, optional
        A nested dictionary may name only what differs from the defaults.
    device : str
        Torch device of targets, decoder and generator.
    memory : float, optional
        Bytes that fitting the decoder may take.

    Attributes
    ----------
    decoding : brainrecon.assembly.decode.Decoding
        From patterns to embeddings, fitted by `fit`.
    target_classes : dict of str to (str, str, str)
        By name, in the decoder's column order: module and class of each target, and which of the settings' checkpoints
        it is read from.
    image_target : str
        Name of the target by which pictures are compared: the training picture nearest to what was decoded.
    fitted_through : tuple of str
        Names of checkpoints whose networks took part in a loss: where they also judge, scores say so.
    notes : tuple of str
        What a reader of its scores has to know, a sentence each.
    conditions : tuple of str
        Names of the conditions that apply to this method under its settings.
    always_drawn : tuple of str
        Conditions that are drawn beside the method without being asked for.
    tiny : dict
        Settings for the embedded networks: the checkpoints that have an embedded twin, and what goes with them.
    """

    name: str
    settings_class: type
    explanation: str
    predicts_embeddings = True
    always_drawn: tuple[str, ...] = ()
    fitted_through: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    conditions: tuple[str, ...]
    target_classes: dict[str, tuple[str, str, str]]
    image_target: str
    tiny: dict

    def __init__(self, settings=None, device="cpu", memory=None):
        if not isinstance(settings, self.settings_class):
            settings = from_dict(self.settings_class, settings or {})
        self.settings, self.device = settings, device
        for name in ("alpha", "rescale"):
            value = getattr(settings.decoder, name)
            if isinstance(value, dict) and (unknown := sorted(value.keys() - self.target_classes.keys())):
                raise InputError(
                    f"decoder.{name} names the target {unknown[0]!r}; expected some of {', '.join(self.target_classes)}."
                )
        self.decoding = Decoding(settings.decoder, device, memory)

    @property
    def decoder(self):
        """What was fitted, from patterns to targets."""
        return self.decoding.decoder

    # Stimuli to targets, patterns to embeddings

    @cached_property
    def targets(self):
        """The targets by name, in the decoder's column order."""
        return {name: self.load_target(name) for name in self.target_checkpoints}

    def load_target(self, name):
        """A target from the settings' checkpoints."""
        module, kind, _ = self.target_classes[name]
        target = getattr(import_module(module), kind)
        folder = self.checkpoint_folder(self.target_checkpoints[name])
        return target.from_pretrained(folder, device=self.device, **self.target_options(name))

    def target_options(self, name):
        """What a target is told beside its checkpoint, by the name of its argument."""
        return {}

    def checkpoint_folder(self, checkpoint):
        """Folder of a checkpoint; where it is absent, the error names the embedded networks too."""
        try:
            return checkpoint_store.path(checkpoint)
        except checkpoint_store.CheckpointError as error:
            twin = any(getattr(self.settings.checkpoints, role) == checkpoint for role in self.tiny["checkpoints"])
            more = (
                " Or take the small embedded networks, which know no photographs, with --weights tiny." if twin else ""
            )
            raise checkpoint_store.CheckpointError(f"{error}{more}") from None

    @property
    def target_checkpoints(self):
        """Name of the checkpoint behind each target."""
        return {name: getattr(self.settings.checkpoints, role) for name, (_, _, role) in self.target_classes.items()}

    def target_fingerprint(self, name):
        """What identifies the weights that a target's values depend on."""
        return checkpoint_store.fingerprint(self.target_checkpoints[name])

    def encode(self, subject, split_name="train", *, captions=None, targets=None, store=None, progress=None):
        """Target values of a split's stimuli, from the feature store or freshly encoded.

        Parameters
        ----------
        subject : brainrecon.datasets.subject.Subject
        split_name : str
        captions : list of list of str, optional
            In place of the split's own.
        targets : sequence of str, optional
            Names of the targets to encode; all of the method's where it is not given.
        store : brainrecon.features.store.FeatureStore, optional

        Returns
        -------
        dict of str to FeatureTable
        """
        store = store or FeatureStore()
        split = subject.splits[split_name]
        names = list(self.targets) if targets is None else list(targets)
        if unknown := [name for name in names if name not in self.targets]:
            raise InputError(f"There is no target {unknown[0]!r}; expected some of {', '.join(self.targets)}.")
        tables = {}
        for name in names:
            target = self.targets[name]
            items = split.images if target.takes == "images" else captions or split.captions
            if items is None:
                remedies = {
                    "images": "put them where `brainrecon data files` says.",
                    "captions": "pass --captions FILE, or drop the text context with --set text_context=false.",
                }
                raise InputError(
                    f"Target {name} needs {target.takes} and {subject.source} has none for {split_name}; "
                    f"{remedies[target.takes]}"
                )
            tables[name] = store.encode(
                target,
                items,
                split.stimulus_ids,
                dataset=f"{subject.fingerprint}/{split_name}",
                checkpoint=self.target_fingerprint(name),
                dtype=self.settings.decoder.features,
                progress=progress,
            )
        return tables

    def fit(self, subject, features, progress=None):
        """Fit the decoder to a subject's training split.

        Parameters
        ----------
        subject : brainrecon.datasets.subject.Subject
        features : dict of str to array-like of shape (n_stimuli, n_targets)
            What `encode` returned, rows in the order of ``subject.train.stimulus_ids``.

        Returns
        -------
        self
        """
        self.features = {name: features[name] for name in self.target_checkpoints}
        self.decoding.fit(subject, self.features, progress)
        return self

    def predict(self, patterns):
        """Embeddings of patterns: dict of target name to array of shape (n_stimuli, n_targets), float32."""
        return self.decoding.predict(patterns)

    # Embeddings to pictures

    @property
    @abstractmethod
    def generator(self):
        """The generator, once it is sure that it takes what the decoder predicts."""

    @abstractmethod
    def plan(self, stimulus_ids, patterns, samples, repeats=None):
        """Requests of the method itself for patterns (n_stimuli, n_voxels), the samples of a stimulus in a row.

        How many trials a pattern is the average of makes no difference here.
        """

    @abstractmethod
    def generate(self, requests, *, seed=0, batch_size=16, progress=None):
        """Yield (position in requests, picture) as batches finish."""

    @abstractmethod
    def batch_size(self):
        """Pictures to draw at a time."""

    def curves(self):
        """The course of training: none, for the decoder is solved."""
        return {}

    def summary(self):
        """What was learnt, for people: a row per target."""
        return self.decoder.summary()

    # Files

    def save_pretrained(self, folder):
        """Write settings and fitted decoder into `folder`."""
        self.save_description(folder)
        self.decoder.save_pretrained(folder)

    def save_description(self, folder):
        """Write all but the decoder's own files: settings, chosen voxels, and which tables a decoder without targets reads."""
        settings = {"method": self.name, "settings": to_dict(self.settings)}
        if self.decoder.needs_targets:
            settings["features"] = {name: table.folder.name for name, table in self.features.items()}
        write_text(Path(folder) / "method.json", json.dumps(settings, indent=1) + "\n")
        self.decoding.save_voxels(folder)

    @classmethod
    def from_pretrained(cls, folder, device="cpu", store=None):
        """Read what `save_pretrained` wrote; `store` is the feature store it was fitted from."""
        known = read_saved(folder)
        method = cls(known["settings"], device=device)
        method.decoding = Decoding.from_pretrained(folder, method.settings.decoder, device)
        if names := known.get("features"):
            store = store or FeatureStore()
            # Looked up when they are needed: predictions of the test stimuli are on disk already.
            method.decoder.attach(lambda: {name: store.table(table) for name, table in names.items()})
        return method
