"""Brain-Diffuser's two stages with the decoder of Kandinsky 2.2 in place of Versatile Diffusion.

Stage one predicts what the generator was trained to read: the pooled CLIP embedding of a picture in place of its tokens, and no
text. This is no published system; its strength is Brain-Diffuser's, steps and guidance what the model is commonly used with.
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
class KandinskyCheckpoints:
    """`prior` holds the vision model whose embedding of an empty picture guidance needs."""

    vdvae: str = "vdvae-imagenet64"
    clip: str = "clip-vit-bigg-14-laion2b"
    generator: str = "kandinsky-2-2-decoder"
    prior: str = "kandinsky-2-2-prior"


@dataclass(frozen=True)
class KandinskySettings:
    """All settings of the method; the decoder reads no text."""

    checkpoints: KandinskyCheckpoints = field(default_factory=KandinskyCheckpoints)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(num_inference_steps=100, image_weight=1.0, text_weight=0.0)
    )
    vdvae: VDVAESettings = field(default_factory=VDVAESettings)


@system
class Kandinsky(System):
    """The decoder of Kandinsky 2.2, under the image embedding alone."""

    name = "brain-diffuser-kandinsky"
    explanation = "the full method: decoded stage-one picture, redrawn under the decoded image embedding"
    settings_class = KandinskySettings
    evidence = Evidence(
        f"{UNPUBLISHED}; the generator equals diffusers' pipeline on random weights", ("simulated NSD",)
    )
    protocol = "brain-diffuser-2023"
    image_embedding = "clip_image"
    tiny = {"checkpoints": {"vdvae": "tiny-vdvae"}}

    def steps(self, machine):
        settings = self.settings
        seed = settings.vdvae.sample_seed
        latents = self.target("stages.targets.vdvae:VDVAELatents", "vdvae", machine, sample_seed=seed)
        contexts = {"clip_image": self.target("stages.targets.clip:CLIPImageVector", "clip", machine)}
        return [
            Decode({"vdvae": latents} | contexts, settings.decoder, machine),
            Show("vdvae", latents, options=settings.vdvae.showing, draws=settings.vdvae.draws),
            redraw(
                "stages.generators.diffusion.kandinsky:KandinskyGenerator",
                lambda: self.folder("generator"),
                settings.generator,
                machine,
                contexts,
                lambda present: {"clip_image": settings.generator.image_weight},
                arguments=lambda: {"prior_folder": self.folder("prior")},
            ),
        ]
