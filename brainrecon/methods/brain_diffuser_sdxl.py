"""Brain-Diffuser's two stages with Stable Diffusion XL and an IP-Adapter in place of Versatile Diffusion.

Stage one predicts what the generator was trained to read: the pooled CLIP embedding of a picture in place of its tokens, and
text in the diffusion model's own text space in place of CLIP's shared one. This is no published system; its strength and
weights are Brain-Diffuser's as far as they carry over, steps and guidance what the model is commonly used with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.registry import system
from brainrecon.methods.brain_diffuser_sd import AdapterCheckpoints, StableDiffusion, StableDiffusionSettings


@dataclass(frozen=True)
class StableDiffusionXLSettings(StableDiffusionSettings):
    """As those of Stable Diffusion 1.5."""

    checkpoints: AdapterCheckpoints = field(
        default_factory=lambda: AdapterCheckpoints(
            generator="stable-diffusion-xl-base", adapter="ip-adapter-sdxl-vit-h"
        )
    )


@system
class StableDiffusionXL(StableDiffusion):
    """Stable Diffusion XL with an IP-Adapter."""

    name = "brain-diffuser-sdxl"
    settings_class = StableDiffusionXLSettings
    generator = "stages.generators.diffusion.ip_adapter:StableDiffusionXLIPAdapterGenerator"
