"""See Through Their Minds (Liu et al., AAAI 2025): a shallow adapter for each subject before one network that all share.

The shared network makes rough CLIP tokens of a response, of which a projector makes tokens for retrieval. Their contrast looks at
each subject's samples first and at all subjects' after; the first token is held to a caption, too. A prior looks at the rough
tokens, most of which training hides from it, and makes likely ones, under which Versatile Diffusion redraws a blurry picture. Of
several such pictures the one is kept whose tokens are nearest to the retrieval tokens. Of a new subject the adapter alone is
learned.

docs/systems/sttm2024.md says what the scripts do, which of their slips are mended here, and what is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.candidates import Candidates
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.image_drawing import DRAWINGS, EMBEDDINGS
from brainrecon.assembly.likely_tokens import DIFFUSION, LikelyTokensSettings, likely_tokens, names_of_tokens
from brainrecon.assembly.registry import system
from brainrecon.assembly.settings import filled_in
from brainrecon.assembly.shallow_adapters import AVERAGED, NONE, ShallowAdapterSettings, behind_adapters, prior_of
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import System
from brainrecon.assembly.together_system import TogetherSystem
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

ROUGH, RETRIEVAL, LIKELY, LATENT = "clip_rough", "clip_retrieval", "clip_image", "sd_latent"
START = "first_picture"
# What a run may end in -> the value.
ENDS = {"picture": "picture", "tokens": RETRIEVAL}
_WAY = DRAWINGS["versatile-diffusion"]


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`; those that are not given are the published ones that the settings ask for.

    Attributes
    ----------
    clip : str, optional
        Of the tokens, and of the captions' vectors.
    generator : str, optional
    autoencoder : str, optional
        Of the blurry picture.
    """

    clip: str | None = None
    generator: str | None = None
    autoencoder: str | None = None


@dataclass(frozen=True)
class STTMSettings(LikelyTokensSettings):
    """All settings of the method; what makes tokens likely, as `brainrecon.assembly.likely_tokens.LikelyTokensSettings` says.

    Attributes
    ----------
    output : {"picture", "tokens"}
        What a run ends in; "tokens" is retrieval alone.
    decoder : ShallowAdapterSettings
    prior_guidance : float
        Of the prior, away from tokens without brain and without noisy tokens; 1 for none.
    blurry : bool
        Whether drawing starts from a decoded blurry picture; else from noise.
    latent_size : int, optional
        Side in pixels of the pictures whose latents are decoded; that of the autoencoder's configuration, if none is given.
    generator : GeneratorSettings
    candidates : int
        Pictures of which the best is kept.
    start_pixels : {"for CLIP", "as they are"}
        The scripts encode the blurry picture after CLIP's normalisation.
    unconditional : {"zeros", "stored"}
        What guidance's unconditional half of Versatile Diffusion reads: zeros, as published, or what is stored with it.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    output: str = "picture"
    decoder: ShallowAdapterSettings = field(default_factory=ShallowAdapterSettings)
    prior_guidance: float = 1.0
    blurry: bool = True
    latent_size: int | None = None
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=0.85,
            num_inference_steps=20,
            guidance_scale=3.5,
            image_weight=1.0,
            text_weight=0.0,
            scheduler="unipc",
        )
    )
    candidates: int = 16
    start_pixels: str = "for CLIP"
    unconditional: str = "zeros"

    def __post_init__(self):
        rules = {
            "output": OneOf(*ENDS),
            "prior_guidance": Number(0, example=1.0),
            "candidates": Number(1, whole=True),
            "start_pixels": OneOf("for CLIP", "as they are"),
            "unconditional": OneOf("zeros", "stored"),
        }
        check_all(self, rules)
        self.check_prior()
        if self.prior != DIFFUSION and (self.decoder.prior_epochs or self.prior_guidance != 1):
            raise InputError(
                f"prior is {self.prior!r} but decoder.prior_epochs {self.decoder.prior_epochs} and prior_guidance "
                f"{self.prior_guidance} are of a diffusion prior; pass --set prior=diffusion, or leave both out."
            )
        named = {"clip": _WAY.clip}
        if self.has_picture:
            named["generator"] = _WAY.checkpoint
        if self.has_latent:
            named["autoencoder"] = "sd-image-variations-autoencoder"
        object.__setattr__(self, "checkpoints", filled_in(self.checkpoints, named))

    @property
    def has_picture(self):
        """Whether a run ends in a picture."""
        return self.output == "picture"

    @property
    def has_latent(self):
        """Whether the latent of a blurry picture is learned."""
        return self.blurry and self.has_picture


@system
class STTM2024(TogetherSystem):
    """The method of one subject or of several, at its published settings."""

    name = "sttm2024"
    explanation = (
        "a shallow adapter for each subject, shared tokens that learn across subjects, a prior with a hidden memory"
    )
    citation = (
        "Liu, Y. et al. (2025). See through their minds: learning transferable brain decoding models from cross-subject fMRI. "
        "AAAI 2025."
    )
    settings_class = STTMSettings
    evidence = Evidence(
        "network, losses and prior equal the formulas of the authors' code on random weights; the blurry picture's training and "
        "that of the transfer are not published and guessed; no published scores are known",
        ("simulated NSD",),
        (),
    )
    protocol = "mindeye-2023"
    image_embedding = RETRIEVAL
    compared_by = {LIKELY: RETRIEVAL}
    without_captions = {"decoder": {"captions": NONE}}
    without_captions_note = (
        "No captions: the first token is held to the pictures' alone (decoder.captions = 'none' in config.toml)."
    )
    of_drawing = (
        *System.of_drawing,
        *("prior_evaluations", "prior_guidance", "candidates", "start_pixels", "unconditional"),
    )
    tiny = {
        "checkpoints": {"clip": "tiny-clip", "generator": "tiny-generator", "autoencoder": "tiny-generator"},
        "candidates": 2,
        "prior_evaluations": 20,
        "start_pixels": "as they are",
        "unconditional": "stored",
        "decoder": {
            "epochs": 40,
            "hidden": 512,
            "n_blocks": 2,
            "narrow": 32,
            "attention_heads": 4,
            "attention_width": 16,
            "between": 256,
            "projected": 256,
            "prior_depth": 2,
            "prior_heads": 4,
            "prior_feed_forward": 256,
            "learning_rate": 1e-3,
            "latent_blocks": 1,
            "map_channels": 32,
            "channels": [32, 32, 64],
        },
    }

    def __init__(self, settings=None):
        super().__init__(settings)
        self.output = ENDS[self.settings.output]
        if self.output == RETRIEVAL:
            self.explanation = "retrieval alone: tokens of several subjects that are trained by contrast"

    @property
    def notes(self):
        settings, found = self.settings, []
        if settings.has_latent:
            found.append(
                "How the network of the blurry picture is trained is not published; its training here is a guess."
            )
        if settings.has_picture and settings.prior != "diffusion":
            found.append(f"A variant that nobody published: prior {settings.prior}.")
        return tuple(found)

    def steps(self, machine):
        settings, source = self.settings, self.target(EMBEDDINGS["tokens"], "clip", machine)
        latent = self._latent(machine) if settings.has_latent else None
        learned = behind_adapters(
            names_of_tokens(settings, (ROUGH, RETRIEVAL), settings.has_picture),
            source,
            settings.decoder if settings.prior == DIFFUSION else replace(settings.decoder, prior_weight=0.0),
            machine,
            "network",
            None if latent is None else (LATENT, latent),
            self._captions(machine),
        )
        if not settings.has_picture:
            return [learned]
        names, start = (ROUGH, RETRIEVAL), None if latent is None else START
        likely = likely_tokens(settings, learned, prior_of, names, LIKELY, source, True, settings.prior_guidance)
        draw = _WAY.step(LIKELY, source, self.folder, settings.generator, machine, start, self._arguments)
        blurry = [] if latent is None else [Show(LATENT, latent)]
        # What candidates differ by lies behind what is the same for all of them.
        before, inside = ([likely], [draw]) if likely.is_learned else ([], [likely, draw])
        if settings.candidates > 1:
            inside = [Candidates(inside, settings.candidates, source, RETRIEVAL)]
        return [learned, *blurry, *before, *inside]

    def _captions(self, machine):
        """The target of the captions' vectors, or None."""
        own = self.settings.decoder
        if own.captions == NONE:
            return None
        if own.captions == AVERAGED:
            return self.target("stages.targets.clip:CLIPTextVector", "clip", machine)
        place = "stages.targets.caption_vectors:CLIPCaptionVectors"
        return self.target(place, "clip", machine, n_captions=own.n_captions)

    def _latent(self, machine):
        """The target of the blurry picture."""
        return self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents",
            "autoencoder",
            machine,
            size=self.settings.latent_size,
            interpolation="bilinear",
        )

    def _arguments(self):
        from stages.generators.diffusion.start_rule import StartRule

        settings = self.settings
        start = StartRule(posterior="sample", pixels=settings.start_pixels)
        return {"start": start, "unconditional": settings.unconditional}
