"""NeuroPictor (Huo et al., ECCV 2024): what the brain gives replaces a text, and steers where things lie.

Responses become a picture of the flattened cortex, of which an encoder makes tokens. From them come tokens in the place of a
text, and a map that a control branch of Stable Diffusion 2.1 reads. The network is trained through the frozen model, on several
subjects and then on one.

docs/systems/neuropictor2024.md says what the scripts do, which of their slips can be switched off, and what is done otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.brain_control import BrainControl, BrainControlSettings
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.registry import system
from brainrecon.assembly.settings import filled_in
from brainrecon.assembly.together_system import TogetherSystem
from stages.ground.checks import OneOf, check_all

TOKENS, MAP, LATENT = "clip_text", "control_map", "sd_latent"
UNCONDITIONAL = ("kept", "none")
TEXT_LAYERS = ("last", "penultimate")


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`; those that are not given are the published ones that the settings ask for.

    Attributes
    ----------
    generator : str, optional
        That draws, whose autoencoder's latents are learned from, and whose text encoder makes the empty text.
    text : str, optional
        Of the captions' tokens, if they are those of the last layer.
    encoder : str, optional
        Of the pretrained encoder of surfaces.
    """

    generator: str | None = None
    text: str | None = None
    encoder: str | None = None


@dataclass(frozen=True)
class NeuroPictorSettings:
    """All settings of the method.

    Attributes
    ----------
    decoder : BrainControlSettings
    text_layer : {"last", "penultimate"}
        Of the text encoder, that the tokens are held to: the last one, as published, or the one before, which the generator was
        trained on.
    latent_size : int
        Side in pixels of the pictures whose latents are learned from, and of what is drawn.
    uncond_control : {"kept", "none"}
        Whether the unconditional half of guidance is steered by the map too, as published.
    generator : GeneratorSettings
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: BrainControlSettings = field(default_factory=BrainControlSettings)
    text_layer: str = "last"
    latent_size: int = 512
    uncond_control: str = "kept"
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=1.0,
            num_inference_steps=50,
            guidance_scale=5.0,
            image_weight=0.0,
            text_weight=1.0,
            scheduler="ddim",
            greys="cut off",
        )
    )

    def __post_init__(self):
        check_all(self, {"text_layer": OneOf(*TEXT_LAYERS), "uncond_control": OneOf(*UNCONDITIONAL)})
        named = {"generator": "stable-diffusion-2-1-base"}
        if self.reads_captions and self.text_layer == "last":
            named["text"] = "clip-vit-h-14-laion2b"
        if self.decoder.pretrained:
            named["encoder"] = "neuropictor-ukb-autoencoder"
        object.__setattr__(self, "checkpoints", filled_in(self.checkpoints, named))

    @property
    def reads_captions(self):
        """Whether anything is held to captions."""
        return bool(self.decoder.text_weight or self.decoder.pretraining_text_weight)


@system
class NeuroPictor2024(TogetherSystem):
    """The method of one subject or of several, at its published settings."""

    name = "neuropictor2024"
    explanation = (
        "tokens in the place of a text, and a map that steers a control branch, trained through Stable Diffusion 2.1"
    )
    citation = (
        "Huo, J. et al. (2024). NeuroPictor: refining fMRI-to-image reconstruction via multi-individual pretraining and "
        "multi-level modulation. ECCV 2024."
    )
    settings_class = NeuroPictorSettings
    evidence = Evidence(
        "shapes, first steps, guidance and phases of training as in the scripts, on random weights; released files not read",
        ("simulated NSD",),
        ("NeuroPictor",),
    )
    image_embedding = TOKENS
    protocol = "mindeye-2023"
    of_drawing = ("generator", "uncond_control")
    without_captions = {"decoder": {"text_weight": 0.0}}
    without_captions_note = (
        "No captions: tokens are trained through the generator alone (decoder.text_weight = 0 in config.toml)."
    )
    tiny = {
        "checkpoints": {"generator": "tiny-stable-diffusion"},
        # Of its own text encoder, as the embedded network was trained.
        "text_layer": "penultimate",
        "latent_size": 64,
        "generator": {"guidance_scale": 3.5},
        "decoder": {
            "epochs": 40,
            "pretraining_epochs": 40,
            "emptied_epochs": 4,
            "pretraining_emptied_epochs": 4,
            "batch_size": 16,
            "batch_size_each": 8,
            "learning_rate": 1e-3,
            "text_weight": 1.0,
            "precision": "no",
            # The embedded encoder of surfaces knows no simulated brain, and simulated voxels have no flat map.
            "pretrained": False,
            "layout": "in order",
            "size": 64,
            "patch_size": 16,
            "width": 128,
            "depth": 2,
            "n_heads": 4,
            "hidden": 48,
        },
    }

    @property
    def notes(self):
        settings, found = self.settings, []
        if settings.decoder.layout == "in order":
            found.append(
                "Voxels lie in the encoder's picture in the order of the file, not where they are on the cortex."
            )
        elif not settings.decoder.pretrained:
            found.append("The encoder was not pretrained on other brains, as the authors' was.")
        return tuple(found)

    def steps(self, machine):
        settings = self.settings
        latent = self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents",
            "generator",
            machine,
            size=settings.latent_size,
            posterior="sample",
        )
        text = self._text(machine) if settings.decoder.text_weight else None
        learned = BrainControl(
            (TOKENS, MAP),
            (LATENT, latent),
            text,
            settings.decoder,
            machine,
            lambda check=True: self.folder("generator", check),
            (lambda: self.folder("encoder")) if settings.decoder.pretrained else None,
        )
        drawn = redraw(
            "stages.generators.diffusion.stable_diffusion:StableDiffusionGenerator",
            lambda: self.folder("generator"),
            settings.generator,
            machine,
            {TOKENS: text, MAP: None},
            lambda present: {TOKENS: settings.generator.text_weight if TOKENS in present else 0.0},
            start=None,
            arguments=lambda: {"branches": [self._steering(learned)]},
            needed=(),
        )
        return [learned, drawn]

    def _steering(self, learned):
        """The trained control branch, and the map that it reads."""
        from stages.generators.diffusion.control_maps import Control
        from stages.generators.diffusion.controls import ControlBranch

        shape, unconditional = learned.decoder.gives[MAP], self.settings.uncond_control
        control = Control(MAP, "", shape, hint="features", unconditional=unconditional)
        return ControlBranch(learned.branch, control)

    def _text(self, machine):
        """The target of the captions' tokens."""
        if self.settings.text_layer == "last":
            return self.target("stages.targets.clip_text_states:CLIPTextStates", "text", machine)
        return self.target("stages.targets.diffusion_text:DiffusionTextTokens", "generator", machine)
