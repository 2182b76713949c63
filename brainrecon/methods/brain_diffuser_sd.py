"""Brain-Diffuser's two stages with Stable Diffusion 1.5 and an IP-Adapter in place of Versatile Diffusion.

Stage one predicts what the generator was trained to read: the pooled CLIP embedding of a picture in place of its tokens, and
text in the diffusion model's own text space in place of CLIP's shared one. This is no published system; its strength and
weights are Brain-Diffuser's as far as they carry over, steps and guidance what the model is commonly used with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.evidence import UNPUBLISHED, Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.registry import system
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import System
from brainrecon.assembly.vdvae_settings import VDVAESettings


@dataclass(frozen=True)
class AdapterCheckpoints:
    """Names in `weights/manifest.toml`; `clip` is the vision model that the adapter was trained with."""

    vdvae: str = "vdvae-imagenet64"
    clip: str = "clip-vit-h-14-laion2b"
    generator: str = "stable-diffusion-1-5"
    adapter: str = "ip-adapter-sd15"


@dataclass(frozen=True)
class StableDiffusionSettings:
    """All settings of the method. The image weight is the adapter's scale, the text weight the share of the text.

    Attributes
    ----------
    text_context : bool
        Decode the text context too; off if a dataset has no captions.
    """

    checkpoints: AdapterCheckpoints = field(default_factory=AdapterCheckpoints)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    generator: GeneratorSettings = field(default_factory=lambda: GeneratorSettings(text_weight=1.0))
    vdvae: VDVAESettings = field(default_factory=VDVAESettings)
    text_context: bool = True


@system
class StableDiffusion(System):
    """Stable Diffusion 1.5 with an IP-Adapter."""

    name = "brain-diffuser-sd"
    explanation = "the full method: decoded stage-one picture, redrawn under decoded image and text embeddings"
    settings_class = StableDiffusionSettings
    evidence = Evidence(f"{UNPUBLISHED}; generators equal diffusers' pipelines on random weights", ("simulated NSD",))
    protocol = "brain-diffuser-2023"
    image_embedding = "clip_image"
    without_captions = {"text_context": False}
    tiny = {"checkpoints": {"vdvae": "tiny-vdvae"}}
    generator = "stages.generators.diffusion.ip_adapter:StableDiffusionIPAdapterGenerator"

    def steps(self, machine):
        settings = self.settings
        seed = settings.vdvae.sample_seed
        latents = self.target("stages.targets.vdvae:VDVAELatents", "vdvae", machine, sample_seed=seed)
        contexts = {"clip_image": self.target("stages.targets.clip:CLIPImageVector", "clip", machine)}
        if settings.text_context:
            contexts["clip_text"] = self.target(
                "stages.targets.diffusion_text:DiffusionTextTokens", "generator", machine
            )
        left_out = () if settings.text_context else ("clip_text",)
        return [
            Decode({"vdvae": latents} | contexts, settings.decoder, machine, left_out=left_out),
            Show("vdvae", latents, options=settings.vdvae.showing, draws=settings.vdvae.draws),
            redraw(
                self.generator,
                lambda: self.folder("generator"),
                settings.generator,
                machine,
                contexts,
                self._weights,
                arguments=self._arguments,
            ),
        ]

    def _weights(self, present):
        """Each context's own: what one loses the other does not take over."""
        own = {"clip_image": self.settings.generator.image_weight, "clip_text": self.settings.generator.text_weight}
        return {name: weight if name in present else 0.0 for name, weight in own.items()}

    def _arguments(self):
        return {"ip_adapter": self.folder("adapter")}
