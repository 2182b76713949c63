"""Brain-Diffuser (Ozcelik & VanRullen, Scientific Reports 2023): ridge to VDVAE latents and CLIP tokens, then diffusion.

Stage one predicts the latents of the VDVAE's first layers, CLIP image tokens and CLIP text tokens from fMRI patterns,
and decodes the latents into a first picture. Stage two redraws that picture image to image with Versatile Diffusion under both
CLIP embeddings.

Departures from the published scripts, each for a reason: penalties are chosen on training data instead of typed in;
predictions are rescaled with statistics of held-out training predictions instead of the test set's own (`decoder.rescale
= "transductive"` is the published way); VDVAE targets are posterior means instead of unseeded samples; noise is seeded
per stimulus and sample instead of once before the loop. docs/systems/brain-diffuser.md has all of them, and the settings
that are the published way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.dual_context import dual_context
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.registry import system
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import System
from brainrecon.assembly.vdvae_settings import VDVAESettings
from stages.ground.checks import OneOf, check

_RULES = {
    "clip_pictures": OneOf("enlarged", "direct"),
    "unconditional_grey": OneOf(127.0, 127.5, None),
    "start_posterior": OneOf("mode", "sample"),
    "noised_to": OneOf("first step", "step before"),
    "text_padding": OneOf("end", "zero"),
}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`."""

    vdvae: str = "vdvae-imagenet64"
    clip: str = "clip-vit-l-14-quickgelu"
    generator: str = "versatile-diffusion"


@dataclass(frozen=True)
class BrainDiffuserSettings:
    """All settings of the method.

    Stage two as published: 50 steps of which the last 37 are taken, 0.6 image context and 0.4 text context, guidance 7.5 (the
    checkpoint's own; the embedded network asks for less).

    Attributes
    ----------
    clip_pictures : {"enlarged", "direct"}
        Pictures are prepared for CLIP as published, or by CLIP's own preprocessing alone.
    unconditional_grey : {127.0, 127.5}, optional
        Grey level of the picture that guidance's unconditional half sees; by default the checkpoint's own, 127 as published.
    start_posterior : {"mode", "sample"}
        What of the autoencoder's posterior denoising starts from; "sample" is published.
    noised_to : {"first step", "step before"}
        Noise the start to the step that is denoised first, or to the step before, which is noisier and published.
    text_context : bool
        Decode the text context too; off if a dataset has no captions.
    text_padding : {"end", "zero"}
        What follows a caption's end token: the end token again, as in Versatile Diffusion and so in the published targets, or
        zeros, as in open_clip and for the embedded networks.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    generator: GeneratorSettings = field(default_factory=lambda: GeneratorSettings(greys="cut off"))
    vdvae: VDVAESettings = field(default_factory=lambda: VDVAESettings(greys="cut off"))
    clip_pictures: str = "enlarged"
    unconditional_grey: float | None = None
    start_posterior: str = "mode"
    noised_to: str = "first step"
    text_context: bool = True
    text_padding: str = "end"

    def __post_init__(self):
        for name, rule in _RULES.items():
            check(name, getattr(self, name), rule, typed="--set {name}={example}")


@system
class BrainDiffuser(System):
    """The two-stage method at its paper's settings, with the published checkpoints."""

    name = "brain-diffuser"
    explanation = "the full method: decoded stage-one picture, redrawn under decoded image and text embeddings"
    citation = (
        "Ozcelik, F. & VanRullen, R. (2023). Natural scene reconstruction from fMRI signals using generative latent "
        "diffusion. Scientific Reports 13, 15666."
    )
    settings_class = BrainDiffuserSettings
    evidence = Evidence(
        "regression, VDVAE and denoising equal the authors' code on random weights; published weights not read",
        ("simulated NSD", "digits69"),
        ("Brain-Diffuser",),
    )
    protocol = "brain-diffuser-2023"
    image_embedding = "clip_image"
    without_captions = {"text_context": False}
    tiny = {
        "checkpoints": {"vdvae": "tiny-vdvae", "clip": "tiny-clip", "generator": "tiny-generator"},
        "text_padding": "zero",
        # As the embedded networks were trained and measured.
        "clip_pictures": "direct",
        "vdvae": {"greys": "rounded"},
        "generator": {"greys": "rounded"},
    }

    def steps(self, machine):
        settings = self.settings
        seed = settings.vdvae.sample_seed
        latents = self.target("stages.targets.vdvae:VDVAELatents", "vdvae", machine, sample_seed=seed)
        image = self.target("stages.targets.clip:CLIPImageTokens", "clip", machine, pictures=settings.clip_pictures)
        contexts = {"clip_image": image}
        if settings.text_context:
            contexts["clip_text"] = self.text(machine)
        left_out = () if settings.text_context else ("clip_text",)
        return [
            Decode({"vdvae": latents} | contexts, settings.decoder, machine, left_out=left_out),
            Show("vdvae", latents, options=settings.vdvae.showing, draws=settings.vdvae.draws),
            dual_context(self, contexts, machine, "first_picture", self._arguments),
        ]

    def text(self, machine):
        """The target of the text context: CLIP's tokens of the captions."""
        return self.target("stages.targets.clip:CLIPTextTokens", "clip", machine, padding=self.settings.text_padding)

    def _arguments(self):
        from stages.generators.diffusion.start_rule import StartRule

        settings = self.settings
        start = StartRule(posterior=settings.start_posterior, noised_to=settings.noised_to)
        grey = {} if settings.unconditional_grey is None else {"unconditional_grey": settings.unconditional_grey}
        return {"start": start} | grey
