"""MindArt (CVPR 2024): an encoder that no response was paired with its picture for, captions, and a latent redrawn under them.

An encoder of regions is matched to pictures of the same category by a graph of the batch and optimal transport. A caption model
in SMALLCAP's manner attends to its tokens and to those of an encoder of its own, behind the caption of the training picture whose
embedding is nearest. Ridge from the tokens gives Stable Diffusion's latent, which is redrawn under the caption as
`brainrecon.methods.takagi2023` redraws its own. The beginning of the drawn text may name a style.

docs/systems/mindart2024.md says what the scripts do, what of it is not known, and what is done otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from brainrecon.assembly.category_matching import (
    VOXELS,
    LanguageModel,
    captioned_regions,
    check_regions,
    matched_regions,
)
from brainrecon.assembly.decode_value import DecodeValue
from brainrecon.assembly.draw import Draw
from brainrecon.assembly.encode import Encode
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.linear_decoding import DecodingByBlocks
from brainrecon.assembly.paired_settings import CaptioningSettings, MatchingSettings
from brainrecon.assembly.registry import system
from brainrecon.assembly.similar_caption import SimilarCaption
from brainrecon.assembly.system import Needs, System
from brainrecon.assembly.targets import part
from brainrecon.methods.takagi2023 import (
    LATENT,
    TEXT,
    RedrawnLatent,
    RedrawnLatentSettings,
    Regression,
    Takagi2023,
)
from stages.ground.checks import Number, OneOf, check_all
from weights import store

MATCH, TOKENS, STATES = "clip_match", "brain_tokens", "caption_states"
SIMILAR, CAPTION = "similar_caption", "caption"
REGIONS = ("V1", "V2", "V3", "V4", "LOC", "FFA", "PPA")
# Of 1,200 pictures in batches of 1,024, and of 32.
_MATCHING_STEPS, _CAPTION_STEPS = 1, 37


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`: `clip` has the pictures' features, `class_token` the token that states are held to."""

    clip: str = "clip-vit-b-16-openai"
    class_token: str = "clip-vit-b-32-openai"
    language: str = "gpt2"
    generator: str = "stable-diffusion-1-4"


@dataclass(frozen=True)
class WritingSettings:
    """How a caption is written. The authors' script is not known: these are SMALLCAP's, as we know them.

    Attributes
    ----------
    num_beams : int
        Sentences that the search keeps.
    max_length, min_length : int
        Tokens that are written.
    length_penalty : float
        The power of the length by which the score of a sentence is divided.
    """

    num_beams: int = 3
    max_length: int = 25
    min_length: int = 1
    length_penalty: float = 0.0

    def __post_init__(self):
        rules = {
            "num_beams": Number(1, whole=True, example=3),
            "max_length": Number(1, whole=True, example=25),
            "min_length": Number(0, whole=True, example=1),
            "length_penalty": Number(),
        }
        check_all(self, rules, where="writing")


@dataclass(frozen=True)
class MindArt2024Settings(RedrawnLatentSettings):
    """All settings of the method: those of a redrawn latent, and these.

    Attributes
    ----------
    decoder : brainrecon.methods.takagi2023.Regression
        How the latent is decoded from tokens.
    regions : tuple of str
        Each a token of the encoders; expressions over the regions that the subject was loaded with.
    voxels : {"as they are", "standardised"}
        What the encoders read: values of the dataset, with zeros behind those of smaller regions, as published; or voxels of
        mean 0 and standard deviation 1 over the training trials.
    matching : MatchingSettings
    captions : CaptioningSettings
    writing : WritingSettings
    latent_from : {"matching", "captions"}
        Tokens that the latent is decoded from: those that are matched to pictures, or all that the caption model reads.
    beginning : str
        Of the text that is drawn, before the caption; there is no space between them.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: Regression = field(default_factory=lambda: Regression(trials="averaged"))
    regions: tuple[str, ...] = REGIONS
    voxels: str = "as they are"
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    captions: CaptioningSettings = field(default_factory=CaptioningSettings)
    writing: WritingSettings = field(default_factory=WritingSettings)
    latent_from: str = "matching"
    beginning: str = "A image showing"

    def __post_init__(self):
        super().__post_init__()
        check_all(self, {"voxels": OneOf(*VOXELS), "latent_from": OneOf("matching", "captions")})
        check_regions(self.regions)


@system
class MindArt2024(RedrawnLatent):
    """The method at its published settings."""

    name = "mindart2024"
    explanation = "the full method: a decoded latent, redrawn under a caption, by encoders matched by category alone"
    citation = (
        "Chen, J., Qi, Y., Wang, Y. & Pan, G. (2024). Mind Artist: creating artistic snapshots with human thought. CVPR 2024, "
        "27207-27217."
    )
    settings_class = MindArt2024Settings
    evidence = Evidence(
        "networks, losses, pairing and prompts equal the published formulas on random weights; published weights not read",
        ("simulated NSD",),
    )
    needs = Needs(captions=True, categories=True)
    protocol = "takagi-2023"
    image_embedding = MATCH
    of_drawing = (*System.of_drawing, "writing", "beginning")
    tiny = Takagi2023.tiny | {
        "checkpoints": Takagi2023.tiny["checkpoints"]
        | {"clip": "tiny-clip", "class_token": "tiny-clip", "language": "tiny-gpt2"},
        # All of a simulated subject's areas; LOC is none of NSD's.
        "regions": ["V1", "V2", "V3", "hV4", "ventral", "lateral", "parietal"],
        "voxels": "standardised",
        "matching": {
            "epochs": 25,
            "batch_size": 32,
            "learning_rate": 1e-3,
            "shared": False,
            "depth": 2,
            "places": "learned",
            "dustbin": 0.0,
            "n_rounds": 1,
            "n_iterations": 20,
        },
        "captions": {"epochs": 6, "learning_rate": 1e-3, "depth": 2, "factor": 2, "class_weight": 0.0},
        # The embedded text encoder knows neither "image" nor "showing".
        "beginning": "",
    }

    @property
    def notes(self):
        return ("The encoder learned from categories of the training trials, which are supervision.",)

    def settled(self, train):
        settings = self.settings
        return replace(settings, matching=settings.matching.settled(train), captions=settings.captions.settled(train))

    def steps(self, machine):
        settings = self.settings
        features = self.target("stages.targets.clip:CLIPImageVector", "clip", machine)
        class_token = self.target("stages.targets.clip:CLIPClassToken", "class_token", machine)
        latent = self.latent(machine)
        text = self.target("stages.targets.diffusion_text:DiffusionTextTokens", "generator", machine)
        # Nobody reads the tokens, if the latent is decoded from the caption model's.
        names = (MATCH, TOKENS) if settings.latent_from == "matching" else (MATCH,)
        reading = {"regions": settings.regions, "voxels": settings.voxels, "machine": machine}
        matched = matched_regions(
            names,
            features,
            settings.matching,
            published_steps=_MATCHING_STEPS,
            part="matching",
            table="matching",
            **reading,
        )
        language = LanguageModel(
            partial(self.folder, "language"), lambda: store.fingerprint(settings.checkpoints.language)
        )
        captions = captioned_regions(
            STATES,
            matched,
            class_token,
            language,
            settings.captions,
            published_steps=_CAPTION_STEPS,
            part="captions",
            table="captions",
            **reading,
        )
        learned, value = (matched, TOKENS) if settings.latent_from == "matching" else (captions, STATES)
        regression = settings.decoder
        return [
            matched,
            captions,
            DecodeValue(
                learned,
                value,
                {LATENT: latent},
                regression.of_the_step(),
                machine,
                "latent",
                DecodingByBlocks(regression.decoder(machine)),
            ),
            SimilarCaption(MATCH, SIMILAR),
            Draw(
                lambda: self._captioner(captions),
                reads=(STATES, SIMILAR),
                gives=CAPTION,
                medium="caption",
                by_lot=False,
                options=lambda present: dict(vars(settings.writing)),
                # Rounding may change a word.
                at_a_time=lambda generator: 1,
            ),
            Encode(CAPTION, TEXT, text, before=self._drawn_text),
            *self._drawn(latent, {TEXT: text}, machine),
        ]

    def _captioner(self, learned):
        """The language model with what was trained in it."""
        from stages.checkpoints.transformers_loading import load_gpt2_tokenizer

        captioner = part("stages.generators.language.prompted_captioner:PromptedCaptioner")
        decoder = learned.decoder
        tokenizer = load_gpt2_tokenizer(self.folder("language"))
        return captioner(decoder.network.network.decoder, tokenizer, decoder.gives[STATES])

    def _drawn_text(self, caption):
        """The text that is drawn."""
        return part("stages.generators.language.similar_captions:drawing_text")(caption, self.settings.beginning)
