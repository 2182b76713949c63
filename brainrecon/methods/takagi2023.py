"""Takagi & Nishimoto (CVPR 2023): ridge to Stable Diffusion's latent from early and to its text context from ventral cortex.

The latent z of the picture at 320 pixels is decoded from early visual cortex, and the text context c, averaged over the
captions, from ventral cortex. z is decoded to a small 8-bit picture, which is enlarged, encoded again, noised to 80 % and
denoised under c.

Defaults are what the published scripts do, their slips included; each slip is a setting. Departures, each for a reason: noise
is seeded per stimulus and sample instead of once per process, and a target's posterior sample by its picture, so that neither
depends on what is done before. Each sample therefore encodes the small picture anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.linear_decoding import DecodingByBlocks
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.registry import system
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import System
from brainrecon.assembly.values import Machine
from stages.decoders.ridge.kfold_ridge import ALPHAS, RULES, KFoldRidgeDecoder
from stages.generators.diffusion.start_rule import StartRule
from stages.ground.checks import check_all

# Of Stable Diffusion's latent and of its text context, as the paper has them.
LATENT, TEXT = "sd_latent", "clip_text"


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`."""

    generator: str = "stable-diffusion-1-4"


@dataclass(frozen=True)
class Regression:
    """How both targets are decoded.

    Attributes
    ----------
    alpha, folds, folds_of, intercept
        As `stages.decoders.ridge.kfold_ridge.KFoldRidgeDecoder` takes them.
    trials : {"single", "averaged"}
        Train on every trial by itself, or on patterns, each the average of a stimulus's trials.
    features : {"float32", "float16"}
        How the feature store holds the targets.
    """

    alpha: tuple[float, ...] | float = ALPHAS
    folds: int = 5
    folds_of: str = "trials"
    intercept: bool = False
    trials: str = "single"
    features: str = "float32"

    def __post_init__(self):
        # Refused now rather than after hours of encoding.
        check_all(self, RULES)
        self.of_the_step()

    def of_the_step(self) -> DecoderSettings:
        """What of it the decoding step reads."""
        return DecoderSettings(trials=self.trials, features=self.features, rescale="none", held_out="none")

    def decoder(self, machine: Machine) -> KFoldRidgeDecoder:
        """The decoder of one target, not yet fitted."""
        return KFoldRidgeDecoder(
            alphas=self.alpha,
            folds=self.folds,
            folds_of=self.folds_of,
            intercept=self.intercept,
            memory=machine.memory,
            device=machine.device,
        )


@dataclass(frozen=True)
class RedrawnLatentSettings:
    """Of a latent that is decoded, and redrawn.

    Attributes
    ----------
    latent_size : int
        Side in pixels of the pictures whose latents are decoded.
    latent_posterior : {"sample", "mean"}
        What of the autoencoder's posterior the decoded latents are.
    latent_seed : int
        Of the samples.
    latent_greys : {"cut off", "rounded"}
        How the small decoded picture becomes 8 bit.
    start_posterior : {"sample", "mode"}
        What of the posterior denoising starts from.
    noised_to : {"step before", "first step"}
        Noise the start to the timestep before the one that is denoised first (noisier than it expects), or to that one.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: Regression = field(default_factory=Regression)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=0.8, guidance_scale=5.0, image_weight=0.0, text_weight=1.0, scheduler="ddim", greys="cut off"
        )
    )
    latent_size: int = 320
    latent_posterior: str = "sample"
    latent_seed: int = 42
    latent_greys: str = "cut off"
    start_posterior: str = "sample"
    noised_to: str = "step before"

    def __post_init__(self):
        self.start()

    def start(self) -> StartRule:
        """How denoising starts from the small picture; refuses what is not known."""
        return StartRule(posterior=self.start_posterior, noised_to=self.noised_to)


@dataclass(frozen=True)
class Takagi2023Settings(RedrawnLatentSettings):
    """All settings of the method: those of a redrawn latent, and these.

    Attributes
    ----------
    latent_roi, text_roi : str
        Voxels that each target is decoded from, of those that the subject was loaded with.
    text_context : bool
        Decode the text context too; off if a dataset has no captions.
    """

    latent_roi: str = "early"
    text_roi: str = "ventral"
    text_context: bool = True


class RedrawnLatent(System):
    """A decoded latent that is shown as a small picture, and that picture redrawn under a text context."""

    def latent(self, machine):
        """The target that is shown as a small picture."""
        settings = self.settings
        return self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents",
            "generator",
            machine,
            size=settings.latent_size,
            posterior=settings.latent_posterior,
            sample_seed=settings.latent_seed,
            greys=settings.latent_greys,
        )

    def _drawn(self, latent, contexts, machine):
        """The last steps: the small picture, and that redrawn under the contexts."""
        return [Show(LATENT, latent), self._redrawn(contexts, machine)]

    def _redrawn(self, contexts, machine):
        """The last step: a first picture, redrawn under the contexts."""
        settings = self.settings
        return redraw(
            "stages.generators.diffusion.stable_diffusion:StableDiffusionGenerator",
            lambda: self.folder("generator"),
            settings.generator,
            machine,
            contexts,
            lambda present: {TEXT: settings.generator.text_weight if TEXT in present else 0.0},
            arguments=lambda: {"start": settings.start()},
            needed=(),
        )


@system
class Takagi2023(RedrawnLatent):
    """The method as its scripts run it, with the published checkpoint."""

    name = "takagi2023"
    explanation = "the full method: decoded latent as a small picture, redrawn under the decoded text context"
    citation = (
        "Takagi, Y. & Nishimoto, S. (2023). High-resolution image reconstruction with latent diffusion models from human brain "
        "activity. CVPR 2023, 14453-14463."
    )
    settings_class = Takagi2023Settings
    evidence = Evidence(
        "regression equals scikit-learn, drawing equals the published order of operations on random "
        "weights; published weights not read",
        ("simulated NSD",),
        ("Takagi and Nishimoto",),
    )
    protocol = "takagi-2023"
    image_embedding = LATENT
    without_captions = {"text_context": False}
    tiny = {
        "checkpoints": {"generator": "tiny-stable-diffusion"},
        # Of 64 what 320 is of 512.
        "latent_size": 40,
        # As the embedded network was trained and measured: the mean is a third of what its contexts hold.
        "decoder": {"alpha": [100.0, 300.0, 1000.0, 3000.0, 10_000.0], "intercept": True},
        "generator": {"guidance_scale": 3.5},
    }

    def steps(self, machine):
        settings, latent = self.settings, self.latent(machine)
        contexts = {}
        if settings.text_context:
            contexts[TEXT] = self.target("stages.targets.diffusion_text:DiffusionTextTokens", "generator", machine)
        regions = {LATENT: (latent, settings.latent_roi, "latent")}
        regions |= {name: (text, settings.text_roi, "text") for name, text in contexts.items()}
        steps = [
            self._decode({name: target}, roi, place, machine, settings.decoder)
            for name, (target, roi, place) in regions.items()
        ]
        return [*steps, *self._drawn(latent, contexts, machine)]

    def _decode(self, targets, roi, place, machine, regression):
        """The step that decodes targets from a region, each column by itself."""
        decoding = DecodingByBlocks(regression.decoder(machine))
        return Decode(targets, regression.of_the_step(), machine, place, roi=roi, decoding=decoding)
