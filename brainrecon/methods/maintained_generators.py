"""Brain-Diffuser's two stages with generators that are maintained, in place of Versatile Diffusion.

Stage one is the same, but that it predicts what the generator was trained to read: the pooled CLIP embedding of a picture in
place of its tokens, and text in the diffusion model's own text space in place of CLIP's shared one. These are no published
systems; their strength and weights are Brain-Diffuser's as far as they carry over, steps and guidance what each model is
commonly used with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.decode import DecoderSettings
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.methods.two_stage import TwoStageMethod

_LATENTS = ("stages.targets.vdvae", "VDVAELatents", "vdvae")
_IMAGE = ("stages.targets.clip", "CLIPImageVector", "clip")
_TEXT = ("stages.targets.diffusion_text", "DiffusionTextTokens", "generator")


@dataclass(frozen=True)
class AdapterCheckpoints:
    """Names in `weights/manifest.toml`; `clip` is the vision model that the adapter was trained with."""

    vdvae: str = "vdvae-imagenet64"
    clip: str = "clip-vit-h-14-laion2b"
    generator: str = "stable-diffusion-1-5"
    adapter: str = "ip-adapter-sd15"


@dataclass(frozen=True)
class StableDiffusionSettings:
    """All settings of the method. The image weight is the adapter's scale, the text weight the share of the text."""

    checkpoints: AdapterCheckpoints = field(default_factory=AdapterCheckpoints)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    generator: GeneratorSettings = field(default_factory=lambda: GeneratorSettings(text_weight=1.0))
    text_context: bool = True


class StableDiffusion(TwoStageMethod):
    """Stable Diffusion 1.5 with an IP-Adapter."""

    name = "brain-diffuser-sd"
    settings_class = StableDiffusionSettings
    target_classes = {"vdvae": _LATENTS, "clip_image": _IMAGE, "clip_text": _TEXT}
    generator_class = ("stages.generators.diffusion.ip_adapter", "StableDiffusionIPAdapterGenerator")
    tiny = {"checkpoints": {"vdvae": "tiny-vdvae"}}

    def context_weights(self, condition):
        settings = self.settings.generator
        image = 0.0 if condition == "without_image_context" else settings.image_weight
        text = 0.0 if condition == "without_text_context" or not self.settings.text_context else settings.text_weight
        return image, text

    def generator_folders(self):
        return {"ip_adapter": self.checkpoint_folder(self.settings.checkpoints.adapter)}


@dataclass(frozen=True)
class StableDiffusionXLSettings(StableDiffusionSettings):
    """As those of Stable Diffusion 1.5."""

    checkpoints: AdapterCheckpoints = field(
        default_factory=lambda: AdapterCheckpoints(
            generator="stable-diffusion-xl-base", adapter="ip-adapter-sdxl-vit-h"
        )
    )


class StableDiffusionXL(StableDiffusion):
    """Stable Diffusion XL with an IP-Adapter."""

    name = "brain-diffuser-sdxl"
    settings_class = StableDiffusionXLSettings
    generator_class = ("stages.generators.diffusion.ip_adapter", "StableDiffusionXLIPAdapterGenerator")


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


class StableUnCLIP(StableDiffusion):
    """Stable unCLIP, which reads the image embedding itself."""

    name = "brain-diffuser-unclip"
    settings_class = UnCLIPSettings
    generator_class = ("stages.generators.diffusion.stable_unclip", "StableUnCLIPGenerator")

    def generator_folders(self):
        return {}


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


class Kandinsky(TwoStageMethod):
    """The decoder of Kandinsky 2.2, under the image embedding alone."""

    name = "brain-diffuser-kandinsky"
    settings_class = KandinskySettings
    explanation = "the full method: decoded stage-one picture, redrawn under the decoded image embedding"
    target_classes = {"vdvae": _LATENTS, "clip_image": _IMAGE}
    generator_class = ("stages.generators.diffusion.kandinsky", "KandinskyGenerator")
    tiny = {"checkpoints": {"vdvae": "tiny-vdvae"}}

    def context_weights(self, condition):
        return self.settings.generator.image_weight, 0.0

    def generator_folders(self):
        return {"prior_folder": self.checkpoint_folder(self.settings.checkpoints.prior)}
