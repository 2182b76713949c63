"""Settings of a method that decodes tokens by one network of several subjects, and makes pictures and captions of them.

After Scotti et al. (2024), "MindEye2". What draws, redraws and writes can be left out or done otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.likely_tokens import LikelyTokensSettings
from brainrecon.assembly.settings import filled_in
from brainrecon.assembly.shared_network import SharedNetworkSettings
from brainrecon.assembly.token_caption import TokenCaptionSettings
from brainrecon.assembly.trial_outputs import OUTPUTS, RESPONSES
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

ROUGH, RETRIEVAL, LIKELY, LATENT = "clip_rough", "clip_retrieval", "clip_image", "sd_latent"
BLURRY, DRAWN, REDRAWN, PICTURE = "first_picture", "drawn_picture", "redrawn_picture", "picture"
CAPTION, TEXT = "caption", "clip_text"
# What a run may end in -> the value.
ENDS = {"picture": PICTURE, "caption": CAPTION, "tokens": RETRIEVAL}
NOTHING = "nothing"
DRAWS_WITH = ("sdxl-unclip", NOTHING)
REDRAWS_WITH = ("sdxl", "stable-diffusion", NOTHING)
_REDRAWERS = {"sdxl": "sdxl-zavychroma", "stable-diffusion": "stable-diffusion-1-5"}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`; those that are not given are the published ones that the settings ask for.

    Attributes
    ----------
    clip : str, optional
        Of the tokens.
    generator : str, optional
        That draws from tokens.
    autoencoder, teacher : str, optional
        Of the blurry picture, and of its training.
    bridge, captioner, tokenizer : str, optional
        From tokens to the states of a captioner, the captioner, and its words.
    redrawer : str, optional
        That redraws under the caption.
    """

    clip: str | None = None
    generator: str | None = None
    autoencoder: str | None = None
    teacher: str | None = None
    bridge: str | None = None
    captioner: str | None = None
    tokenizer: str | None = None
    redrawer: str | None = None


@dataclass(frozen=True)
class SharedSettings(LikelyTokensSettings):
    """All settings of such a method; the defaults are MindEye2's.

    What makes tokens likely is set as `brainrecon.assembly.likely_tokens.LikelyTokensSettings` says.

    Attributes
    ----------
    output : {"picture", "caption", "tokens"}
        What a run ends in; "tokens" is retrieval alone.
    greys : {"washed out", "as they are"}
        How pictures become the tokens that are learned, see `stages.targets.unclip_tokens`. What is published needs the former.
    decoder : SharedNetworkSettings
    averages : {"outputs", "responses"}
        What is averaged over the trials of a tested stimulus.
    n_trials : int
        Outputs that are averaged: of a stimulus with fewer trials the first ones count again.
    draws_with : {"sdxl-unclip", "nothing"}
        What draws from the tokens. Without it the blurry picture is redrawn.
    generator : GeneratorSettings
        Of that drawing, which starts from noise.
    redraws_with : {"sdxl", "stable-diffusion", "nothing"}
        What redraws the drawn picture in part, under the caption; only the first is published.
    redrawing : GeneratorSettings
    negative : str, optional
        What redrawing with "sdxl" leads away from; the published list of flaws, if none is given.
    caption : TokenCaptionSettings
    blurry : bool
        Whether a blurry picture is decoded.
    blurry_share : float
        How much of it lies over the last picture; 0 for none.
    latent_size : int, optional
        Side in pixels of the pictures whose latents are decoded; that of the autoencoder's configuration, if none is given.
    picture_size : int
        Side in pixels of what is blended, and scored.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    output: str = "picture"
    greys: str = "washed out"
    decoder: SharedNetworkSettings = field(default_factory=SharedNetworkSettings)
    averages: str = OUTPUTS
    n_trials: int = 3
    prior_evaluations: int | None = 19
    draws_with: str = "sdxl-unclip"
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=1.0, num_inference_steps=38, guidance_scale=5.0, image_weight=1.0, text_weight=0.0
        )
    )
    redraws_with: str = "sdxl"
    redrawing: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=0.5, num_inference_steps=25, guidance_scale=5.0, image_weight=0.0, text_weight=1.0
        )
    )
    negative: str | None = None
    caption: TokenCaptionSettings = field(default_factory=TokenCaptionSettings)
    blurry: bool = True
    blurry_share: float = 0.25
    latent_size: int | None = 224
    picture_size: int = 256

    def __post_init__(self):
        rules = {
            "output": OneOf(*ENDS),
            "greys": OneOf("washed out", "as they are"),
            "averages": OneOf(OUTPUTS, RESPONSES),
            "n_trials": Number(1, whole=True, example=3),
            "draws_with": OneOf(*DRAWS_WITH),
            "redraws_with": OneOf(*REDRAWS_WITH),
            "blurry_share": Number(0, 1),
            "picture_size": Number(1, whole=True, example=256),
        }
        check_all(self, rules)
        if self.has_picture and self.draws_with == NOTHING and not self.blurry:
            raise InputError(
                f"draws_with is {NOTHING!r} and blurry false, so that there is no picture; name a generator with --set "
                "draws_with=sdxl-unclip, or pass --set output=caption."
            )
        self.check_prior()
        object.__setattr__(self, "checkpoints", filled_in(self.checkpoints, self._published()))

    @property
    def has_picture(self):
        """Whether a run ends in a picture."""
        return self.output == "picture"

    @property
    def has_latent(self):
        """Whether the latent of a blurry picture is learned."""
        return self.blurry and self.has_picture

    @property
    def draws(self):
        """Whether something is drawn from tokens."""
        return self.has_picture and self.draws_with != NOTHING

    @property
    def redraws(self):
        """Whether a picture is redrawn under a caption."""
        return self.has_picture and self.redraws_with != NOTHING

    @property
    def blends(self):
        """Whether the blurry picture lies over another."""
        return self.has_latent and self.blurry_share > 0 and (self.draws or self.redraws)

    @property
    def captions(self):
        """Whether captions are written."""
        return self.redraws or self.output == "caption"

    @property
    def writes_captions(self):
        """Whether a captioner writes them."""
        return self.captions

    @property
    def reads_likely(self):
        """Whether anything is made of likely tokens."""
        return self.draws or self.captions

    def _published(self):
        """The published checkpoint in each role that these settings have."""
        named = {"clip": "clip-vit-bigg-14-laion2b"}
        if self.draws:
            named["generator"] = "sdxl-unclip"
        if self.has_latent:
            named["autoencoder"] = "sd-image-variations-autoencoder"
            # What nothing is held against is not fetched.
            named |= {"teacher": "vicregl-convnext-xl"} if self.decoder.teacher else {}
        if self.writes_captions:
            named |= {"bridge": "bigg-to-git-bridge", "captioner": "git-large-coco", "tokenizer": "git-large-coco"}
        if self.redraws:
            named["redrawer"] = _REDRAWERS[self.redraws_with]
        return named
