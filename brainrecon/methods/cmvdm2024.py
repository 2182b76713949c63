"""CMVDM (Zeng et al., AAAI 2024): MinD-Vis, held to what a picture means, and steered by a silhouette that is decoded besides.

The tuned model of MinD-Vis goes on with a head that brings its tokens to CLIP's embedding of the picture. Another network decodes
a silhouette. A control branch then reads the silhouette and a residual picture of the same voxels; only these two are trained.

docs/systems/cmvdm2024.md says what the scripts do, and what of it is an option here or is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.structure_control import (
    ControlSettings,
    Hint,
    StructureSettings,
    control_training,
    digest_of,
    steering,
    structure_decoding,
)
from brainrecon.assembly.tuned_diffusion import (
    StartingEncoder,
    TunedDiffusionSettings,
    tuned_diffusion,
    tuned_drawing,
)
from brainrecon.methods.mindvis2023 import MindVis2023, MindVisSettings
from stages.ground.checks import Number, OneOf, check_all
from weights import store

TOKENS, MEANING = "brain_tokens", "meaning"
STRUCTURE, RESIDUAL, HINT = "structure", "residual", "hint"
OWN, AS_PUBLISHED = "own preprocessing", "as published"


@dataclass(frozen=True)
class AlignmentSettings(TunedDiffusionSettings):
    """How the tuned model goes on, held to CLIP's embedding.

    Attributes
    ----------
    alignment : float
        Weight of exp(-cos): its gradient is small beside that of the noise's error.
    head_channels, head_hidden : int
        Of the head.
    clip_input : {"own preprocessing", "as published"}
        What CLIP looks at: the picture, prepared as CLIP asks for; or the decoded latents of the picture as they are, without its
        mean and standard deviation.
    """

    batch_size: int = 24
    alignment: float = 0.004
    head_channels: int = 64
    head_hidden: int = 1024
    clip_input: str = OWN

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "alignment": Number(0),
            **dict.fromkeys(("head_channels", "head_hidden"), Number(1, whole=True)),
            "clip_input": OneOf(OWN, AS_PUBLISHED),
        }
        check_all(self, rules)


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`.

    Attributes
    ----------
    generator, encoder : str
        As of `brainrecon.methods.mindvis2023.Checkpoints`.
    clip : str
        Of the alignment.
    silhouette : str
        What tells figure from ground; empty for a threshold on how far colours are from those of the border.
    """

    generator: str = "label2img-ldm"
    encoder: str = "mindvis-hcp-encoder"
    clip: str = "clip-vit-b-32-openai"
    silhouette: str = "deeplabv3-resnet101"


@dataclass(frozen=True)
class CMVDMSettings(MindVisSettings):
    """All settings of the method.

    Attributes
    ----------
    checkpoints : Checkpoints
    pretrains, pretraining, decoder, latent_size, generator
        As of `brainrecon.methods.mindvis2023.MindVisSettings`.
    alignment : AlignmentSettings
    structure : StructureSettings
    control : ControlSettings
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    structure: StructureSettings = field(default_factory=StructureSettings)
    control: ControlSettings = field(default_factory=ControlSettings)


@system
class CMVDM2024(MindVis2023):
    """The method of one subject, as its scripts run it but for what they do with tested responses."""

    name = "cmvdm2024"
    explanation = "MinD-Vis held to CLIP's embedding, and steered by a decoded silhouette through a control branch"
    citation = "Zeng, B. et al. (2024). Controllable mind visual diffusion model. AAAI 2024."
    settings_class = CMVDMSettings
    evidence = Evidence(
        "networks, losses and what is trained equal the published formulas on random weights; no released file exists of the "
        "decoder of structure",
        ("simulated NSD",),
        ("CMVDM",),
    )
    protocol = "mindvis-2023"
    tiny = {
        **MindVis2023.tiny,
        "checkpoints": {**MindVis2023.tiny["checkpoints"], "clip": "tiny-clip", "silhouette": ""},
        "decoder": {**MindVis2023.tiny["decoder"], "epochs": 30},
        "alignment": {
            **MindVis2023.tiny["decoder"],
            "epochs": 10,
            "head_channels": 16,
            "head_hidden": 64,
        },
        "structure": {"epochs": 60, "channels": 32, "side": 32, "learning_rate": 2e-3, "drops": [40, 55]},
        "control": {"epochs": 20, "learning_rate": 1e-3, "cropped": 0.0},
    }

    def settled(self, train):
        own = self.settings
        return replace(
            super().settled(train),
            alignment=own.alignment.settled(train),
            structure=own.structure.settled(train),
            control=own.control.settled(train),
        )

    @property
    def notes(self):
        return (
            "The decoder of structure learned from labelled responses alone, without the cycles and the perceptual loss of the "
            "authors' scripts.",
        )

    def steps(self, machine):
        own, folder = self.settings, lambda check=True: self.folder("generator", check)
        size = own.latent_size
        latent = self.target("stages.targets.codebook_latents:CodebookLatents", "generator", machine, size=size)

        def identity():
            return store.fingerprint(own.checkpoints.generator)

        pretrained = self._pretrained(machine) if own.pretrains else None
        encoder = self._encoder(pretrained)
        model = (latent, size)
        first = tuned_diffusion(
            "first_tokens",
            *model,
            own.decoder,
            machine,
            folder,
            encoder,
            "decoder",
            identity=identity,
            released=self._released(),
            kept_back=True,
        )
        aligned = self._aligned(machine, model, folder, encoder, first)
        structure = structure_decoding(
            STRUCTURE, self._silhouette(machine), own.structure, machine, "structure", "structure"
        )
        control = control_training(
            RESIDUAL,
            *model,
            own.control,
            machine,
            folder,
            aligned,
            structure,
            lambda: self._sizes(folder, encoder),
            "control",
            identity,
            "control",
        )
        hint = Hint(STRUCTURE, RESIDUAL, HINT)
        drawn = tuned_drawing(
            aligned,
            TOKENS,
            own.generator,
            machine,
            lambda: self.folder("generator"),
            arguments=steering(control, HINT, own.generator, machine),
            steered=(HINT,),
        )
        return [*([] if pretrained is None else [pretrained]), first, aligned, structure, control, hint, drawn]

    def _aligned(self, machine, model, folder, encoder, first):
        """The step in which the tuned model goes on with a head."""
        from stages.generators.diffusion.vq_diffusion_model import load_vq_unet
        from stages.networks.attribute_head import ATTRIBUTES, AlignedBrainDiffusion
        from stages.objectives.attribute_alignment import AttributeAlignment

        own = self.settings.alignment
        meaning = self._meaning(machine)

        def start(network):
            tuned = first.decoder.network.network
            if next(tuned.denoiser.unet.base.parameters()).is_meta:
                tuned.denoiser.unet.take_base(load_vq_unet(folder()).to(machine.device))
            network.take_tuned(tuned)
            return digest_of(tuned)

        def head():
            (values,) = meaning.outline.shape
            return {"values": values, "channels": own.head_channels, "hidden": own.head_hidden}

        return tuned_diffusion(
            TOKENS,
            *model,
            own,
            machine,
            folder,
            encoder,
            "aligned",
            further=lambda network: [AttributeAlignment(ATTRIBUTES, MEANING, own.alignment)],
            beside={MEANING: meaning},
            table="alignment",
            make=AlignedBrainDiffusion,
            more=lambda: {"head": head()},
            start=start,
        )

    def _meaning(self, machine):
        """What tokens are held to."""
        if self.settings.alignment.clip_input == OWN:
            return self.target("stages.targets.clip:CLIPImageVector", "clip", machine)
        place, size = "stages.targets.decoded_clip:DecodedCLIPVector", self.settings.latent_size
        return self.target(place, "clip", machine, {"autoencoder": "generator"}, size=size)

    def _silhouette(self, machine):
        """Target of the decoder of structure."""
        from brainrecon.assembly.targets import TargetSource

        side = self.settings.structure.side
        if self.settings.checkpoints.silhouette:
            return self.target("stages.targets.silhouette:Silhouette", "silhouette", machine, side=side)

        def load():
            from stages.targets.silhouette import DrawnSilhouette

            return DrawnSilhouette(side=side)

        return TargetSource(load, checkpoints=(), dtype=self.settings.decoder.features)

    def _sizes(self, folder, encoder: StartingEncoder):
        """What the steered model and the decoder of structure are made of."""
        from stages.generators.diffusion.vq_diffusion_model import unet_config

        own, unet = self.settings.alignment, unet_config(folder(check=False))
        return {
            "tokens": [own.n_tokens, unet["cross_attention_dim"]],
            "aligned": {
                "encoder": encoder.sizes(),
                "unet": unet,
                "tuned": list(own.tuned),
                "pooled": own.pooled,
                "times": own.times,
            },
            "structure": {"side": self.settings.structure.side, "channels": self.settings.structure.channels},
        }
