"""Two-stage methods: ridge to embeddings and to the latents of a first picture, then a generator that redraws it."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module

from brainrecon.methods.conditions import CONDITIONS, METHOD_ITSELF
from brainrecon.methods.embedding import EmbeddingMethod
from stages.ground.errors import InputError


class TwoStageMethod(EmbeddingMethod):
    """What all two-stage methods have in common.

    Attributes
    ----------
    generator_class : (str, str)
        Module and class of the generator.
    """

    explanation = "the full method: decoded stage-one picture, redrawn under decoded image and text embeddings"
    always_drawn = ("stage_one",)
    image_target = "clip_image"
    generator_class: tuple[str, str]

    @property
    def has_text_context(self):
        """Whether text is decoded and the generator is told of it."""
        return getattr(self.settings, "text_context", False)

    @property
    def target_checkpoints(self):
        known = super().target_checkpoints
        return {name: known[name] for name in known if name != "clip_text" or self.has_text_context}

    @property
    def conditions(self):
        """Names of the conditions that apply to this method under its settings."""
        without = () if self.has_text_context else ("without_image_context", "without_text_context")
        return tuple(name for name in CONDITIONS if name not in ("binarised", *without))

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
        list of stages.generators.diffusion.requests.GenerationRequest
            Stimulus by stimulus, its samples in a row.
        """
        from stages.generators.diffusion.requests import GenerationRequest

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

    def plan(self, stimulus_ids, patterns, samples, repeats=None):
        """Requests of the method itself for patterns (n_stimuli, n_voxels), the samples of a stimulus in a row."""
        embeddings = self.predict(patterns)
        return self.requests(METHOD_ITSELF, stimulus_ids, embeddings, self.stage_one(embeddings), samples)
