"""Brain-Diffuser (Ozcelik & VanRullen, Scientific Reports 2023): ridge to VDVAE latents and CLIP tokens, then diffusion.

Stage one predicts the latents of the VDVAE's first layers, CLIP image tokens and CLIP text tokens from fMRI patterns,
and decodes the latents into a first picture. Stage two redraws that picture image to image with a latent diffusion
model under both CLIP embeddings.

Departures from the published scripts, each for a reason: penalties are chosen on training data instead of typed in;
predictions are rescaled with statistics of held-out training predictions instead of the test set's own
(`decoder.rescale = "transductive"` is the published way); VDVAE targets are posterior means instead of unseeded samples;
noise is seeded per stimulus and sample instead of once before the loop.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from brainrecon.features.store import FeatureStore
from brainrecon.methods.conditions import CONDITIONS, METHOD_ITSELF
from brainrecon.methods.decoding import DecoderSettings, Decoding
from brainrecon.methods.settings import from_dict, read_saved, to_dict
from stages.errors import InputError
from stages.whole_files import write_text
from weights import store as checkpoint_store


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`."""

    vdvae: str = "tiny-vdvae"
    clip: str = "tiny-clip"
    generator: str = "tiny-generator"


@dataclass(frozen=True)
class GeneratorSettings:
    """Stage two, as published: 50 steps of which the last 37 are taken, 0.6 image context and 0.4 text context.

    Guidance is the checkpoint's own where none is given: 7.5 suits the published network, less suits smaller ones.
    """

    strength: float = 0.75
    num_inference_steps: int = 50
    guidance_scale: float | None = None
    image_weight: float = 0.6
    text_weight: float = 0.4

    def __post_init__(self):
        numbers = (self.strength, self.guidance_scale or 0.0, self.image_weight, self.text_weight)
        if not all(math.isfinite(number) for number in numbers):
            raise InputError(
                f"The generator's settings hold a number that is not finite: {numbers}; set it with --set."
            )
        if not 0 <= self.strength <= 1:
            raise InputError(f"generator.strength is {self.strength}; expected 0 (keep the picture) to 1 (ignore it).")
        if self.num_inference_steps < 1:
            raise InputError(f"generator.num_inference_steps is {self.num_inference_steps}; expected 1 or more.")


@dataclass(frozen=True)
class BrainDiffuserSettings:
    """All settings of the method; `text_context` is off where a dataset has no captions."""

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    text_context: bool = True


class BrainDiffuser:
    """The two-stage method, assembled.

    Parameters
    ----------
    settings : BrainDiffuserSettings or dict, optional
        A nested dictionary may name only what differs from the defaults.
    device : str
        Torch device of targets, decoder and generator.
    memory : float, optional
        Bytes that fitting the decoder may take.

    Attributes
    ----------
    decoding : brainrecon.methods.decoding.Decoding
        Stage one, fitted by `fit`.
    """

    name = "brain-diffuser"
    settings_class = BrainDiffuserSettings
    explanation = "the full method: decoded stage-one picture, redrawn under decoded image and text embeddings"
    predicts_embeddings = True
    always_drawn = ("stage_one",)

    def __init__(self, settings=None, device="cpu", memory=None):
        if not isinstance(settings, BrainDiffuserSettings):
            settings = from_dict(BrainDiffuserSettings, settings or {})
        self.settings, self.device = settings, device
        self.decoding = Decoding(settings.decoder, device, memory)

    @property
    def decoder(self):
        """The decoder of stage one."""
        return self.decoding.decoder

    # Stage one: stimuli to targets, patterns to embeddings, latents to a first picture

    @cached_property
    def targets(self):
        """The targets by name, in the decoder's column order."""
        from stages.targets.clip import CLIPImageTokens, CLIPTextTokens
        from stages.targets.vdvae import VDVAELatents

        kinds = {"vdvae": VDVAELatents, "clip_image": CLIPImageTokens, "clip_text": CLIPTextTokens}
        return {
            name: kinds[name].from_pretrained(checkpoint_store.path(checkpoint), device=self.device)
            for name, checkpoint in self.target_checkpoints.items()
        }

    @property
    def target_checkpoints(self):
        """Name of the checkpoint behind each target."""
        checkpoints = self.settings.checkpoints
        names = {"vdvae": checkpoints.vdvae, "clip_image": checkpoints.clip}
        return names | ({"clip_text": checkpoints.clip} if self.settings.text_context else {})

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
        """The dual-context generator."""
        from stages.generators.dual_context import DualContextGenerator

        folder = checkpoint_store.path(self.settings.checkpoints.generator)
        generator = DualContextGenerator.from_pretrained(folder, device=self.device)
        expected = {"clip_image": generator.image_context_shape, "clip_text": generator.text_context_shape}
        for name, shape in expected.items():
            if name in self.targets and tuple(self.targets[name].shape) != tuple(shape):
                raise InputError(
                    f"Target {name} of checkpoint {self.target_checkpoints[name]} has shape {self.targets[name].shape} but "
                    f"generator {self.settings.checkpoints.generator} takes {shape}; name checkpoints that belong together."
                )
        return generator

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
        list of stages.generators.dual_context.GenerationRequest
            Stimulus by stimulus, its samples in a row.
        """
        from stages.generators.dual_context import GenerationRequest

        settings = self.settings.generator
        weights = (settings.image_weight, settings.text_weight)
        if condition == "without_image_context":
            weights = (0.0, sum(weights))
        if condition == "without_text_context" or not self.settings.text_context:
            weights = (sum(weights), 0.0)
        start = condition != "without_stage_one"
        return [
            GenerationRequest(
                stimulus_id=str(stimulus_id),
                sample=sample,
                image_context=embeddings["clip_image"][i].reshape(self.targets["clip_image"].shape),
                text_context=embeddings["clip_text"][i].reshape(self.targets["clip_text"].shape)
                if self.settings.text_context
                else None,
                context_weights=weights,
                init_image=stage_one[i] if start else None,
                strength=settings.strength if start else 1.0,
            )
            for i, stimulus_id in enumerate(stimulus_ids)
            for sample in samples
        ]

    def generate(self, requests, *, seed=0, batch_size=16, progress=None):
        """Yield (position in requests, picture) as batches finish; see `DualContextGenerator.generate`."""
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
        without = () if self.settings.text_context else ("without_image_context", "without_text_context")
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
