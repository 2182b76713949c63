"""DBDM (Meng & Yang, Bioengineering 2023): Brain-Diffuser on the object data of Kamitani's laboratory, with captions by BLIP.

The pictures of those data come from ImageNet and have no captions. BLIP writes one about each training picture; its CLIP
tokens are the text target. Everything else is `brainrecon.methods.brain_diffuser`: targets, regression, drawing.

No code was published. What the paper is not known to say is Brain-Diffuser's, or a guess: docs/systems/dbdm2023.md lists it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.targets import TargetSource, part
from brainrecon.methods import brain_diffuser
from brainrecon.methods.brain_diffuser import BrainDiffuser, BrainDiffuserSettings
from brainrecon.methods.takagi2023_text import CaptionSettings
from stages.ground.checks import OneOf, check

_STATES = "stages.targets.blip:BLIPStates"
_CAPTIONER = "stages.generators.language.blip_captioner:BLIPCaptioner"
_WRITTEN = "stages.targets.written_captions:WrittenCaptions"


@dataclass(frozen=True)
class Checkpoints(brain_diffuser.Checkpoints):
    """Names in `weights/manifest.toml`; `tokenizer` holds the words that the captioner writes with.

    Which BLIP the authors took is not known: the captioner is a guess.
    """

    captioner: str = "blip-image-captioning-large"
    tokenizer: str = "blip-image-captioning-large"


@dataclass(frozen=True)
class PictureCaptions(CaptionSettings):
    """How BLIP captions a training picture: as its authors do, for the paper is not known to say.

    Attributes
    ----------
    resampling : {"bicubic", "lanczos"}
        How pictures are brought to `size`.
    """

    size: int = 384
    normalise: str = "CLIP"
    repetition_penalty: float = 1.0
    prompt: str = ""
    resampling: str = "bicubic"

    def __post_init__(self):
        super().__post_init__()
        check("caption.resampling", self.resampling, OneOf("bicubic", "lanczos"))


@dataclass(frozen=True)
class DBDM2023Settings(BrainDiffuserSettings):
    """All settings of the method: those of `brain-diffuser`, and how captions are written.

    Attributes
    ----------
    caption : PictureCaptions
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    caption: PictureCaptions = field(default_factory=PictureCaptions)


@system
class DBDM2023(BrainDiffuser):
    """Brain-Diffuser's two stages, whose text context is learned from captions that BLIP writes."""

    name = "dbdm2023"
    explanation = "Brain-Diffuser for data without captions: BLIP writes one about each training picture"
    citation = (
        "Meng, L. & Yang, C. (2023). Dual-guided brain diffusion model: natural image reconstruction from human visual stimulus "
        "fMRI. Bioengineering 10, 1117."
    )
    settings_class = DBDM2023Settings
    evidence = Evidence(
        "no published code: the steps are those of brain-diffuser, BLIP's captions transformers' own; published weights not read",
        ("simulated NSD",),
        ("DBDM",),
    )
    protocol = "dbdm-2023"
    without_captions = {}
    tiny = BrainDiffuser.tiny | {
        "checkpoints": BrainDiffuser.tiny["checkpoints"]
        | {"captioner": "tiny-captioner", "tokenizer": "tiny-captioner"},
        # The size of the drawn world's pictures, and its longest sentence.
        "caption": {"size": 64, "max_length": 32},
    }

    def text(self, machine):
        """The target of the text context: CLIP's tokens of the caption that BLIP writes about a picture."""
        caption, tokens = self.settings.caption, super().text(machine)
        seen = {"size": caption.size, "normalise": caption.normalise, "resampling": caption.resampling}
        states = self.target(_STATES, "captioner", machine, **seen)

        def load():
            folders = self.folder("captioner"), self.folder("tokenizer")
            captioner = part(_CAPTIONER).from_pretrained(folders[0], machine.device, caption.size, folders[1])
            return part(_WRITTEN)(states.load(), captioner, tokens.load(), caption.writing)

        def sketch():
            from stages.checkpoints.outlines import outlines

            folders = self.folder("captioner", check=False), self.folder("tokenizer", check=False)
            with outlines():
                captioner = part(_CAPTIONER).from_pretrained(folders[0], "meta", caption.size, folders[1])
            return part(_WRITTEN)(states.sketch(), captioner, tokens.sketch(), caption.writing)

        def sketched_from():
            return states.sketched_from(), tokens.sketched_from(), repr(caption)

        own = self.settings.checkpoints
        names = tuple(dict.fromkeys((own.captioner, own.tokenizer, own.clip)))
        return TargetSource(load, names, tokens.dtype, sketch=sketch, sketched_from=sketched_from)
