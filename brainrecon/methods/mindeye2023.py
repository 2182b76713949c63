"""MindEye (Scotti et al., NeurIPS 2023): a residual MLP to CLIP tokens, a contrastive head, a diffusion prior, a blurry start.

A wide residual network makes rough CLIP tokens of a response. A projector makes of these the tokens for retrieval, trained by
contrast: mixed samples first, soft labels after. A prior that is trained with them turns rough tokens into likely ones, under
which Versatile Diffusion redraws a blurry picture, that a second network decodes through Stable Diffusion's autoencoder. Of
several such pictures the one is kept whose tokens are nearest to the retrieval tokens.

docs/mindeye2023.md says what the scripts do, which of their slips are the defaults here, and what is done otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.candidates import Candidates
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.network_settings import NetworkSettings
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.refine import Refine
from brainrecon.assembly.registry import system
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import System
from stages.ground.checks import Number, OneOf, check_all

ROUGH, RETRIEVAL, REFINED, LATENT = "clip_rough", "clip_retrieval", "clip_image", "sd_latent"
# What the latent's training is held against besides: a teacher's places, and those of changed pictures.
PLACES, CHANGED_PLACES = "places", "changed_places"
# Scale of Stable Diffusion's latents, by which the published loss divides.
_LATENT_SCALE = 0.18215
# Of the published training: 8,859 stimuli in batches of 32, and of 8.
_STEPS_PER_EPOCH, _LATENT_STEPS_PER_EPOCH = 276, 1107

_SIZES = {"hidden": Number(1, whole=True), "n_blocks": Number(0, whole=True)}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`."""

    clip: str = "clip-vit-l-14-quickgelu"
    generator: str = "versatile-diffusion"
    autoencoder: str = "sd-image-variations-autoencoder"
    teacher: str = "vicregl-convnext-xl"


@dataclass(frozen=True)
class TokenSettings(NetworkSettings):
    """How tokens, retrieval and the prior are trained, in one.

    Attributes
    ----------
    hidden, n_blocks : int
        Of the residual network.
    projected : int
        Values inside the projector.
    prior_depth, prior_heads, prior_head_width : int
    prior_weight : float
        Of the prior's error beside the contrast.
    mixed_share : float
        Of the epochs, in which samples are mixed; in the others labels are soft.
    own_partner : {"rest", "whole"}
        Label of a sample that is mixed with itself; "rest" is what the scripts do, "whole" what is meant.
    changes : {"published", "none"}
        Whether training is held to tokens of pictures that are cropped, mirrored and recoloured anew in every step.
    """

    hidden: int = 4096
    n_blocks: int = 4
    projected: int = 2048
    prior_depth: int = 6
    prior_heads: int = 12
    prior_head_width: int = 64
    prior_weight: float = 30.0
    mixed_share: float = 0.33
    own_partner: str = "rest"
    changes: str = "published"

    def __post_init__(self):
        super().__post_init__()
        check_all(self, _SIZES | {"changes": OneOf("published", "none")})


@dataclass(frozen=True)
class LatentSettings(NetworkSettings):
    """How the blurry latent is trained.

    Attributes
    ----------
    hidden, n_blocks : int
        Of the residual network.
    map_channels : int
    channels : tuple of int
        See `stages.networks.voxel_mlp.BlurryLatent`.
    trials : str
        By default mixtures of the trials of each stimulus.
    teacher : bool
        Whether places of the small map are held against a teacher's.
    teacher_weight, teacher_temperature : float
        Of that contrast.
    teacher_size : int
        Side in pixels of the pictures that the teacher sees: 32 for each place of a side of the map.
    teacher_std : {"published", "ImageNet"}
        By what the teacher's pictures are divided; the scripts have a digit wrong.
    """

    epochs: int = 120
    batch_size: int = 8
    learning_rate: float = 5e-4
    seed: int = 0
    hidden: int = 4096
    n_blocks: int = 4
    map_channels: int = 64
    channels: tuple[int, ...] = (64, 128, 256)
    trials: str = "mixed"
    teacher: bool = True
    teacher_weight: float = 0.1
    teacher_temperature: float = 0.075
    teacher_size: int = 512
    teacher_std: str = "published"

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "teacher_weight": Number(0),
            "teacher_temperature": Number(0, above=True, example=0.075),
            "teacher_size": Number(32, whole=True, example=512),
            "teacher_std": OneOf("published", "ImageNet"),
        }
        check_all(self, _SIZES | rules)


@dataclass(frozen=True)
class MindEye2023Settings:
    """All settings of the method.

    Attributes
    ----------
    decoder : TokenSettings
    latent : LatentSettings
    blurry : bool
        Whether drawing starts from a decoded blurry picture; else from noise.
    latent_size : int, optional
        Side in pixels of the pictures whose latents are decoded; that of the autoencoder's configuration, if it is not given.
    prior_evaluations : int, optional
        Of the prior's network in sampling; 100, one for every step, if it is not given.
    candidates : int
        Pictures of which the best is kept. The scripts draw one unless they are told otherwise, the tables are of 16.
    start_pixels : {"for CLIP", "as they are"}
        The scripts encode the blurry picture after CLIP's normalisation.
    unconditional : {"zeros", "stored"}
        What guidance's unconditional half reads: zeros, as published, or what is stored with the checkpoint.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: TokenSettings = field(default_factory=TokenSettings)
    latent: LatentSettings = field(default_factory=LatentSettings)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=0.85,
            num_inference_steps=20,
            guidance_scale=3.5,
            image_weight=1.0,
            text_weight=0.0,
            scheduler="unipc",
        )
    )
    blurry: bool = True
    latent_size: int | None = None
    prior_evaluations: int | None = None
    candidates: int = 16
    start_pixels: str = "for CLIP"
    unconditional: str = "zeros"

    def __post_init__(self):
        rules = {
            "candidates": Number(1, whole=True),
            "start_pixels": OneOf("for CLIP", "as they are"),
            "unconditional": OneOf("zeros", "stored"),
        }
        check_all(self, rules)


@system
class MindEye2023(System):
    """The method of one subject at its published settings."""

    name = "mindeye2023"
    explanation = (
        "the full method: a decoded blurry picture, redrawn under refined CLIP tokens, the best of the candidates"
    )
    citation = (
        "Scotti, P. S. et al. (2023). Reconstructing the mind's eye: fMRI-to-image with contrastive learning and diffusion "
        "priors. NeurIPS 36."
    )
    settings_class = MindEye2023Settings
    protocol = "mindeye-2023"
    image_embedding = RETRIEVAL
    # Published scores of retrieval are the projector's, not those of the prior's samples.
    compared_by = {REFINED: RETRIEVAL}
    of_drawing = (*System.of_drawing, "candidates", "prior_evaluations", "start_pixels", "unconditional")
    tiny = {
        "checkpoints": {"clip": "tiny-clip", "generator": "tiny-generator", "autoencoder": "tiny-generator"},
        "candidates": 2,
        "prior_evaluations": 20,
        "start_pixels": "as they are",
        "unconditional": "stored",
        "decoder": {
            "epochs": 60,
            "hidden": 512,
            "n_blocks": 2,
            "projected": 256,
            "prior_depth": 2,
            "prior_heads": 4,
            "prior_head_width": 32,
            "learning_rate": 1e-3,
            # Where a thing is and what colour it has is much of what a drawn picture means, and its captions say both: tokens
            # of mirrored or recoloured pictures would teach other things than were seen.
            "changes": "none",
        },
        "latent": {
            "epochs": 40,
            "batch_size": 32,
            "hidden": 256,
            "n_blocks": 2,
            "map_channels": 32,
            "channels": (32, 32, 64),
            "learning_rate": 1e-3,
            # It has no embedded twin.
            "teacher": False,
        },
    }

    @property
    def _roles(self):
        roles, settings = super()._roles, self.settings
        # What nothing is held against is not fetched.
        if settings.blurry and settings.latent.teacher:
            return roles
        return {role: name for role, name in roles.items() if role != "teacher"}

    def settled(self, train):
        settings = self.settings
        latent = settings.latent.settled(train) if settings.blurry else settings.latent
        return replace(settings, decoder=settings.decoder.settled(train), latent=latent)

    def steps(self, machine):
        settings = self.settings
        tokens = self.target("stages.targets.clip:CLIPImageTokens", "clip", machine)
        learned = Learn(
            {ROUGH: tokens, RETRIEVAL: tokens},
            self._tokens_decoder(machine),
            machine.device,
            settings.decoder.trials,
            part="tokens",
            changing=self._token_changes(),
            released=_released(_with_checked_noise, "voxel2clip.lin0.0.weight"),
        )
        steps = [learned, *(self._blurry(machine) if settings.blurry else ())]
        refine = Refine(learned, _prior_of, ROUGH, REFINED, tokens, settings.prior_evaluations)
        draw = redraw(
            "stages.generators.diffusion.dual_context:DualContextGenerator",
            lambda: self.folder("generator"),
            settings.generator,
            machine,
            {REFINED: tokens},
            lambda present: {"clip_image": settings.generator.image_weight, "clip_text": 0.0},
            start="first_picture" if settings.blurry else None,
            arguments=self._arguments,
        )
        if settings.candidates == 1:
            return [*steps, refine, draw]
        return [*steps, Candidates([refine, draw], settings.candidates, tokens, RETRIEVAL)]

    def _tokens_decoder(self, machine):
        from stages.decoders.trained import TrainedDecoder
        from stages.networks.mindeye import MindEyeTokens
        from stages.objectives.prior_error import PriorError
        from stages.objectives.retrieval import MixedThenSoft

        own = self.settings.decoder
        contrast = MixedThenSoft(
            RETRIEVAL,
            own.epochs,
            own.steps_per_epoch or _STEPS_PER_EPOCH,
            mixed_share=own.mixed_share,
            own_partner=own.own_partner,
        )
        sizes = ("hidden", "n_blocks", "projected", "prior_depth", "prior_heads", "prior_head_width")
        return TrainedDecoder(
            MindEyeTokens,
            own.recipe(_STEPS_PER_EPOCH),
            lambda network: [contrast, PriorError(ROUGH, _prior_of(network), own.prior_weight)],
            {name: getattr(own, name) for name in sizes},
            machine.device,
        )

    def _token_changes(self):
        """How pictures are changed before CLIP sees them in training, by value."""
        from stages.training.picture_changes import PictureChanges

        own = self.settings.decoder
        # Both values are held to one target: to the same pictures, which are encoded once.
        changes = PictureChanges(seed=own.seed)
        return {} if own.changes == "none" else {ROUGH: changes, RETRIEVAL: changes}

    def _blurry(self, machine):
        """The steps from patterns to a blurry picture."""
        from stages.checkpoints.attention_names import with_todays_attention_names
        from stages.decoders.trained import TrainedDecoder
        from stages.networks.mindeye import MindEyeLatent
        from stages.objectives.regression import MeanAbsoluteError
        from stages.objectives.teacher import PlacesOfTeacher

        own = self.settings.latent
        latent = self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents",
            "autoencoder",
            machine,
            size=self.settings.latent_size,
            interpolation="bilinear",
        )
        recipe, objectives = own.recipe(_LATENT_STEPS_PER_EPOCH), [MeanAbsoluteError(LATENT, 1 / _LATENT_SCALE)]
        if own.teacher:
            contrast = PlacesOfTeacher(PLACES, CHANGED_PLACES, own.teacher_temperature, own.teacher_weight)
            objectives.append(contrast)
        else:
            # Several processes wait for the gradients of all that is trained.
            recipe = replace(recipe, trains=(r"(?!.*maps_projector).*",))
        taught = self._teacher(machine) if own.teacher else {}
        decoder = TrainedDecoder(
            MindEyeLatent,
            recipe,
            objectives,
            {name: getattr(own, name) for name in ("hidden", "n_blocks", "map_channels", "channels")},
            machine.device,
        )
        released = _released(with_todays_attention_names, "lin0.0.weight")
        return [
            Learn({LATENT: latent}, decoder, machine.device, own.trials, part="latent", released=released, **taught),
            Show(LATENT, latent),
        ]

    def _teacher(self, machine):
        """What the latent is held against besides: places as a teacher sees them, in pictures as they are and changed."""
        from stages.training.picture_changes import PictureChanges

        own = self.settings.latent
        places = self.target(
            "stages.targets.place_features:PlaceFeatures",
            "teacher",
            machine,
            size=own.teacher_size,
            std=own.teacher_std,
        )
        places = replace(places, dtype=own.features)
        changes = PictureChanges(
            size=own.teacher_size,
            scale=(0.5, 1.0),
            cropped=1.0,
            mirrored=0.0,
            jittered=0.8,
            grey=0.2,
            solarised=0.2,
            blurred=0.1,
            crop_last=True,
            seed=own.seed,
        )
        return {"beside": {PLACES: places, CHANGED_PLACES: places}, "changing": {CHANGED_PLACES: changes}}

    def _arguments(self):
        from stages.generators.diffusion.start import StartRule

        start = StartRule(posterior="sample", pixels=self.settings.start_pixels)
        return {"start": start, "unconditional": self.settings.unconditional}


def _released(tensors, voxels):
    """How a file of the authors is read; `tensors` gives those of the network."""
    from stages.decoders.released import Released

    return Released(voxels, tensors)


def _with_checked_noise(tensors):
    """Tensors of the authors' first file without the tables of its noise process, which have to be ours."""
    from stages.priors.noise_process import NoiseProcess
    from stages.priors.published_noise import without_noise_tables

    return without_noise_tables(tensors, NoiseProcess())


def _prior_of(network):
    """The diffusion prior over the tokens of a network."""
    from stages.priors.diffusion import DiffusionPrior

    return DiffusionPrior(network.net)
