"""Two-stage methods: ridge to embeddings and to the latents of a first picture, then a generator that redraws it.

What a method of this kind is made of, it says itself: the targets it predicts, its checkpoints, its generator and their settings.
"""

from __future__ import annotations

import json
import math
from functools import cached_property
from importlib import import_module
from pathlib import Path

from brainrecon.features.store import FeatureStore
from brainrecon.methods.conditions import CONDITIONS, METHOD_ITSELF
from brainrecon.methods.decoding import Decoding
from brainrecon.methods.settings import from_dict, read_saved, to_dict
from stages.errors import InputError
from stages.whole_files import write_text
from weights import store as checkpoint_store


class TwoStageMethod:
    """What all two-stage methods have in common.

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
    decoding : brainrecon.methods.decoding.Decoding
        Stage one, fitted by `fit`.
    target_classes : dict of str to (str, str, str)
        By name, in the decoder's column order: module and class of each target, and which of the settings' checkpoints
        it is read from.
    generator_class : (str, str)
        Module and class of the generator.
    tiny : dict
        Settings for the embedded networks: the checkpoints that have an embedded twin, and what goes with them.
    """

    name: str
    settings_class: type
    explanation = "the full method: decoded stage-one picture, redrawn under decoded image and text embeddings"
    predicts_embeddings = True
    always_drawn = ("stage_one",)
    target_classes: dict[str, tuple[str, str, str]]
    generator_class: tuple[str, str]
    tiny: dict

    def __init__(self, settings=None, device="cpu", memory=None):
        if not isinstance(settings, self.settings_class):
            settings = from_dict(self.settings_class, settings or {})
        self.settings, self.device = settings, device
        self.decoding = Decoding(settings.decoder, device, memory)

    @property
    def decoder(self):
        """The decoder of stage one."""
        return self.decoding.decoder

    @property
    def has_text_context(self):
        """Whether text is decoded and the generator is told of it."""
        return getattr(self.settings, "text_context", False)

    # Stage one: stimuli to targets, patterns to embeddings, latents to a first picture

    @cached_property
    def targets(self):
        """The targets by name, in the decoder's column order."""
        targets = {}
        for name, checkpoint in self.target_checkpoints.items():
            module, kind, _ = self.target_classes[name]
            target = getattr(import_module(module), kind)
            folder = self.checkpoint_folder(checkpoint)
            targets[name] = target.from_pretrained(folder, device=self.device, **self.target_options(name))
        return targets

    def target_options(self, name):
        """What a target is told beside its checkpoint, by the name of its argument."""
        return {}

    def checkpoint_folder(self, checkpoint):
        """Folder of a checkpoint; where it is absent, the error names the embedded networks too."""
        try:
            return checkpoint_store.path(checkpoint)
        except checkpoint_store.CheckpointError as error:
            twin = any(getattr(self.settings.checkpoints, role) == checkpoint for role in self.tiny["checkpoints"])
            more = " Or take the small embedded networks, which know no photographs, with --weights tiny." if twin else ""
            raise checkpoint_store.CheckpointError(f"{error}{more}") from None

    @property
    def target_checkpoints(self):
        """Name of the checkpoint behind each target."""
        return {
            name: getattr(self.settings.checkpoints, role)
            for name, (_, _, role) in self.target_classes.items()
            if name != "clip_text" or self.has_text_context
        }

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
                checkpoint=checkpoint_store.fingerprint(self.target_checkpoints[name]),
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

    def stage_one(self, embeddings):
        """Decode VDVAE latents into first pictures, uint8 (n_stimuli, height, width, 3).

        One at a time: stage two starts from these bytes, which must not depend on who else is in the batch.
        """
        return self.targets["vdvae"].decode(embeddings["vdvae"], batch_size=1)

    # Stage two

    @cached_property
    def generator(self):
        """The generator, once it is sure that it takes what the decoder predicts."""
        module, kind = self.generator_class
        generator = self.load_generator(getattr(import_module(module), kind))
        expected = {"clip_image": generator.image_context_shape, "clip_text": generator.text_context_shape}
        for name, shape in expected.items():
            if shape is None or (name == "clip_text" and not self.has_text_context):
                continue
            if name not in self.targets:
                raise InputError(
                    f"Generator {self.settings.checkpoints.generator} takes {name} of shape {tuple(shape)} but the decoder "
                    f"predicts {', '.join(self.targets)} only; fit a method that has this generator."
                )
            if tuple(self.targets[name].shape) != tuple(shape):
                raise InputError(
                    f"Target {name} of checkpoint {self.target_checkpoints[name]} has shape {self.targets[name].shape} but "
                    f"generator {self.settings.checkpoints.generator} takes {tuple(shape)}; name checkpoints that belong "
                    "together."
                )
        return generator

    def load_generator(self, kind):
        """A generator of class `kind` from the settings' checkpoints."""
        settings = self.settings.generator
        options = {} if settings.scheduler is None else {"scheduler": settings.scheduler}
        return kind.from_pretrained(
            self.checkpoint_folder(self.settings.checkpoints.generator),
            device=self.device,
            acceleration=settings.acceleration,
            **options,
            **self.generator_folders(),
        )

    def generator_folders(self):
        """Folders of further checkpoints that the generator is made from, by the name of its argument."""
        return {}

    def context_weights(self, condition):
        """Weights of image and text context under a condition."""
        settings = self.settings.generator
        weights = (settings.image_weight, settings.text_weight)
        if condition == "without_image_context":
            weights = (0.0, sum(weights))
        if condition == "without_text_context" or not self.has_text_context:
            weights = (sum(weights), 0.0)
        return weights

    def requests(self, condition, stimulus_ids, embeddings, stage_one, samples=(0,)):
        """What to ask of the generator under one condition.

        Parameters
        ----------
        condition : str
            A diffused condition of `brainrecon.methods.conditions`.
        stimulus_ids : sequence of str
        embeddings : dict of str to array of shape (n_stimuli, n_targets)
            Rows in the order of `stimulus_ids`.
        stage_one : array of shape (n_stimuli, height, width, 3), uint8
        samples : sequence of int
            Numbers of the samples to draw for each stimulus.

        Returns
        -------
        list of stages.generators.requests.GenerationRequest
            Stimulus by stimulus, its samples in a row.
        """
        from stages.generators.requests import GenerationRequest

        settings = self.settings.generator
        start = condition != "without_stage_one"
        return [
            GenerationRequest(
                stimulus_id=str(stimulus_id),
                sample=sample,
                image_context=embeddings["clip_image"][i].reshape(self.targets["clip_image"].shape),
                text_context=embeddings["clip_text"][i].reshape(self.targets["clip_text"].shape)
                if self.has_text_context
                else None,
                context_weights=self.context_weights(condition),
                init_image=stage_one[i] if start else None,
                strength=settings.strength if start else 1.0,
            )
            for i, stimulus_id in enumerate(stimulus_ids)
            for sample in samples
        ]

    def batch_size(self):
        """Pictures to draw at a time: as many as fit on the device, up to 16, or as the settings say."""
        settings = self.settings.generator
        guided = settings.guidance_scale != 1
        return settings.acceleration.batch_size_for(self.generator.pipeline, self.device, guided=guided)

    def generate(self, requests, *, seed=0, batch_size=16, progress=None):
        """Yield (position in requests, picture) as batches finish, as the generator's `generate`."""
        settings = self.settings.generator
        return self.generator.generate(
            requests,
            seed=seed,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            batch_size=batch_size,
            progress=progress,
        )

    @property
    def conditions(self):
        """Names of the conditions that apply to this method under its settings."""
        without = () if self.has_text_context else ("without_image_context", "without_text_context")
        return tuple(name for name in CONDITIONS if name not in ("binarised", *without))

    def plan(self, stimulus_ids, patterns, samples):
        """Requests of the method itself for patterns (n_stimuli, n_voxels), the samples of a stimulus in a row."""
        embeddings = self.predict(patterns)
        return self.requests(METHOD_ITSELF, stimulus_ids, embeddings, self.stage_one(embeddings), samples)

    def summary(self):
        """What was learnt, for people: a row per target."""
        decoder = self.decoder
        return [
            {
                "target": name,
                "columns": columns,
                "penalty": decoder.alpha_[name],
                "held_out_correlation": decoder.held_out_correlation_[name],
                "held_out_error": min((error for error in decoder.error_[name] if not math.isnan(error)), default=math.nan),
            }
            for name, columns in decoder.groups_.items()
        ]

    # Files

    def save_pretrained(self, folder):
        """Write settings and fitted decoder into `folder`."""
        self.save_description(folder)
        self.decoder.save_pretrained(folder)

    def save_description(self, folder):
        """Write all but the decoder's own files: settings, chosen voxels, and which tables a decoder without targets reads."""
        settings = {"method": self.name, "settings": to_dict(self.settings)}
        if self.decoder.kept_ == "factor":
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
