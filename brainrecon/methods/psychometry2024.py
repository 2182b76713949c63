"""Psychometry (Quan et al., CVPR 2024), as far as abstract and figure tell it: one network for all, and a memory of each.

Regions of the brain are the tokens of a transformer that all subjects share; experts in every block are weighed by parameters of
the subject's own. It predicts CLIP's embeddings of the picture and of its caption. Each then recalls, from a memory of the
subject's own training stimuli, what was seen where alike was predicted, and both lead a diffusion model.

No code and no numbers were found: docs/systems/psychometry2024.md marks every setting with what it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from brainrecon.assembly.candidates import Candidates
from brainrecon.assembly.category_matching import check_regions
from brainrecon.assembly.dual_context import DualContextSettings, dual_context
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.recall import AS_DECODED, OF_TRAINING, Recall
from brainrecon.assembly.region_experts import LeftOut, RegionExpertsSettings, region_experts
from brainrecon.assembly.registry import system
from brainrecon.assembly.together_system import TogetherSystem
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

IMAGE, TEXT = "clip_image", "clip_text"
# As the network predicts them, before anything is recalled.
DECODED = {"clip_image_decoded": IMAGE, "clip_text_decoded": TEXT}
IMAGE_DECODED, TEXT_DECODED = DECODED
# Of nsdgeneral, in the order in which voxels are given away.
REGIONS = (
    *("V1", "V2", "V3", "hV4"),
    *("floc-faces", "floc-words", "floc-places", "floc-bodies"),
    *("ventral + midventral", "lateral + midlateral", "parietal + midparietal"),
)
# Settings that follow from the data, or change rounding, room or time alone; and what the figure shows.
_NO_GUESS = (
    "steps_per_epoch",
    "subjects",
    "accumulate",
    "features",
    "precision",
    "seed",
    "acceleration",
    "text_context",
)


@dataclass(frozen=True)
class MemorySettings:
    """What is recalled, see `brainrecon.assembly.recall.Recall`.

    Attributes
    ----------
    neighbours : int
        Remembered stimuli that are averaged.
    temperature : float
        Of their shares.
    share : float
        Of what is recalled in what is drawn from; 0 is the method without its memory.
    lengths : {"of training", "as decoded"}
        Predictions are brought to the mean length of true embeddings, or left as they are.
    cross_fitted : int
        Folds: training stimuli are predicted by networks that learned from the others alone, one for each fold. 0: by the
        network that learned from them.
    """

    neighbours: int = 5
    temperature: float = 0.005
    share: float = 0.5
    lengths: str = OF_TRAINING
    cross_fitted: int = 0

    def __post_init__(self):
        rules = {
            "neighbours": Number(1, whole=True, example=5),
            "temperature": Number(0, above=True, example=0.005),
            "share": Number(0, 1),
            "lengths": OneOf(OF_TRAINING, AS_DECODED),
            "cross_fitted": Number(0, whole=True, example=5),
        }
        check_all(self, rules, where="memory")
        if self.cross_fitted == 1:
            raise InputError(
                "memory.cross_fitted is 1, and of one fold nothing is left to learn from; expected 2 folds or more, or 0: pass "
                "--set memory.cross_fitted=5."
            )


@dataclass(frozen=True)
class PsychometrySettings(DualContextSettings):
    """All settings of the method; those of drawing are `brainrecon.assembly.dual_context.DualContextSettings`'.

    Attributes
    ----------
    regions : tuple of str
        Tokens, as `brainrecon.datasets.voxels` reads them: each voxel goes to the first that has it, and the rest to one more.
    decoder : RegionExpertsSettings
    memory : MemorySettings
    n_captions : int
        Captions of a stimulus that are averaged, the first ones.
    clip_pictures : {"direct", "enlarged"}
        Pictures are prepared for CLIP by its own preprocessing alone, or as Versatile Diffusion does.
    candidates : int
        Pictures of which the one is kept whose tokens are nearest to the predicted ones.
    """

    regions: tuple[str, ...] = REGIONS
    decoder: RegionExpertsSettings = field(default_factory=RegionExpertsSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    n_captions: int = 1
    clip_pictures: str = "direct"
    candidates: int = 8

    def __post_init__(self):
        rules = {
            "n_captions": Number(1, whole=True),
            "clip_pictures": OneOf("direct", "enlarged"),
            "candidates": Number(1, whole=True, example=8),
        }
        super().__post_init__()
        check_all(self, rules)
        check_regions(self.regions)
        if self.generator.strength != 1:
            raise InputError(
                f"generator.strength is {self.generator.strength} but drawing starts from noise here; leave it out, or pass "
                "--set generator.strength=1."
            )


@system
class Psychometry2024(TogetherSystem):
    """A reimplementation of the abstract and the figure; every number is a guess."""

    name = "psychometry2024"
    explanation = (
        "a reimplementation of an abstract and a figure: regions as tokens, shared experts weighed by subject, and a memory "
        "whose embeddings are mixed in"
    )
    citation = (
        "Quan, R. et al. (2024). Psychometry: an omnifit model for image reconstruction from human brain activity. CVPR "
        "2024."
    )
    settings_class = PsychometrySettings
    evidence = Evidence(
        "only the abstract and one figure were found, so that every number is guessed; a block of one expert equals PyTorch's "
        "transformer layer",
        ("simulated NSD",),
        ("Psychometry",),
    )
    protocol = "mindeye-2023"
    image_embedding = IMAGE
    without_captions = {"text_context": False}
    of_drawing = (
        *("generator", "checkpoints.generator", "candidates", "unconditional"),
        *(f"memory.{name}" for name in ("neighbours", "temperature", "share", "lengths")),
    )
    tiny = {
        "checkpoints": {"clip": "tiny-clip", "generator": "tiny-generator"},
        "text_padding": "zero",
        "candidates": 2,
        "unconditional": "stored",
        # The embedded network asks for less.
        "generator": {"guidance_scale": 2.0},
        "decoder": {
            "epochs": 60,
            "batch_size": 32,
            "batch_size_each": 32,
            "learning_rate": 1e-3,
            "width": 128,
            "depth": 2,
            "n_heads": 4,
            "n_experts": 4,
        },
    }

    @property
    def notes(self):
        return (
            "Only the abstract and one figure of Psychometry were found: all numbers of this method are borrowed or guessed, and "
            f"docs/systems/psychometry2024.md lists them. Guesses are {', '.join(guesses(self.settings))}.",
        )

    def steps(self, machine):
        settings, memory = self.settings, self.settings.memory
        targets = {IMAGE: self._image(machine)} | ({TEXT: self._text(machine)} if settings.text_context else {})
        names = {read: value for read, value in DECODED.items() if value in targets}
        predicted = {read: targets[value] for read, value in names.items()}

        def learned(part, left_out=None):
            return region_experts(predicted, settings.regions, settings.decoder, machine, part, left_out)

        n_folds, seed = memory.cross_fitted, settings.decoder.seed
        folds = [LeftOut(fold, n_folds, seed) for fold in range(n_folds)]
        folds = [(fold, learned(f"fold-{number}", fold)) for number, fold in enumerate(folds, start=1)]
        whole = learned("network")
        recall = Recall(
            whole,
            names,
            targets,
            folds,
            memory.neighbours,
            memory.temperature,
            memory.share,
            memory.lengths,
            settings.decoder.features,
        )
        drawn = dual_context(self, targets, machine, needed=())
        if settings.candidates > 1:
            drawn = Candidates([drawn], settings.candidates, targets[IMAGE], IMAGE_DECODED)
        return [whole, *(step for _, step in folds), recall, drawn]

    def _image(self, machine):
        pictures = self.settings.clip_pictures
        return self.target("stages.targets.clip:CLIPImageTokens", "clip", machine, pictures=pictures)

    def _text(self, machine):
        told = {"padding": self.settings.text_padding, "n_captions": self.settings.n_captions}
        return self.target("stages.targets.clip:CLIPTextTokens", "clip", machine, **told)


def guesses(settings, where=""):
    """Dotted names of the settings that rest on a guess; a list of str.

    >>> guesses(PsychometrySettings())[:2]
    ['text_padding', 'generator.strength']
    """
    found = []
    for one in fields(settings):
        name, value = f"{where}{one.name}", getattr(settings, one.name)
        if one.name in (*_NO_GUESS, "checkpoints"):
            continue
        found += guesses(value, f"{name}.") if hasattr(value, "__dataclass_fields__") else [name]
    return found
