"""Neuro-Vis (Balisacan & Paulo, 2024), as far as its title tells: several semantic and several perceptual controls at once.

Only the title was found. It is read in the most economical way: a ridge regression for each control, and a diffusion model that
heeds all of them. Text and image embedding say what is there; nearness, coarse colours and a latent to start from say where. All
numbers are guessed; the page docs/systems/neurovis2024.md marks each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.match_quantiles import MatchQuantiles
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource, part
from stages.ground.checks import Number, OneOf, check_all

TEXT, IMAGE, DEPTH, COLOURS, LAYOUT = "clip_text", "clip_image", "depth", "colour_map", "first_latent"
MAPS = (DEPTH, COLOURS)
SEMANTIC = (TEXT, IMAGE)
_REGIONS = {"semantic": "ventral", "perceptual": "early"}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`.

    Attributes
    ----------
    clip, adapter : str
        Of the image embedding: the model that the IP-Adapter was trained with, and that one; empty for none.
    depth : str
        The network that sees how near things are; empty for the stand-in of drawn scenes.
    depth_control, colour_adapter : str
        What the maps enter by.
    """

    generator: str = "stable-diffusion-1-5"
    clip: str = "clip-vit-h-14-laion2b"
    adapter: str = "ip-adapter-sd15"
    depth: str = "dpt-large"
    depth_control: str = "sd-controlnet-depth"
    colour_adapter: str = "t2iadapter-color-sd14v1"


@dataclass(frozen=True)
class NeuroVisSettings:
    """All settings of the method.

    Attributes
    ----------
    decoder : DecoderSettings
        Of every control by itself.
    semantic_roi, perceptual_roi : str
        Voxels that text and image, and nearness, colours and layout are decoded from. "auto" is "ventral" and "early" if the
        subject has these regions, and all voxels otherwise.
    text_context : bool
        Decode the text too; off if a dataset has no captions.
    matching : bool
        Whether decoded maps are given the distribution of true ones.
    depth_side, colour_side, layout_size : int
        Places along a side of both maps, and the side in pixels of the picture whose latent is decoded.
    depth_scale, colour_scale : float
        Of what control net and adapter add; 0 leaves one out. `generator` has the image's and the text's as weights.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=0.8, guidance_scale=7.5, image_weight=0.6, text_weight=1.0, scheduler="ddim"
        )
    )
    semantic_roi: str = "auto"
    perceptual_roi: str = "auto"
    text_context: bool = True
    matching: bool = True
    depth_side: int = 64
    colour_side: int = 8
    layout_size: int = 512
    depth_scale: float = 0.5
    colour_scale: float = 0.5

    def __post_init__(self):
        side, scale = Number(1, whole=True), Number(float("-inf"), example=0.5)
        rules = dict.fromkeys(("depth_side", "colour_side", "layout_size"), side)
        rules |= dict.fromkeys(("depth_scale", "colour_scale"), scale)
        check_all(self, rules | dict.fromkeys(("matching", "text_context"), OneOf(True, False)))


@system
class NeuroVis2024(System):
    """Text, image, nearness, colours and layout, each decoded by ridge, steer one diffusion model."""

    name = "neurovis2024"
    explanation = (
        "a reimplementation of a title: latent diffusion under a decoded text, image, depth, colours and layout"
    )
    citation = (
        "Balisacan, R. & Paulo, J. (2024). Neuro-Vis: Guided complex image reconstruction from brain signals using multiple "
        "semantic and perceptual controls. ICMLC 2024 (from memory; a survey says ICML)."
    )
    settings_class = NeuroVisSettings
    evidence = Evidence(
        "only the title was found, so that every part and number is a guess; control nets and an adapter equal diffusers' "
        "own pipelines on random weights",
        ("simulated NSD",),
    )
    image_embedding = LAYOUT
    without_captions = {"text_context": False}
    of_drawing = (
        "generator",
        "depth_scale",
        "colour_scale",
        *(f"checkpoints.{one}" for one in ("depth_control", "colour_adapter", "adapter")),
    )
    tiny = {
        "checkpoints": {
            **{
                "generator": "tiny-stable-diffusion",
                "depth_control": "tiny-control",
                "colour_adapter": "tiny-colour-adapter",
            },
            # No embedded network reads image prompts, or depth.
            **dict.fromkeys(("clip", "adapter", "depth"), ""),
        },
        "depth_side": 16,
        "layout_size": 64,
        "generator": {"guidance_scale": 3.5},
    }

    def settled_by(self, subject):
        settings = self.settings
        for kind, region in _REGIONS.items():
            if getattr(settings, f"{kind}_roi") == "auto":
                settings = replace(settings, **{f"{kind}_roi": region if region in subject.rois else "all"})
        return settings

    @property
    def notes(self):
        return (
            "Only the title of Neuro-Vis was found: all parts and numbers of this method are guesses, and "
            "docs/systems/neurovis2024.md lists them; no published figure can be compared with its scores.",
        )

    @property
    def _has_image(self):
        """Whether an image embedding is decoded."""
        return {"clip", "adapter"} <= set(self._roles)

    def steps(self, machine):
        settings, targets = self.settings, self._targets(machine)
        steps, called = [], {}
        for name, target in targets.items():
            roi = settings.semantic_roi if name in SEMANTIC else settings.perceptual_roi
            # One of several, so that each has penalties of its own, and can be left out alone.
            decode = Decode({name: target}, settings.decoder, machine, name, roi="all" if roi == "auto" else roi)
            steps.append(decode)
            if settings.matching and name in MAPS:
                matched = f"matched_{name}"
                steps.append(MatchQuantiles(decode, name, matched, machine, matched))
                called[matched] = name
        contexts = {name: target for name, target in targets.items() if name not in (*called.values(), LAYOUT)}
        contexts |= {matched: targets[name] for matched, name in called.items()}
        return [*steps, self._drawn(contexts, called, machine)]

    def _targets(self, machine):
        """What is decoded, by name."""
        settings, found = self.settings, {}
        if settings.text_context:
            found[TEXT] = self.target("stages.targets.diffusion_text:DiffusionTextTokens", "generator", machine)
        if self._has_image:
            found[IMAGE] = self.target("stages.targets.clip:CLIPImageVector", "clip", machine)
        if "depth" in self._roles:
            found[DEPTH] = self.target("stages.targets.depth_map:DepthMap", "depth", machine, side=settings.depth_side)
        else:
            found[DEPTH] = _without_network("stages.targets.depth_map:DrawnDepthMap", settings.depth_side)
        found[COLOURS] = _without_network("stages.targets.colour_map:ColourMap", settings.colour_side)
        found[LAYOUT] = self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents", "generator", machine, size=settings.layout_size
        )
        return found

    def _drawn(self, contexts, called, machine):
        """The last step, under all that was decoded."""
        own = self.settings
        scales = {
            **{TEXT: own.generator.text_weight, DEPTH: own.depth_scale, COLOURS: own.colour_scale},
            **({IMAGE: own.generator.image_weight} if self._has_image else {}),
        }

        def weights(present):
            there = {called.get(name, name) for name in present}
            return {name: scale if name in there else 0.0 for name, scale in scales.items()}

        generator = (
            "ip_adapter:StableDiffusionIPAdapterGenerator"
            if self._has_image
            else "stable_diffusion:StableDiffusionGenerator"
        )
        return redraw(
            f"stages.generators.diffusion.{generator}",
            lambda: self.folder("generator"),
            own.generator,
            machine,
            contexts,
            weights,
            start=LAYOUT,
            arguments=self._arguments,
            called=called,
        )

    def _arguments(self):
        from stages.generators.diffusion.control_maps import Control

        own = self.settings
        depth, colours = (own.depth_side, own.depth_side), (own.colour_side, own.colour_side, 3)
        return {
            "controls": [Control(DEPTH, self.folder("depth_control"), depth)],
            "adapters": [Control(COLOURS, self.folder("colour_adapter"), colours, enlarged="nearest")],
            **({"ip_adapter": self.folder("adapter")} if self._has_image else {}),
        }


def _without_network(place, side):
    """A target that is a formula."""
    return TargetSource(lambda: part(place)(side), checkpoints=(), identity=lambda: f"{place}, no network")
