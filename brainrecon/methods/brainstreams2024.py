"""Brain-Streams (Joo, Jeong & Hwang, 2024), as far as its abstract tells: semantic regions say what, perceptual ones where.

Text is decoded from semantic regions, CLIP's image tokens and the autoencoder's latent from perceptual ones, each by a head of
its own that reads the voxels of its region alone. Versatile Diffusion starts from the latent, under text and image. Only the
abstract was found: a re-implementation from the abstract; routing, sizes and settings are guesses, and
docs/systems/brainstreams2024.md marks each.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.blurry_latent import LatentSettings, blurry_latent
from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.dual_context import dual_context
from brainrecon.assembly.encode import Encode
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.latent_caption import CAPTION, CaptionSettings, latent_caption
from brainrecon.assembly.refine_caption import RefinementSettings
from brainrecon.assembly.region_voxels import region_of
from brainrecon.assembly.registry import system
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import part
from brainrecon.assembly.token_heads import LENGTHS, MEAN_AND_SPREAD, OF_TRAINING, HeadSettings, token_head, vector_head
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

# As the generators call them.
TEXT, IMAGE, LAYOUT, TEXT_LATENT = "clip_text", "clip_image", "first_latent", "optimus"
# What is decoded -> its folder, and its row of `Regions`.
HEADS = {TEXT: "text", TEXT_LATENT: "caption", IMAGE: "image", LAYOUT: "layout"}
NETWORK, RIDGE = "network", "ridge"
BY_STREAM, ALL_VOXELS = "by stream", "all voxels"
TOKENS = "tokens"
# Of 8,859 pictures, one in 20 held out, in batches of 50.
_STEPS_PER_EPOCH = 168
# Checkpoints that captions alone are read or written with.
_OF_CAPTIONS = ("optimus", "reads_with", "writes_with")


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`; the last three are for captions alone."""

    clip: str = "clip-vit-l-14-quickgelu"
    generator: str = "versatile-diffusion"
    optimus: str = "optimus"
    reads_with: str = "bert-base-cased-tokenizer"
    writes_with: str = "gpt2-tokenizer"


@dataclass(frozen=True)
class Regions:
    """Voxels that each value is decoded from, of those that the subject was loaded with; a voxel may stand in several.

    Attributes
    ----------
    text, caption : str
        Of the text's tokens, and of the latent that captions are written from: semantic regions.
    image, layout : str
        Of the image's tokens, and of the latent that drawing starts from: perceptual regions.
    """

    text: str = "ventral + lateral + parietal"
    caption: str = "ventral + lateral + parietal"
    image: str = "early"
    layout: str = "early"


@dataclass(frozen=True)
class BrainStreams2024Settings:
    """All settings of the method.

    Attributes
    ----------
    output : {"picture", "caption"}
        What a run ends in. It decodes what that needs.
    routing : {"by stream", "all voxels"}
        Each head reads its row of `regions`, or all of them every voxel, for comparison.
    regions : Regions
    estimator : {"network", "ridge"}
        What the heads are: trained networks, or ridge regressions.
    decoder : HeadSettings
        Of a network, the layout's excepted.
    layout : LatentSettings
        Of the layout's network.
    ridge : DecoderSettings
        Of a ridge regression.
    lengths : {"training", "first token", "mean and spread"}
        What tokens that a network gives are brought to, see `brainrecon.assembly.token_heads.token_head`.
    text_source : {"tokens", "caption"}
        The text context: decoded tokens, or those of the caption that is written from the decoded latent.
    text_context : bool
        Whether there is a text context; off if a dataset has no captions.
    caption : CaptionSettings
    refinement : brainrecon.assembly.refine_caption.RefinementSettings
        Whether a local language model rewrites decoded captions.
    generator : GeneratorSettings
        `image_weight` and `text_weight` are the shares of both contexts.
    latent_size : int
        Side in pixels of the pictures whose latents are decoded.
    latent_posterior : {"mean", "sample"}
        What of the autoencoder's posterior they are.
    latent_seed : int
        Of the samples.
    noised_to : {"first step", "step before"}
        Noise the latent to the timestep that is denoised first, or to the one before, as Brain-Diffuser's script does.
    unconditional : {"stored", "zeros"}
        What guidance's unconditional half reads: a grey picture and the empty text, or zeros.
    clip_pictures : {"direct", "enlarged"}
        Pictures are prepared for CLIP by its own preprocessing, or as Brain-Diffuser's targets were.
    text_padding : {"end", "zero"}
        What follows a caption's end token: the end token again, as in Versatile Diffusion, or zeros.
    """

    output: str = "picture"
    routing: str = BY_STREAM
    regions: Regions = field(default_factory=Regions)
    estimator: str = NETWORK
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: HeadSettings = field(default_factory=HeadSettings)
    layout: LatentSettings = field(
        default_factory=lambda: LatentSettings(
            epochs=200,
            batch_size=50,
            learning_rate=3e-4,
            validation=0.05,
            seed=42,
            hidden=2048,
            trials="averaged",
            teacher=False,
        )
    )
    ridge: DecoderSettings = field(default_factory=DecoderSettings)
    lengths: str = OF_TRAINING
    text_source: str = TOKENS
    text_context: bool = True
    caption: CaptionSettings = field(default_factory=CaptionSettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(guidance_scale=7.5, scheduler="ddim")
    )
    latent_size: int = 512
    latent_posterior: str = "mean"
    latent_seed: int = 42
    noised_to: str = "first step"
    unconditional: str = "stored"
    clip_pictures: str = "direct"
    text_padding: str = "end"

    def __post_init__(self):
        rules = {
            "output": OneOf("picture", CAPTION),
            "routing": OneOf(BY_STREAM, ALL_VOXELS),
            "estimator": OneOf(NETWORK, RIDGE),
            "lengths": OneOf(*LENGTHS),
            "text_source": OneOf(TOKENS, CAPTION),
            "text_context": OneOf(True, False),
            "latent_size": Number(1, whole=True, example=512),
            "latent_posterior": OneOf("mean", "sample"),
            "noised_to": OneOf("first step", "step before"),
            "unconditional": OneOf("stored", "zeros"),
            "clip_pictures": OneOf("direct", "enlarged"),
            "text_padding": OneOf("end", "zero"),
        }
        check_all(self, rules)
        if self.layout.teacher:
            raise InputError(
                "layout.teacher is true but no teacher stands beside the layout here; pass --set layout.teacher=false."
            )
        if not self.text_context and (self.output == CAPTION or self.text_source == CAPTION):
            raise InputError(
                f"text_context is false with output {self.output!r} and text_source {self.text_source!r}, which learn from "
                "captions; give some with --captions FILE, or pass --set output=picture --set text_source=tokens."
            )
        if self.refinement.model and not self.captions:
            raise InputError(
                f"refinement.model is {self.refinement.model!r} but no caption is written with output 'picture' and text_source "
                "'tokens'; pass --set text_source=caption, or leave refinement.model out."
            )

    @property
    def captions(self):
        """Whether captions are written."""
        return self.output == CAPTION or self.text_source == CAPTION

    @property
    def decoded(self):
        """What is decoded, in order."""
        if self.output == CAPTION:
            return (TEXT_LATENT,)
        text = () if not self.text_context else (TEXT_LATENT,) if self.text_source == CAPTION else (TEXT,)
        return (*text, IMAGE, LAYOUT)

    def roi(self, name):
        """Region that a value is decoded from."""
        return "all" if self.routing == ALL_VOXELS else getattr(self.regions, HEADS[name])


@system
class BrainStreams2024(System):
    """Text from semantic regions, image tokens and layout from perceptual ones, and one diffusion under all three."""

    name = "brainstreams2024"
    explanation = (
        "a reimplementation of an abstract: diffusion under text of semantic, image and layout of perceptual regions"
    )
    citation = (
        "Joo, J., Jeong, T. & Hwang, S. (2024). Brain-Streams: fMRI-to-image reconstruction with multi-modal guidance. "
        "arXiv 2409.12099."
    )
    settings_class = BrainStreams2024Settings
    evidence = Evidence(
        "only the abstract was found, so that regions, sizes and settings are guesses; routing is exact to the bit, drawing "
        "is that of brain-diffuser and unibrain2023",
        ("simulated NSD",),
    )
    protocol = "brain-diffuser-2023"
    image_embedding = IMAGE
    without_captions = {"text_context": False}
    of_drawing = ("generator", "checkpoints.generator", "caption", "refinement", "noised_to", "unconditional")
    tiny = {
        "checkpoints": {"clip": "tiny-clip", "generator": "tiny-generator"}
        # It holds the words of both ends, too.
        | dict.fromkeys(("optimus", "reads_with", "writes_with"), "tiny-optimus"),
        "latent_size": 64,
        "text_padding": "zero",
        "estimator": "ridge",
        # Of networks, whose tokens are of another mean than true ones.
        "lengths": MEAN_AND_SPREAD,
        "generator": {"guidance_scale": 3.5},
        "decoder": {
            "epochs": 40,
            "batch_size": 50,
            "hidden": 512,
            "n_blocks": 2,
            "projected": 256,
            "learning_rate": 1e-3,
        },
        "layout": {
            "epochs": 40,
            "batch_size": 50,
            "hidden": 256,
            "n_blocks": 2,
            "map_channels": 32,
            "channels": [32, 32, 64],
            "learning_rate": 1e-3,
        },
    }

    def __init__(self, settings=None):
        super().__init__(settings)
        self.output = self.settings.output
        if self.output == CAPTION:
            # No value that pictures could be compared by is decoded.
            self.protocol, self.image_embedding = "brainhub-2024", None
            self.explanation = (
                "a reimplementation of an abstract: a caption from the latent of a text, decoded from semantic regions"
            )

    @property
    def notes(self):
        found = [
            "Only the abstract of Brain-Streams was found: a re-implementation from the abstract; routing, sizes and settings "
            "are guesses, and docs/systems/brainstreams2024.md lists them."
        ]
        if self.settings.refinement.model:
            found.append(
                "A language model rewrote the decoded captions, and can add what no response told: compare with the scores "
                "without it (--set refinement.model=)."
            )
        return tuple(found)

    @property
    def generator_size(self):
        return None if self.output == CAPTION else super().generator_size

    @property
    def _roles(self):
        roles, settings = super()._roles, self.settings
        left_out = () if settings.captions else _OF_CAPTIONS
        if settings.output == CAPTION:
            left_out = ("clip", "generator")
        return {one: name for one, name in roles.items() if one not in left_out}

    def settled(self, train):
        settings, decoded = self.settings, self.settings.decoded
        if settings.estimator == RIDGE:
            return settings
        head, layout = (_with_someone_held_out(one, train) for one in (settings.decoder, settings.layout))
        return replace(
            settings,
            decoder=head.settled(train),
            layout=layout.settled(train) if LAYOUT in decoded else settings.layout,
        )

    def settled_by(self, subject):
        # Refused now rather than after another head was trained.
        for name in self.settings.decoded:
            region_of(subject, self.settings.roi(name))
        return super().settled_by(subject)

    def steps(self, machine):
        settings = self.settings
        targets = {name: self._target(name, machine) for name in settings.decoded}
        steps = [step for name, source in targets.items() for step in self._decoded(name, source, machine)]
        if settings.captions:
            steps += self._captioned(targets[TEXT_LATENT], machine)
        if settings.output == CAPTION:
            return steps
        contexts = {name: targets[name] for name in (TEXT, IMAGE) if name in targets}
        if settings.captions:
            contexts = {TEXT: self._target(TEXT, machine)} | contexts
            steps.append(Encode(CAPTION, TEXT, contexts[TEXT]))
        return [*steps, Show(LAYOUT, targets[LAYOUT]), self._drawn(contexts, machine)]

    # What is decoded

    def _target(self, name, machine):
        settings = self.settings
        own = settings.ridge if settings.estimator == RIDGE else settings.layout if name == LAYOUT else settings.decoder
        return replace(self._full_target(name, machine), dtype=own.features)

    def _full_target(self, name, machine):
        settings = self.settings
        if name == TEXT:
            return self.target("stages.targets.clip:CLIPTextTokens", "clip", machine, padding=settings.text_padding)
        if name == IMAGE:
            return self.target("stages.targets.clip:CLIPImageTokens", "clip", machine, pictures=settings.clip_pictures)
        if name == TEXT_LATENT:
            return self.target("stages.targets.optimus:OptimusLatents", "optimus", machine, {"tokenizer": "reads_with"})
        return self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents",
            "generator",
            machine,
            size=settings.latent_size,
            posterior=settings.latent_posterior,
            sample_seed=settings.latent_seed,
            greys=settings.generator.greys,
        )

    def _decoded(self, name, source, machine):
        """The steps from the voxels of a region to one value; nothing in them is another head's."""
        settings, folder, roi = self.settings, HEADS[name], self.settings.roi(name)
        if settings.estimator == RIDGE:
            others = tuple(one for one in HEADS if one != name)
            return [Decode({name: source}, settings.ridge, machine, folder, left_out=others, roi=roi)]
        if name == LAYOUT:
            own, table = settings.layout, "layout"
            return [blurry_latent(LAYOUT, source, own, _STEPS_PER_EPOCH, machine, folder, table=table, roi=roi)]
        arguments = name, source, settings.decoder, _STEPS_PER_EPOCH, machine, folder, roi
        return [vector_head(*arguments)] if name == TEXT_LATENT else token_head(*arguments, settings.lengths)

    # What is made of it

    def _captioned(self, latent, machine):
        """The steps from the text's latent to a caption, which a language model may rewrite."""
        settings = self.settings

        def load():
            writer = part("stages.generators.language.optimus_writer:OptimusWriter")
            return writer.from_pretrained(self.folder("optimus"), self.folder("writes_with"), machine.device)

        return latent_caption(load, TEXT_LATENT, latent, settings.caption, settings.refinement, machine)

    def _drawn(self, contexts, machine):
        """The last step, from the layout under all contexts."""
        return dual_context(self, contexts, machine, LAYOUT, self._arguments)

    def _arguments(self):
        from stages.generators.diffusion.start_rule import StartRule

        settings = self.settings
        return {"start": StartRule(noised_to=settings.noised_to), "unconditional": settings.unconditional}


def _with_someone_held_out(settings, train):
    """Settings whose share for validation is one stimulus at least, unless it is none."""
    if not settings.validation:
        return settings
    return replace(settings, validation=max(settings.validation, min(1 / train.n_stimuli, 0.5)))
