"""Brain-Diffuser (Ozcelik & VanRullen, Scientific Reports 2023): ridge to VDVAE latents and CLIP tokens, then diffusion.

Stage one predicts the latents of the VDVAE's first layers, CLIP image tokens and CLIP text tokens from fMRI patterns,
and decodes the latents into a first picture. Stage two redraws that picture image to image with Versatile Diffusion under both
CLIP embeddings.

Departures from the published scripts, each for a reason: penalties are chosen on training data instead of typed in;
predictions are rescaled with statistics of held-out training predictions instead of the test set's own
(`decoder.rescale = "transductive"` is the published way); VDVAE targets are posterior means instead of unseeded samples;
noise is seeded per stimulus and sample instead of once before the loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.decode import DecoderSettings
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.methods.two_stage import TwoStageMethod


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`."""

    vdvae: str = "vdvae-imagenet64"
    clip: str = "clip-vit-l-14-quickgelu"
    generator: str = "versatile-diffusion"


@dataclass(frozen=True)
class BrainDiffuserSettings:
    """All settings of the method; `text_context` is off where a dataset has no captions.

    What follows a caption's end token is, in Versatile Diffusion and so in the published targets, the end token again
    (`text_padding` "end"), and zeros in open_clip and for the embedded networks ("zero").

    Stage two as published: 50 steps of which the last 37 are taken, 0.6 image context and 0.4 text context, guidance 7.5 (the
    checkpoint's own; the embedded network asks for less).
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    text_context: bool = True
    text_padding: str = "end"


class BrainDiffuser(TwoStageMethod):
    """The two-stage method at its paper's settings, with the published checkpoints."""

    name = "brain-diffuser"
    settings_class = BrainDiffuserSettings
    target_classes = {
        "vdvae": ("stages.targets.vdvae", "VDVAELatents", "vdvae"),
        "clip_image": ("stages.targets.clip", "CLIPImageTokens", "clip"),
        "clip_text": ("stages.targets.clip", "CLIPTextTokens", "clip"),
    }
    generator_class = ("stages.generators.diffusion.dual_context", "DualContextGenerator")
    tiny = {
        "checkpoints": {"vdvae": "tiny-vdvae", "clip": "tiny-clip", "generator": "tiny-generator"},
        "text_padding": "zero",
    }

    def target_options(self, name):
        return {"padding": self.settings.text_padding} if name == "clip_text" else {}
