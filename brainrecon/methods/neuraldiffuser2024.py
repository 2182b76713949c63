"""NeuralDiffuser (Li et al., IEEE TIP 2025; arXiv 2024): Stable Diffusion, led by decoded layers of CLIP in its first steps.

Eight networks of MindEye2's kind decode Stable Diffusion's text context c, the latent z of the picture, and what CLIP ViT-B/32
has inside (six hidden layers g). Stable Diffusion draws image to image from z under c. In the first steps the gradient of a
distance, of CLIP's layers of the picture to come from the decoded ones, is added to the predicted noise; self-attention guidance
is on in all of them.

docs/systems/neuraldiffuser2024.md says what the scripts do, which of their slips are mended here, and what is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.blurry_latent import LatentSettings, blurry_latent
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.many_subjects import ManySubjectsSettings
from brainrecon.assembly.match_moments import TRAINING, TRANSDUCTIVE, MatchMoments
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.refine import Refine
from brainrecon.assembly.registry import system
from brainrecon.assembly.shared_network import (
    SAMPLES_PER_EPOCH,
    SharedNetworkSettings,
    prior_of,
    shared_network,
    steps_by_sessions,
)
from brainrecon.assembly.together_system import TogetherSystem
from brainrecon.assembly.trial_outputs import RESPONSES
from brainrecon.assembly.watched_blocks import Seen, check_blocks
from stages.generators.diffusion.acceleration import Acceleration
from stages.generators.diffusion.feature_guidance_settings import FeatureGuidanceSettings
from stages.generators.diffusion.start_rule import StartRule
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError
from stages.targets.clip_names import block_name

LATENT, DECODED_LATENT, TEXT = "first_latent", "decoded_latent", "clip_text"
AS_DECODED = "as decoded"


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`.

    Attributes
    ----------
    generator : str
        That draws, and whose text encoder gives the text context.
    clip : str
        That looks at pictures.
    autoencoder, teacher : str
        Of the latent, and of its training.
    """

    generator: str = "stable-diffusion-1-4"
    clip: str = "clip-vit-b-32-openai"
    autoencoder: str = "sd-image-variations-autoencoder"
    teacher: str | None = None


@dataclass(frozen=True)
class TokensSettings(SharedNetworkSettings):
    """How each network of tokens is trained, see `brainrecon.assembly.shared_network.SharedNetworkSettings`.

    Attributes
    ----------
    hidden : int
        Values that subjects share. **Guessed**: the scripts that train say 1024, those that draw say 4096.
    prior_heads : int
        As many as fit into the width of the tokens, with 52 values each.
    """

    prior_heads: int = 14


@dataclass(frozen=True)
class SubjectsLatentSettings(ManySubjectsSettings, LatentSettings):
    """How the latent's network is trained, see `brainrecon.assembly.blurry_latent.LatentSettings`.

    Attributes
    ----------
    epochs, batch_size, learning_rate : int, int, float
        **Guessed**: those of the other networks.
    batch_size_each : int
        A script's default of 14 on each of 6 devices, over 7 subjects.
    """

    epochs: int = 150
    batch_size: int = 24
    batch_size_each: int = 12
    learning_rate: float = 3e-4
    trials: str = "apart"
    seed: int = 42

    published_steps = SAMPLES_PER_EPOCH // 24

    def _steps_of_an_epoch(self, cohort):
        return steps_by_sessions(self, cohort)


@dataclass(frozen=True)
class NeuralDiffuser2024Settings:
    """All settings of the method.

    Attributes
    ----------
    decoder : TokensSettings
        Of each network of tokens: the text context, and each layer.
    latent : SubjectsLatentSettings
        Of the latent's network.
    generator : GeneratorSettings
        37 of 50 steps.
    guidance : stages.generators.diffusion.feature_guidance_settings.FeatureGuidanceSettings
    seen : brainrecon.assembly.watched_blocks.Seen
        Of a picture that is learned from, or drawn. That it is antialiased is **guessed**: what the scripts call depends on the
        version of a library.
    blocks : tuple of int
        Of CLIP's image tower, whose hidden layers are decoded, each by a network of its own.
    prior_evaluations : int, optional
        Of each prior's network in sampling; every step, if none is given.
    picture_size : int
        Side in pixels of the pictures whose latents are decoded.
    latent_statistics : {"as decoded", "training", "transductive"}
        Leave decoded latents as they are; or give each of their values the mean and the deviation of true ones, by those of what
        is decoded from training responses, or, as in the scripts, from the tested ones together.
    noised_to : {"first step", "step before"}
        Noise the latent to the timestep that is denoised first, 721, or, about as the scripts do, to the step before, 741.
    text_context : bool
        Decode the text context too; off if a dataset has no captions.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: TokensSettings = field(default_factory=TokensSettings)
    latent: SubjectsLatentSettings = field(default_factory=SubjectsLatentSettings)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=0.75,
            num_inference_steps=50,
            guidance_scale=7.5,
            image_weight=0.0,
            text_weight=1.0,
            scheduler="ddim",
            # One at a time: guidance differentiates the networks, which is not counted.
            acceleration=Acceleration(dtype="float32", batch_size=1),
        )
    )
    guidance: FeatureGuidanceSettings = field(default_factory=FeatureGuidanceSettings)
    seen: Seen = field(default_factory=lambda: Seen(resampling="bilinear, antialiased"))
    blocks: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    prior_evaluations: int | None = 19
    picture_size: int = 512
    latent_statistics: str = AS_DECODED
    noised_to: str = "first step"
    text_context: bool = True

    def __post_init__(self):
        rules = {
            "picture_size": Number(1, whole=True, example=512),
            "latent_statistics": OneOf(AS_DECODED, TRAINING, TRANSDUCTIVE),
            "noised_to": OneOf("first step", "step before"),
        }
        check_all(self, rules)
        check_blocks(self.blocks, self.guidance.multipliers, "guidance")
        if not self.decoder.prior_weight:
            raise InputError(
                f"decoder.prior_weight is {self.decoder.prior_weight} but tokens are sampled from a prior, which would not be "
                "trained; give it a weight above 0."
            )
        teacher = "vicregl-convnext-xl" if self.latent.teacher else None
        if self.checkpoints.teacher is None and teacher:
            # What nothing is held against is not fetched.
            object.__setattr__(self, "checkpoints", replace(self.checkpoints, teacher=teacher))


@system
class NeuralDiffuser2024(TogetherSystem):
    """Stable Diffusion from a decoded latent under decoded text, led by decoded layers of CLIP."""

    name = "neuraldiffuser2024"
    explanation = (
        "the full method: a decoded latent, redrawn under decoded text, the first steps led by decoded CLIP layers"
    )
    citation = (
        "Li, H., Wu, H. & Chen, B. (2025). NeuralDiffuser: neuroscience-inspired diffusion guidance for fMRI visual "
        "reconstruction. IEEE Transactions on Image Processing 34, 552-565 (arXiv 2402.13809, 2024)."
    )
    settings_class = NeuralDiffuser2024Settings
    evidence = Evidence(
        "guidance, its gradient and self-attention guidance equal their formulas and diffusers' on random weights, networks "
        "have the numbers of parameters of the code; text and tables of the paper not read, nothing released",
        ("simulated NSD",),
    )
    trained = ("decoder", "latent")
    protocol = "mindeye2-2024"
    # Retrieval is by what is trained for it, not by samples of the priors.
    compared_by = {name: f"{name}_retrieval" for name in ("clip_text", *(f"clip_block_{k}" for k in range(1, 25)))}
    without_captions = {"text_context": False}
    of_drawing = ("generator", "guidance", "prior_evaluations", "noised_to")
    tiny = {
        "checkpoints": {
            "generator": "tiny-stable-diffusion",
            "clip": "tiny-clip",
            "autoencoder": "tiny-stable-diffusion",
        },
        "generator": {"guidance_scale": 3.5, "num_inference_steps": 15},
        "guidance": {"scale": 30.0, "multipliers": [1.0]},
        "seen": {"normalise": "own"},
        # Of the layers one, of which a network is trained in half a minute.
        "blocks": [2],
        "picture_size": 64,
        "decoder": {
            "epochs": 6,
            "hidden": 256,
            "prior_depth": 1,
            "prior_heads": 4,
            "prior_head_width": 32,
            "learning_rate": 1e-3,
        },
        "latent": {
            "epochs": 4,
            "batch_size": 32,
            "hidden": 256,
            "n_blocks": 2,
            "map_channels": 32,
            "channels": [32, 64],
            "learning_rate": 1e-3,
            # It has no embedded twin.
            "teacher": False,
        },
    }

    def __init__(self, settings=None):
        super().__init__(settings)
        # Tokens for retrieval of the last layer.
        self.image_embedding = _retrieval(_layer(self.settings.blocks[-1]))

    @property
    def fitted_through(self):
        # Pictures are led to features of this network.
        return (self.settings.checkpoints.clip,) if self.settings.guidance.scale else ()

    @property
    def notes(self):
        if self.settings.latent_statistics != TRANSDUCTIVE:
            return ()
        return ("Transductive: a decoded latent depends on the other stimuli that are tested.",)

    def steps(self, machine):
        settings, found, contexts = self.settings, [], {}
        if settings.text_context:
            contexts[TEXT] = self.target("stages.targets.diffusion_text:DiffusionTextTokens", "generator", machine)
        contexts |= {_layer(block): self._seen(block, machine) for block in settings.blocks}
        for name, source in contexts.items():
            found += self._tokens(name, source, machine)
        return [*found, *self._latent(machine), self._drawn(contexts, machine)]

    def _seen(self, block, machine):
        """The target of a hidden layer."""
        seen = self.settings.seen
        return self.target(
            "stages.targets.clip_layers:CLIPLayer",
            "clip",
            machine,
            layer=block_name(block),
            resampling=seen.resampling,
            normalise=seen.normalise,
        )

    def _tokens(self, name, source, machine):
        """The steps from patterns to tokens, by a network and the prior that is trained with it."""
        settings, rough = self.settings, f"{name}_rough"
        # Of a tested stimulus the trials are averaged before, as in the scripts, and not what is made of each.
        part = f"{name}_network"
        learned = shared_network((rough, _retrieval(name)), source, settings.decoder, machine, part, averages=RESPONSES)
        return [learned, Refine(learned, prior_of, rough, name, source, settings.prior_evaluations, unit_token=False)]

    def _latent(self, machine):
        """The steps from patterns to the latent that denoising starts from."""
        settings = self.settings
        source = self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents",
            "autoencoder",
            machine,
            size=settings.picture_size,
            interpolation="bilinear",
        )
        places, own = None, settings.latent
        if own.teacher:
            sees = {"size": own.teacher_size, "std": own.teacher_std}
            places = self.target("stages.targets.place_features:PlaceFeatures", "teacher", machine, **sees)
        matched = settings.latent_statistics != AS_DECODED
        learned = blurry_latent(
            DECODED_LATENT if matched else LATENT,
            source,
            own,
            own.published_steps,
            machine,
            "latent",
            places,
            network="stages.networks.subjects_latent:SubjectsLatent",
        )
        if not matched:
            return [learned]
        return [learned, MatchMoments(learned, DECODED_LATENT, LATENT, settings.latent_statistics, "latent_statistics")]

    def _drawn(self, contexts, machine):
        """The step from what is decoded to a picture."""
        settings = self.settings

        def arguments():
            return {
                "clip": self.folder("clip"),
                "layers": {_layer(block): block_name(block) for block in settings.blocks},
                "normalise": settings.seen.normalise,
                "resampling": settings.seen.resampling,
                "settings": settings.guidance,
                "start": StartRule(noised_to=settings.noised_to),
            }

        return redraw(
            "stages.inverters.guided_diffusion:GuidedDiffusion",
            lambda: self.folder("generator"),
            settings.generator,
            machine,
            contexts,
            lambda present: {TEXT: settings.generator.text_weight if TEXT in present else 0.0},
            start=LATENT,
            arguments=arguments,
            needed=(),
        )


def _layer(block):
    """Name of the value of a block's hidden layer."""
    return f"clip_block_{block}"


def _retrieval(name):
    """Name of the tokens for retrieval beside those of a value."""
    return f"{name}_retrieval"
