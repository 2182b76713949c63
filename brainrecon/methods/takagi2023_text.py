"""Takagi & Nishimoto's technical report (arXiv 2306.11536), its first part: the text context comes from a decoded caption.

BLIP's states of the picture are decoded from six regions. BLIP writes a caption from the decoded states, and the
diffusion model's own encoding of that caption takes the place of the decoded text context of
`brainrecon.methods.takagi2023`. Everything else is as there, its slips included. Pictures are not normalised for BLIP,
which the scripts leave out.

Departures: those of `takagi2023`, and that of a sentence which goes on within the prompt's last word no letter is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.encode import Encode
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.targets import part
from brainrecon.methods.takagi2023 import LATENT, TEXT, Regression, Takagi2023, Takagi2023Settings
from stages.ground.checks import Number, OneOf, check_all

STATES, CAPTION = "blip", "caption"

_RULES = {
    "size": Number(1, whole=True, example=240),
    "normalise": OneOf("none", "CLIP"),
    "num_beams": Number(1, whole=True, example=3),
    "max_length": Number(1, whole=True, example=20),
    "min_length": Number(0, whole=True, example=5),
    "repetition_penalty": Number(0, above=True, example=1.5),
}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`; `tokenizer` holds the words that the captioner writes with."""

    generator: str = "stable-diffusion-1-4"
    captioner: str = "blip-base-capfilt"
    tokenizer: str = "bert-base-uncased-tokenizer"


@dataclass(frozen=True)
class CaptionSettings:
    """How a caption is written from decoded states.

    Attributes
    ----------
    size : int
        Side in pixels of the pictures that BLIP sees.
    normalise : {"none", "CLIP"}
        What happens to their greys of 0 to 1 before: nothing, as in the scripts, or what BLIP was trained with.
    num_beams : int
        Sentences that the search keeps.
    max_length, min_length : int
        Tokens of a sentence, with its beginning.
    repetition_penalty : float
        What the scores of tokens that a sentence has already are divided by.
    prompt : str
        How each sentence begins; it is removed from the caption.
    """

    size: int = 240
    normalise: str = "none"
    num_beams: int = 3
    max_length: int = 20
    min_length: int = 5
    repetition_penalty: float = 1.5
    prompt: str = "a picture of "

    def __post_init__(self):
        check_all(self, _RULES, where="caption")

    @property
    def writing(self):
        """What the captioner's `draw` is told."""
        names = ("num_beams", "max_length", "min_length", "repetition_penalty", "prompt")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Takagi2023TextSettings(Takagi2023Settings):
    """All settings of the method: those of `takagi2023`, of which `text_roi` is not read, and these.

    Attributes
    ----------
    states : Regression
        How BLIP's states are decoded.
    caption : CaptionSettings
    caption_roi : str
        Voxels that BLIP's states are decoded from, of those that the subject was loaded with.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    states: Regression = field(default_factory=lambda: Regression(alpha=(10_000.0, 20_000.0, 40_000.0)))
    caption: CaptionSettings = field(default_factory=CaptionSettings)
    caption_roi: str = "early + ventral + midventral + midlateral + lateral + parietal"


@system
class Takagi2023Text(Takagi2023):
    """The latent and a caption, each decoded from the brain, with the published checkpoints."""

    name = "takagi2023-text"
    explanation = "the full method: decoded latent as a small picture, redrawn under a caption that is decoded, too"
    citation = (
        "Takagi, Y. & Nishimoto, S. (2023). Improving visual image reconstruction from human brain activity using latent "
        "diffusion models via multiple decoded inputs. arXiv 2306.11536."
    )
    settings_class = Takagi2023TextSettings
    evidence = Evidence(
        "regression equals scikit-learn, BLIP's captions transformers' own and drawing the published order of operations, on "
        "random weights; published weights not read",
        ("simulated NSD",),
        ("Takagi and Nishimoto, captions",),
    )
    without_captions = {}
    tiny = Takagi2023.tiny | {
        "checkpoints": Takagi2023.tiny["checkpoints"] | {"captioner": "tiny-captioner", "tokenizer": "tiny-captioner"},
        "states": {"alpha": [100.0, 1000.0, 10_000.0]},
        # The size of the drawn world's pictures, how the embedded network sees them, and its longest sentence.
        "caption": {"size": 64, "normalise": "CLIP", "max_length": 32, "repetition_penalty": 1.0},
    }

    def steps(self, machine):
        settings = self.settings
        latent = self.latent(machine)
        decode_latent = self._decode({LATENT: latent}, settings.latent_roi, "latent", machine, settings.decoder)
        if not settings.text_context:
            return [decode_latent, *self._drawn(latent, {}, machine)]
        captioned, text = self._captioned(machine)
        return [decode_latent, *captioned, *self._drawn(latent, {TEXT: text}, machine)]

    def _captioned(self, machine):
        """The steps from responses to the encoding of a caption, and the target that this is a prediction of."""
        settings = self.settings
        states = self.target(
            "stages.targets.blip:BLIPStates",
            "captioner",
            machine,
            size=settings.caption.size,
            normalise=settings.caption.normalise,
        )
        text = self.target("stages.targets.diffusion_text:DiffusionTextTokens", "generator", machine)
        steps = [
            self._decode({STATES: states}, settings.caption_roi, "states", machine, settings.states),
            Draw(
                lambda: self._captioner(machine),
                reads=(STATES,),
                gives=CAPTION,
                medium="caption",
                by_lot=False,
                options=lambda present: settings.caption.writing,
                # Rounding may change a word.
                at_a_time=lambda generator: 1,
                targets={STATES: states},
            ),
            Encode(CAPTION, TEXT, text),
        ]
        return steps, text

    def _captioner(self, machine):
        return part("stages.generators.language.blip_captioner:BLIPCaptioner").from_pretrained(
            self.folder("captioner"), machine.device, self.settings.caption.size, self.folder("tokenizer")
        )
