"""MindDiffuser (Lu and others, ACM MM 2023): Stable Diffusion from decoded latent and text, then a search by decoded CLIP layers.

Three things are decoded: Stable Diffusion's text context c (15 tokens, averaged over the captions), the latent z of the picture,
and what CLIP ViT-B/32 has inside (six hidden layers and the embedding). Stage one draws image to image from z under c. Stage two
changes z, by Adam and through the whole diffusion, until what CLIP sees in the picture comes near to what was decoded.

The published script does not run: some of its names are nowhere defined. What they stand for is a setting here, with a note, and
docs/systems/minddiffuser2023.md lists it beside the slips.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.decode_scored_units import INPUTS, DecodeScoredUnits, ScoringSettings
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.linear_decoding import DecodingByBlocks
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from brainrecon.assembly.unit_decoding import UnitDecoderSettings
from brainrecon.assembly.watched_blocks import Seen, check_blocks
from stages.decoders.unitwise.unit_models import RULES
from stages.generators.diffusion.acceleration import Acceleration
from stages.generators.diffusion.start_rule import StartRule
from stages.ground.checks import OneOf, check
from stages.inverters.diffusion_search_settings import DiffusionSearchSettings
from stages.targets.clip_names import EMBEDDING, block_name

LATENT, TEXT, IMAGE = "first_latent", "clip_text", "clip_image"


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`; `clip` is what looks at pictures."""

    generator: str = "stable-diffusion-1-4"
    clip: str = "clip-vit-b-32-openai"


@dataclass(frozen=True)
class MindDiffuser2023Settings:
    """All settings of the method.

    Attributes
    ----------
    decoder : UnitDecoderSettings
        How all targets are decoded; its voxels are those of each unit of CLIP's layers.
    latent_voxels, text_voxels : int or "all"
        Those of each value of the latent and of the text context. The script that draws reads decoders of 4,000 and 125, and does
        not define how many voxels those of the layers have.
    scoring : brainrecon.assembly.decode_scored_units.ScoringSettings
        How units of CLIP's layers are scored; ``search.rate`` says how many are left out.
    generator : GeneratorSettings
        Of both stages: 35 of 50 steps.
    search : DiffusionSearchSettings
    seen : brainrecon.assembly.watched_blocks.Seen
        ``resampling`` is of target pictures; that of pictures of the search is ``search.resampling``. The scripts take "bilinear"
        here and "bicubic" there.
    blocks : tuple of int
        Of CLIP's image tower, whose hidden layers are decoded.
    picture_size : int
        Side in pixels of the pictures whose latents and layers are decoded.
    latent_posterior : {"sample", "mean"}
        What of the autoencoder's posterior the decoded latents are.
    latent_seed : int
        Of the samples.
    text_length : int
        Tokens of a caption; longer ones are cut.
    noised_to : {"first step", "step before", "three steps before"}
        Noise the latent to the timestep that is denoised first. The script goes three steps further.
    inputs : {"training", "transductive"}
        What test responses are standardised by: statistics of the training responses, or, as in the scripts, their own.
    text_context : bool
        Decode the text context too; off if a dataset has no captions.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: UnitDecoderSettings = field(
        default_factory=lambda: UnitDecoderSettings(voxels=850, alpha=0.15, trials="averaged")
    )
    latent_voxels: int | str = 3000
    text_voxels: int | str = 450
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=0.7,
            guidance_scale=5.0,
            image_weight=0.0,
            text_weight=1.0,
            scheduler="ddim",
            # One at a time: what an interruption costs is a picture.
            acceleration=Acceleration(dtype="float32", batch_size=1),
        )
    )
    search: DiffusionSearchSettings = field(default_factory=DiffusionSearchSettings)
    seen: Seen = field(default_factory=Seen)
    blocks: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    picture_size: int = 512
    latent_posterior: str = "sample"
    latent_seed: int = 42
    text_length: int = 15
    noised_to: str = "first step"
    inputs: str = "training"
    text_context: bool = True

    def __post_init__(self):
        for name in ("latent_voxels", "text_voxels"):
            check(name, getattr(self, name), RULES["voxels"], typed="--set {name}={example}")
        check("inputs", self.inputs, OneOf(*INPUTS), typed="--set {name}={example}")
        check_blocks(self.blocks, self.search.multipliers, "search")
        self.start()

    def start(self) -> StartRule:
        """How denoising starts from a latent; refuses what is not known."""
        return StartRule(noised_to=self.noised_to)


@system
class MindDiffuser2023(System):
    """Stable Diffusion from a decoded latent, which is then changed until decoded CLIP features are met."""

    name = "minddiffuser2023"
    explanation = (
        "the full method: image to image from a decoded latent under decoded text, then a search by decoded CLIP layers"
    )
    citation = (
        "Lu, Y., Du, C., Zhou, Q., Wang, D. & He, H. (2023). MindDiffuser: controlled image reconstruction from human brain "
        "activity with semantic and structural diffusion. ACM MM 2023, 5899-5908."
    )
    settings_class = MindDiffuser2023Settings
    evidence = Evidence(
        "gradient equals finite differences, search, loss and layers their formulas written out, on random weights; the "
        "published script does not run as it is; published weights not read",
        ("simulated NSD",),
    )
    image_embedding = IMAGE
    without_captions = {"text_context": False}
    of_drawing = ("generator", "checkpoints.generator", "search", "noised_to")
    tiny = {
        "checkpoints": {"generator": "tiny-stable-diffusion", "clip": "tiny-clip"},
        # 1,200 training pictures leave next to nothing of what so small a penalty and so many voxels fit.
        "decoder": {"alpha": 1000.0, "voxels": "all"},
        "latent_voxels": 100,
        "text_voxels": "all",
        "blocks": [1, 2, 3, 4],
        "picture_size": 64,
        "generator": {"guidance_scale": 3.5, "num_inference_steps": 10},
        "search": {"iterations": 15, "learning_rate": 0.1, "multipliers": [1.5, 1.2, 1.0, 1.0]},
        "seen": {"normalise": "own"},
    }

    @property
    def fitted_through(self):
        # Each picture is the one whose features fit best.
        return (self.settings.checkpoints.clip,)

    def steps(self, machine):
        settings, latent = self.settings, self._latent(machine)
        layers = {f"clip_block_{block}": block_name(block) for block in settings.blocks} | {IMAGE: EMBEDDING}
        looked_at = {value: self._layer(layer, machine) for value, layer in layers.items()}
        scored = tuple(value for value, layer in layers.items() if layer != EMBEDDING)
        contexts = {}
        if settings.text_context:
            contexts[TEXT] = self.target(
                "stages.targets.diffusion_text:DiffusionTextTokens", "generator", machine, length=settings.text_length
            )
        steps = [self._decode({LATENT: latent}, "latent", machine, settings.latent_voxels)]
        steps += [self._decode(contexts, "text", machine, settings.text_voxels)] if contexts else []
        looking = self._decode(looked_at, "layers", machine, settings.decoder.voxels, scored)
        found = self._stage_two(contexts, looked_at, layers, looking, machine)
        return [*steps, looking, self._stage_one(contexts, machine), found]

    def _latent(self, machine):
        settings = self.settings
        return self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents",
            "generator",
            machine,
            size=settings.picture_size,
            posterior=settings.latent_posterior,
            sample_seed=settings.latent_seed,
            interpolation="bicubic",
        )

    def _layer(self, layer, machine):
        settings = self.settings
        return self.target(
            "stages.targets.clip_layers:CLIPLayer",
            "clip",
            machine,
            layer=layer,
            size=settings.picture_size,
            resampling=settings.seen.resampling,
            normalise=settings.seen.normalise,
        )

    def _stage_one(self, contexts, machine):
        """The picture that the search begins with."""
        return self._redrawn(
            "stages.generators.diffusion.stable_diffusion:StableDiffusionGenerator",
            contexts,
            machine,
            needed=(),
            gives="first_picture",
        )

    def _stage_two(self, contexts, looked_at, layers, looking, machine):
        """The picture that is found; which units count follows from the scores that the decoding step has learned."""
        settings = self.settings

        def masks():
            from stages.decoders.unit_scores import kept_units

            return {value: kept_units(scores, settings.search.rate) for value, scores in looking.scores.items()}

        def arguments():
            return {
                "clip": self.folder("clip"),
                "layers": layers,
                "normalise": settings.seen.normalise,
                "masks": masks(),
                "settings": settings.search,
            }

        return self._redrawn(
            "stages.inverters.diffusion_search:DiffusionSearch",
            contexts | looked_at,
            machine,
            arguments,
            needed=tuple(looked_at),
        )

    def _redrawn(self, generator, contexts, machine, arguments=dict, **options):
        settings = self.settings
        return redraw(
            generator,
            lambda: self.folder("generator"),
            settings.generator,
            machine,
            contexts,
            lambda present: {TEXT: settings.generator.text_weight if TEXT in present else 0.0},
            start=LATENT,
            arguments=lambda: {"start": settings.start(), "text_length": settings.text_length, **arguments()},
            **options,
        )

    def _decode(self, targets, place, machine, voxels, scored=()):
        regression = replace(self.settings.decoder, voxels=voxels)
        return DecodeScoredUnits(
            targets,
            regression.of_the_step(),
            machine,
            place,
            decoding=DecodingByBlocks(regression.decoder(machine)),
            scored=scored,
            scoring=self.settings.scoring,
            inputs=self.settings.inputs,
        )
