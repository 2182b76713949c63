"""A method that decodes tokens by one network of several subjects, draws from them, and redraws under a caption.

After Scotti et al. (2024), "MindEye2": rough tokens lead a prior, whose samples are drawn by an unCLIP and said in a caption;
under that the drawn picture is redrawn in part, and a share of a decoded blurry picture is laid over it.
"""

from __future__ import annotations

from dataclasses import replace

from brainrecon.assembly.blend import Blend
from brainrecon.assembly.each_sample import EachSample
from brainrecon.assembly.encode import Encode
from brainrecon.assembly.likely_tokens import DIFFUSION, likely_tokens, names_of_tokens
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.shared_network import prior_of, shared_network
from brainrecon.assembly.shared_settings import (
    BLURRY,
    CAPTION,
    DRAWN,
    ENDS,
    LATENT,
    LIKELY,
    NOTHING,
    PICTURE,
    REDRAWN,
    RETRIEVAL,
    ROUGH,
    TEXT,
    SharedSettings,
)
from brainrecon.assembly.show import Show
from brainrecon.assembly.targets import part
from brainrecon.assembly.together_system import TogetherSystem
from brainrecon.assembly.token_caption import token_caption


class SharedSystem(TogetherSystem):
    """Such a method; a subclass is one of them, with a name and settings of its own.

    >>> SharedSystem.many_subjects, SharedSystem.image_embedding
    ('together', 'clip_retrieval')
    """

    settings_class = SharedSettings
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

    def steps(self, machine):
        settings = self.settings
        source = self.target("stages.targets.unclip_tokens:UnclipTokens", "clip", machine, greys=settings.greys)
        latent = self._latent(machine) if settings.has_latent else None
        learned = shared_network(
            names_of_tokens(settings, (ROUGH, RETRIEVAL), settings.reads_likely),
            source,
            settings.decoder if settings.prior == DIFFUSION else replace(settings.decoder, prior_weight=0.0),
            machine,
            "network",
            None if latent is None else (LATENT, latent),
            self._places(machine),
            released=self.released(),
            averages=settings.averages,
            n_trials=settings.n_trials,
            **self.of_network(machine),
        )
        likely = likely_tokens(settings, learned, prior_of, (ROUGH, RETRIEVAL), LIKELY, source, unit_token=False)
        likely = [likely] if settings.reads_likely else []
        blurry = [] if latent is None else [Show(LATENT, latent, self._named(BLURRY))]
        pivoted = self.pivoted(learned)
        captioned = self.captioned(source, machine) if settings.captions else []
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
        return [learned, *likely, *blurry, *pivoted, *captioned, *before, *([] if last is None else [last])]

    # What a subclass may do otherwise

    def of_network(self, machine):
        """Further arguments of `brainrecon.assembly.shared_network.shared_network`."""
        return {}

    def released(self):
        """How a file is read in which the network was released, `stages.decoders.released.Released`, or None."""
        return None

    def pivoted(self, learned):
        """Steps from tokens to texts; `learned` is the step of the network."""
        return []

    def captioned(self, source, machine):
        """The steps to a caption."""

        def load():
            captioner = part("stages.generators.language.bridged_captioner:BridgedCaptioner")
            folders = self.folder("bridge"), self.folder("captioner")
            return captioner.from_pretrained(*folders, machine.device, self.folder("tokenizer"), reads=LIKELY)

        return [token_caption(load, LIKELY, CAPTION, self.settings.caption, {LIKELY: source})]

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
