"""Brain-Diffuser's two stages with Stable unCLIP, which reads the image embedding itself, in place of Versatile Diffusion.

Stage one predicts what the generator was trained to read: the pooled CLIP embedding of a picture in place of its tokens, and
text in the diffusion model's own text space in place of CLIP's shared one. This is no published system; its strength and
weights are Brain-Diffuser's as far as they carry over, steps and guidance what the model is commonly used with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.registry import system
from brainrecon.methods.brain_diffuser_sd import StableDiffusion, StableDiffusionSettings


@dataclass(frozen=True)
class UnCLIPCheckpoints:
    """The small model, which reads CLIP ViT-L/14; with `clip-vit-h-14-laion2b` and `stable-unclip` the large one."""

    vdvae: str = "vdvae-imagenet64"
    clip: str = "clip-vit-l-14-quickgelu"
    generator: str = "stable-unclip-small"


@dataclass(frozen=True)
class UnCLIPSettings(StableDiffusionSettings):
    """As those of Stable Diffusion 1.5, but that both weights are shares of the embeddings."""

    checkpoints: UnCLIPCheckpoints = field(default_factory=UnCLIPCheckpoints)
    generator: GeneratorSettings = field(default_factory=lambda: GeneratorSettings(image_weight=1.0, text_weight=1.0))


@system
class StableUnCLIP(StableDiffusion):
    """Stable unCLIP, which reads the image embedding itself."""

    name = "brain-diffuser-unclip"
    settings_class = UnCLIPSettings
    protocol = "brain-diffuser-2023"
    generator = "stages.generators.diffusion.stable_unclip:StableUnCLIPGenerator"

    def _arguments(self):
        return {}
