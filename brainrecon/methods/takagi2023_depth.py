"""Takagi & Nishimoto's technical report (arXiv 2306.11536), its third part: a decoded depth map beside start and caption.

Four levels of hidden states of a network of depth are decoded from six regions, and its own second half reads the depth from
them. Stable Diffusion 2 draws under that depth and the decoded caption, from the picture of `brainrecon.methods.takagi2023_gan`.

Defaults are what the scripts do, slips included, but for what is told there. As published, strength 1 does 49 of 50 steps from
the start, the first picture is encoded anew for each sample, and the generator computes in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.registry import system
from brainrecon.methods.takagi2023 import TEXT, Regression
from brainrecon.methods.takagi2023_gan import PENALTIES, Takagi2023GAN, Takagi2023GANSettings
from stages.generators.diffusion.acceleration import Acceleration
from stages.generators.diffusion.start_rule import StartRule

LEVELS = ("dpt_0", "dpt_1", "dpt_2", "dpt_3")


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`: those of `takagi2023_gan`, and `depth`, which the levels are of."""

    generator: str = "stable-diffusion-2-depth"
    captioner: str = "blip-base-capfilt"
    tokenizer: str = "bert-base-uncased-tokenizer"
    features: str = "vgg19-caffe"
    pictures: str = "deepsim-fc7"
    depth: str = "dpt-large"


@dataclass(frozen=True)
class Takagi2023DepthSettings(Takagi2023GANSettings):
    """All settings of the method: those of `takagi2023-gan`, and these.

    Attributes
    ----------
    levels : Regression
        How the levels of hidden states are decoded.
    levels_roi : str
        Voxels that they are decoded from, of those that the subject was loaded with.
    strongest : {"all but one step", "noise"}
        What a strength of 1 does: all steps but one from the start, or noise in its place.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    generator: GeneratorSettings = field(
        default_factory=lambda: replace(Takagi2023GANSettings().generator, acceleration=Acceleration(dtype="float32"))
    )
    levels: Regression = field(default_factory=lambda: Regression(alpha=PENALTIES))
    levels_roi: str = Takagi2023GANSettings.layers_roi
    strongest: str = "all but one step"

    def start(self) -> StartRule:
        """How denoising starts from the picture that was found; refuses what is not known."""
        return StartRule(posterior=self.start_posterior, noised_to=self.noised_to, strongest=self.strongest)


@system
class Takagi2023Depth(Takagi2023GAN):
    """A picture with decoded features, a caption and a depth map, each decoded from the brain, with the published checkpoints."""

    name = "takagi2023-depth"
    explanation = (
        "the full method: a picture with decoded features, redrawn under a decoded caption and a decoded depth map"
    )
    settings_class = Takagi2023DepthSettings
    evidence = Evidence(
        "drawing equals the published order of operations, depth is what transformers' DPT reads from true states, regression "
        "scikit-learn's, on random weights; published weights not read",
        ("simulated NSD",),
    )
    # No embedded network draws under a depth map, or reads one.
    tiny = {}

    def _prepared(self, machine):
        settings = self.settings
        steps, contexts = super()._prepared(machine)
        levels = {
            name: self.target("stages.targets.dpt_states:DPTLevel", "depth", machine, level=level)
            for level, name in enumerate(LEVELS)
        }
        decode = self._decode(levels, settings.levels_roi, "depth", machine, settings.levels)
        return [*steps, decode], levels | contexts

    def _redrawn(self, contexts, machine):
        settings = self.settings
        return redraw(
            "stages.generators.diffusion.depth:DepthDiffusionGenerator",
            lambda: self.folder("generator"),
            settings.generator,
            machine,
            contexts,
            lambda present: {TEXT: settings.generator.text_weight if TEXT in present else 0.0},
            arguments=lambda: {"start": settings.start(), "dpt_folder": self.folder("depth")},
            needed=LEVELS,
        )
