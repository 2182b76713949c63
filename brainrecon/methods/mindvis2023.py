"""MinD-Vis (Chen et al., CVPR 2023): an encoder that was pretrained on masked responses leads a latent diffusion model.

The encoder takes the place of the table of classes of a model of ImageNet: its tokens enter every cross-attention and the time
embedding. Encoder, mappers, cross-attentions and the normalisations before them are trained at once; the rest of the model stays
as it is. Pictures are drawn in 250 steps of PLMS without guidance.

docs/systems/mindvis2023.md says what the scripts do, and what of it is an option here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.pretraining import MaskedBrainSettings, Pretrain
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from brainrecon.assembly.tuned_diffusion import (
    StartingEncoder,
    TunedDiffusionSettings,
    tuned_diffusion,
    tuned_drawing,
)
from stages.ground.checks import Number, check_all
from weights import store

TOKENS = "brain_tokens"


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`.

    Attributes
    ----------
    generator : str
        The latent diffusion model of ImageNet's classes.
    encoder : str
        A pretrained autoencoder of responses: the authors', or the folder of a `brainrecon pretrain`; empty for none.
    """

    generator: str = "label2img-ldm"
    encoder: str = "mindvis-hcp-encoder"


@dataclass(frozen=True)
class MindVisSettings:
    """All settings of the method.

    Attributes
    ----------
    checkpoints : Checkpoints
    pretrains : bool
        Whether the encoder is pretrained on the responses here before it is tuned, from the checkpoint if one is named.
    pretraining : MaskedBrainSettings
        How; by default as the scripts do it a second time. They take the tested responses for it:
        ``pretraining.transductive=true``.
    decoder : TunedDiffusionSettings
    latent_size : int
        Side in pixels of the pictures whose latents are learned.
    generator : GeneratorSettings
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    pretrains: bool = False
    pretraining: MaskedBrainSettings = field(
        default_factory=lambda: MaskedBrainSettings(epochs=15, warmup_epochs=2, batch_size=16, learning_rate=5.3e-5)
    )
    decoder: TunedDiffusionSettings = field(default_factory=TunedDiffusionSettings)
    latent_size: int = 256
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=1.0,
            num_inference_steps=250,
            guidance_scale=1.0,
            image_weight=0.0,
            text_weight=0.0,
            scheduler="plms",
            greys="cut off",
        )
    )

    def __post_init__(self):
        check_all(self, {"latent_size": Number(1, whole=True, example=256)})


@system
class MindVis2023(System):
    """The method of one subject, as its scripts run it but for what they do with tested responses."""

    name = "mindvis2023"
    explanation = "the full method: a pretrained encoder of responses leads latent diffusion, of which a part is tuned"
    citation = (
        "Chen, Z. et al. (2023). Seeing beyond the brain: conditional diffusion model with sparse masked modeling for vision "
        "decoding. CVPR 2023."
    )
    settings_class = MindVisSettings
    evidence = Evidence(
        "networks, losses, schedule and drawing equal the published formulas on random weights, with the published numbers of "
        "parameters; released files not read",
        ("simulated NSD",),
        ("MinD-Vis",),
    )
    protocol = "mindvis-2023"
    tiny = {
        "checkpoints": {"generator": "tiny-label2img", "encoder": ""},
        "pretrains": True,
        "pretraining": {
            "width": 128,
            "depth": 2,
            "n_heads": 4,
            "decoder_width": 64,
            "decoder_depth": 2,
            "decoder_heads": 4,
            "epochs": 20,
            "warmup_epochs": 3,
            "batch_size": 32,
            "learning_rate": 1e-3,
        },
        # Where a thing is is much of what a drawn picture shows: a crop would teach other places than were seen.
        "decoder": {"epochs": 90, "batch_size": 32, "learning_rate": 1e-3, "n_tokens": 38, "cropped": 0.0},
        "latent_size": 64,
        "generator": {"num_inference_steps": 50},
    }

    def settled(self, train):
        return replace(self.settings, decoder=self.settings.decoder.settled(train))

    def steps(self, machine):
        settings = self.settings
        latent = self.target(
            "stages.targets.codebook_latents:CodebookLatents", "generator", machine, size=settings.latent_size
        )
        pretrained = self._pretrained(machine) if settings.pretrains else None
        learned = tuned_diffusion(
            TOKENS,
            latent,
            settings.latent_size,
            settings.decoder,
            machine,
            lambda check=True: self.folder("generator", check),
            self._encoder(pretrained),
            "decoder",
            identity=lambda: store.fingerprint(settings.checkpoints.generator),
            released=self._released(),
        )
        drawn = tuned_drawing(learned, TOKENS, settings.generator, machine, lambda: self.folder("generator"))
        return [*([] if pretrained is None else [pretrained]), learned, drawn]

    def _pretrained(self, machine):
        """The step that pretrains the encoder here."""
        start = (lambda: self.folder("encoder")) if self.settings.checkpoints.encoder else None
        return Pretrain(self.settings.pretraining, machine.device, "encoder", start)

    def _encoder(self, pretrained):
        """What training begins with."""
        own = self.settings
        if not own.checkpoints.encoder:
            return StartingEncoder(lambda: own.pretraining.encoder_sizes, pretrained and pretrained.begin)

        def sizes():
            from stages.networks.masked_brain import encoder_sizes

            return encoder_sizes(self.folder("encoder", check=False))

        def begin(encoder):
            from stages.networks.masked_brain import load_brain_encoder, put_encoder

            return put_encoder(encoder, load_brain_encoder(self.folder("encoder"), encoder.n_voxels))

        return StartingEncoder(sizes, begin if pretrained is None else pretrained.begin)

    def _released(self):
        """How a file of the authors is read."""
        from stages.decoders.released import Released

        def tensors(stored):
            from stages.generators.diffusion.vq_diffusion_model import unet_config
            from stages.networks.brain_diffusion import authors_tensors

            return authors_tensors(
                stored, unet_config(self.folder("generator", check=False)), self.settings.decoder.tuned
            )

        # Several numbers of voxels make as many patches: the file does not tell of how many it was trained.
        return Released("", tensors)
