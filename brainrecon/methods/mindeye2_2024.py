"""MindEye2 (Scotti et al., ICML 2024): a layer of each subject's own, a backbone that all share, and pictures behind captions.

The shared backbone makes rough tokens of OpenCLIP ViT-bigG/14, from which a projector makes tokens for retrieval, a prior likely
ones, and a small decoder the latent of a blurry picture. Likely tokens are drawn by an unCLIP of Stable Diffusion XL, and said
in a caption. Under that the drawn picture is redrawn in part, and a quarter of the blurry one is laid over it. What was learned
of some subjects is gone on with for a new one, of whom there may be an hour alone.

docs/systems/mindeye2-2024.md says what the scripts do, which of their slips are mended here, and what is done otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from brainrecon.assembly.as_decoded import AsDecoded
from brainrecon.assembly.blend import Blend
from brainrecon.assembly.each_sample import EachSample
from brainrecon.assembly.encode import Encode
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.refine import Refine
from brainrecon.assembly.registry import system
from brainrecon.assembly.remember import Remember
from brainrecon.assembly.settings import filled_in
from brainrecon.assembly.shared_network import SharedNetworkSettings, prior_of, shared_network
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import part
from brainrecon.assembly.token_caption import TokenCaptionSettings, token_caption
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
class MindEye2Settings:
    """All settings of the method.

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
    prior : {"diffusion", "nearest", "none"}
        What makes decoded tokens likely: a network that is trained beside; the nearest tokens of a bank; nothing.
    bank : str
        Folder of tokens for the nearest, by default those of the training stimuli.
    neighbours : int
        Nearest tokens that are averaged.
    prior_evaluations : int, optional
        Of the prior's network in sampling; every step, if none is given.
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
    prior: str = "diffusion"
    bank: str = ""
    neighbours: int = 1
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
            "prior": OneOf("diffusion", "nearest", "none"),
            "neighbours": Number(1, whole=True),
            "draws_with": OneOf(*DRAWS_WITH),
            "redraws_with": OneOf(*REDRAWS_WITH),
            "blurry_share": Number(0, 1),
            "picture_size": Number(1, whole=True, example=256),
        }
        check_all(self, rules)
        self._check_together()
        self._fill_in()

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
    def reads_likely(self):
        """Whether anything is made of likely tokens."""
        return self.draws or self.captions

    def _check_together(self):
        """Refuse settings that do not go together."""
        if self.has_picture and self.draws_with == NOTHING and not self.blurry:
            raise InputError(
                f"draws_with is {NOTHING!r} and blurry false, so that there is no picture; name a generator with --set "
                "draws_with=sdxl-unclip, or pass --set output=caption."
            )
        if self.bank and self.prior != "nearest":
            raise InputError(
                f"bank is {self.bank!r} but prior {self.prior!r} reads none; pass --set prior=nearest, or leave bank out."
            )
        if self.prior == "diffusion" and not self.decoder.prior_weight:
            raise InputError(
                f"decoder.prior_weight is {self.decoder.prior_weight} but prior is 'diffusion', which would not be trained; pass "
                "--set prior=none, or a weight above 0."
            )

    def _fill_in(self):
        """Settle what follows from other settings."""
        settle = object.__setattr__
        if self.bank:
            # From whatever folder the run is gone on with.
            settle(self, "bank", str(Path(self.bank).expanduser().resolve()))
        named = {"clip": "clip-vit-bigg-14-laion2b"}
        if self.draws:
            named["generator"] = "sdxl-unclip"
        if self.has_latent:
            named["autoencoder"] = "sd-image-variations-autoencoder"
            # What nothing is held against is not fetched.
            named |= {"teacher": "vicregl-convnext-xl"} if self.decoder.teacher else {}
        if self.captions:
            named |= {"bridge": "bigg-to-git-bridge", "captioner": "git-large-coco", "tokenizer": "git-large-coco"}
        if self.redraws:
            named["redrawer"] = _REDRAWERS[self.redraws_with]
        settle(self, "checkpoints", filled_in(self.checkpoints, named))


@system
class MindEye22024(System):
    """The method of one subject or of several, at its published settings."""

    name = "mindeye2-2024"
    explanation = (
        "the full method: shared tokens of several subjects, drawn by unCLIP, redrawn under a caption, blended with a blurry "
        "picture"
    )
    citation = "Scotti, P. S. et al. (2024). MindEye2: shared-subject models enable fMRI-to-image with 1 hour of data. ICML 2024."
    settings_class = MindEye2Settings
    evidence = Evidence(
        "network, losses, schedule and prior equal the published formulas on random weights, with the published numbers of "
        "parameters; released files not read",
        ("simulated NSD",),
        ("MindEye2",),
    )
    many_subjects = "together"
    protocol = "mindeye2-2024"
    image_embedding = RETRIEVAL
    # Published scores of retrieval are the projector's, not those of the prior's samples.
    compared_by = {LIKELY: RETRIEVAL}
    of_drawing = (
        *("generator", "redrawing", "negative", "caption", "prior_evaluations", "blurry_share", "picture_size"),
        *(f"checkpoints.{role}" for role in ("generator", "bridge", "captioner", "tokenizer", "redrawer")),
    )
    tiny = {
        "checkpoints": {
            "clip": "tiny-clip",
            "autoencoder": "tiny-stable-diffusion",
            "bridge": "tiny-caption-bridge",
            "captioner": "tiny-captioner",
            "tokenizer": "tiny-captioner",
            "generator": "tiny-unclip-xl",
            "redrawer": "tiny-sdxl",
        },
        # As the embedded networks were measured.
        "generator": {"guidance_scale": 3.0},
        "redrawing": {"guidance_scale": 3.5},
        "negative": "",
        "latent_size": 64,
        "picture_size": 64,
        "caption": {"max_length": 32},
        "decoder": {
            "epochs": 12,
            "hidden": 512,
            "prior_depth": 1,
            "prior_heads": 4,
            "prior_head_width": 32,
            "learning_rate": 1e-3,
            "map_channels": 32,
            "channels": [32, 32],
            # It has no embedded twin.
            "teacher": False,
        },
    }

    def __init__(self, settings=None):
        super().__init__(settings)
        self.output = ENDS[self.settings.output]
        if self.output == CAPTION:
            self.protocol, self.explanation = "brainhub-2024", "a caption that is written from decoded tokens"
        elif self.output == RETRIEVAL:
            self.explanation = "retrieval alone: tokens that are trained by contrast"

    @property
    def notes(self):
        settings, found = self.settings, []
        if settings.blends:
            found.append(f"Of every picture {settings.blurry_share:.0%} is the blurry one, as published.")
        published = settings.draws_with == "sdxl-unclip" and settings.redraws_with in ("sdxl", NOTHING)
        if settings.has_picture and not published:
            found.append(
                f"A variant that nobody published: drawn with {settings.draws_with}, redrawn with {settings.redraws_with}."
            )
        return tuple(found)

    def settled_with(self, cohort):
        return replace(self.settings, decoder=self.settings.decoder.settled_with(cohort))

    def settled_by(self, subject):
        return self.settled_with({subject.name: subject})

    def for_pretraining(self):
        return replace(self.settings, decoder=self.settings.decoder.for_pretraining())

    def steps(self, machine):
        settings = self.settings
        source = self.target("stages.targets.unclip_tokens:UnclipTokens", "clip", machine, greys=settings.greys)
        # Nobody reads rough tokens that neither lead a prior nor are drawn from.
        has_prior = settings.prior == "diffusion"
        rough = (ROUGH,) if has_prior or (settings.prior == "none" and settings.reads_likely) else ()
        latent = self._latent(machine) if settings.has_latent else None
        learned = shared_network(
            (*rough, RETRIEVAL),
            source,
            settings.decoder if has_prior else replace(settings.decoder, prior_weight=0.0),
            machine,
            "network",
            None if latent is None else (LATENT, latent),
            self._places(machine),
            released=_released(),
            averages=settings.averages,
            n_trials=settings.n_trials,
        )
        likely = [self._likely(learned, source)] if settings.reads_likely else []
        blurry = [] if latent is None else [Show(LATENT, latent, self._named(BLURRY))]
        captioned = [self._captioned(source, machine)] if settings.captions else []
        drawn = [self._drawn(source, machine)] if settings.draws else []
        if settings.redraws:
            *encoded, last = self._redrawn(machine)
            before = [*drawn, *encoded]
        else:
            before, last = [], (*drawn, None)[0]
        if settings.blends:
            # The samples of a stimulus differ by what is drawn last: what is on the way is kept once for all of them.
            blend = Blend(self._last_drawn, BLURRY, settings.blurry_share, settings.picture_size)
            last = EachSample([last, blend])
        return [learned, *likely, *blurry, *captioned, *before, *([] if last is None else [last])]

    # Names

    @property
    def _last_drawn(self):
        """Name of the picture that is blended, or given."""
        settings = self.settings
        return REDRAWN if settings.redraws else DRAWN if settings.draws else BLURRY

    def _named(self, name):
        """Name of a picture, which is the output's if nothing is made of it."""
        return PICTURE if name == self._last_drawn and not self.settings.blends else name

    # Steps

    def _likely(self, learned, source):
        """The step from what the network gives to tokens that a picture could have."""
        settings = self.settings
        if settings.prior == "diffusion":
            evaluations = settings.prior_evaluations
            return Refine(learned, prior_of, ROUGH, LIKELY, source, evaluations, unit_token=False)
        if settings.prior == "nearest":
            return Remember(RETRIEVAL, LIKELY, source, settings.bank, settings.neighbours)
        return AsDecoded(ROUGH, LIKELY, source, unit_token=False)

    def _latent(self, machine):
        """The target of the blurry picture."""
        return self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents",
            "autoencoder",
            machine,
            size=self.settings.latent_size,
            interpolation="bilinear",
        )

    def _places(self, machine):
        """The teacher's target, or None."""
        own = self.settings.decoder
        if not (self.settings.has_latent and own.teacher):
            return None
        sees = {"size": own.teacher_size, "std": own.teacher_std}
        return self.target("stages.targets.place_features:PlaceFeatures", "teacher", machine, **sees)

    def _captioned(self, source, machine):
        """The step from likely tokens to a caption."""

        def load():
            captioner = part("stages.generators.language.bridged_captioner:BridgedCaptioner")
            folders = self.folder("bridge"), self.folder("captioner")
            return captioner.from_pretrained(*folders, machine.device, self.folder("tokenizer"), reads=LIKELY)

        return token_caption(load, LIKELY, CAPTION, self.settings.caption, {LIKELY: source})

    def _drawn(self, source, machine):
        """The step from likely tokens to a picture."""
        return redraw(
            "stages.generators.diffusion.unclip_xl:UnCLIPXLGenerator",
            lambda: self.folder("generator"),
            self.settings.generator,
            machine,
            {LIKELY: source},
            lambda present: {},
            start=None,
            arguments=lambda: {"picture_size": self.settings.picture_size, "n_tokens": source.outline.shape[0]},
            gives=self._named(DRAWN),
        )

    def _redrawn(self, machine):
        """The steps from a caption and a picture to the picture that is redrawn under the caption."""
        settings, encoded = self.settings, []
        place, text, context = (
            "stages.generators.diffusion.stable_diffusion_xl:StableDiffusionXLGenerator",
            None,
            CAPTION,
        )
        if settings.redraws_with == "stable-diffusion":
            place = "stages.generators.diffusion.stable_diffusion:StableDiffusionGenerator"
            text = self.target("stages.targets.diffusion_text:DiffusionTextTokens", "redrawer", machine)
            encoded, context = [Encode(CAPTION, TEXT, text)], TEXT
        start = DRAWN if settings.draws else BLURRY
        redrawn = redraw(
            place,
            lambda: self.folder("redrawer"),
            settings.redrawing,
            machine,
            {context: text},
            lambda present: {} if text is None else {TEXT: settings.redrawing.text_weight if TEXT in present else 0.0},
            start=start,
            arguments=lambda: {} if text is not None else self._of_sdxl(),
            needed=(),
            gives=self._named(REDRAWN),
            called={start: BLURRY},
            table="redrawing",
        )
        return [*encoded, redrawn]

    def _of_sdxl(self):
        """What Stable Diffusion XL is loaded with besides."""
        settings = self.settings
        led_away = {} if settings.negative is None else {"negative": settings.negative}
        return {"picture_size": settings.picture_size} | led_away


def _released():
    """How a file of the authors is read."""
    from stages.decoders.released import Released

    return Released("ridge.linears.{}.weight", _with_checked_noise)


def _with_checked_noise(tensors):
    """Tensors of the authors' file without the tables of the prior's noise process, which have to be ours."""
    from stages.priors.noise_process import NoiseProcess
    from stages.priors.published_noise import PREFIX, without_noise_tables

    return without_noise_tables(tensors, NoiseProcess(), f"diffusion_prior.{PREFIX}")
