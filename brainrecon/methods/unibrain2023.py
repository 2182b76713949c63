"""UniBrain (Mai & Zhang, arXiv 2308.07428): picture and caption by the two flows of one Versatile Diffusion.

Ridge regression takes patterns to four values: the autoencoder's latent of the picture, Optimus' latent of the caption, and
CLIP's tokens of both. The picture begins with the first latent, the caption with the second one; both are noised to 37 of 50
steps and denoised under the same two contexts, mixed otherwise.

The authors released no code. Order of operations and defaults are those of Versatile Diffusion and of Brain-Diffuser where the
paper is silent; docs/systems/unibrain2023.md says which.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.draw import Draw
from brainrecon.assembly.dual_context import dual_context
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.registry import system
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import part
from stages.ground.checks import Number, OneOf, check, check_all
from stages.ground.errors import InputError

# As the generators call them: Z_I and Z_T of the paper, C_I and C_T.
LATENT, TEXT_LATENT, IMAGE, TEXT = "first_latent", "optimus", "clip_image", "clip_text"
OUTPUTS = ("picture", "caption")
# Checkpoints that captions alone are read or written with.
_OF_CAPTIONS = ("text_flow", "optimus", "reads_with", "writes_with")
_RULES = {
    "output": OneOf(*OUTPUTS),
    "vision_weight": Number(0, 1, example=0.6),
    "latent_posterior": OneOf("sample", "mean"),
    "noised_to": OneOf("first step", "step before"),
    "unconditional": OneOf("zeros", "stored"),
    "clip_pictures": OneOf("enlarged", "direct"),
    "text_padding": OneOf("end", "zero"),
}
_CAPTION_RULES = {
    "strength": Number(0, 1, example=0.75),
    "num_inference_steps": Number(1, whole=True, example=50),
    "guidance_scale": Number(float("-inf"), optional=True, example=7.5),
    "vision_weight": Number(0, 1, example=0.9),
    "writing": OneOf("by lot", "greedy"),
    "temperature": Number(0, above=True, example=1.0),
    "max_length": Number(2, whole=True, example=30),
    "repetitions": OneOf("words and sentences", "words", "kept"),
}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`; the last four are for captions alone."""

    clip: str = "clip-vit-l-14-quickgelu"
    generator: str = "versatile-diffusion"
    text_flow: str = "versatile-diffusion-text-flow"
    optimus: str = "optimus"
    reads_with: str = "bert-base-cased-tokenizer"
    writes_with: str = "gpt2-tokenizer"


@dataclass(frozen=True)
class CaptionSettings:
    """How a caption is written.

    Attributes
    ----------
    strength : float
        Share of the denoising steps that are taken from the decoded latent: 0 keeps it, 1 ignores it.
    num_inference_steps : int
        Steps from noise to a latent.
    guidance_scale : float, optional
        The checkpoint's own, 7.5, if none is given.
    vision_weight : float
        Share of the image context's attention; the text context has the rest.
    writing : {"by lot", "greedy"}
        Draw each token by its probability, or take the most probable one.
    temperature : float
        Of the lot.
    max_length : int
        Tokens of a caption with its beginning and its end.
    repetitions : {"words and sentences", "words", "kept"}
        Which are removed: words that stand twice in a row, as Versatile Diffusion does, and sentences too, as the paper says.
    """

    strength: float = 0.75
    num_inference_steps: int = 50
    guidance_scale: float | None = None
    vision_weight: float = 0.9
    writing: str = "by lot"
    temperature: float = 1.0
    max_length: int = 30
    repetitions: str = "words and sentences"

    def __post_init__(self):
        check_all(self, _CAPTION_RULES, where="caption")

    @property
    def drawing(self):
        """What the captioner's `draw` is told, its weights excepted."""
        return {name: getattr(self, name) for name in _CAPTION_RULES if name != "vision_weight"}


@dataclass(frozen=True)
class UniBrainSettings:
    """All settings of the method.

    Attributes
    ----------
    output : {"picture", "caption"}
        What is drawn. A run has one of them and decodes what that needs.
    generator : GeneratorSettings
        Of pictures; `vision_weight` stands for its `image_weight` and `text_weight`. Captions take the precision of its
        acceleration.
    vision_weight : float
        Of pictures: share of the image context's attention; the text context has the rest.
    latent_size : int
        Side in pixels of the pictures whose latents are decoded.
    latent_posterior : {"sample", "mean"}
        What of the autoencoder's posterior the latents are; Versatile Diffusion draws a sample.
    latent_seed : int
        Of the samples.
    noised_to : {"step before", "first step"}
        Noise both latents to the timestep before the one that is denoised first, as Versatile Diffusion does, or to that one.
    unconditional : {"stored", "zeros"}
        What guidance's unconditional half of pictures reads: a grey picture and the empty text, or zeros.
    clip_pictures : {"enlarged", "direct"}
        Pictures are prepared for CLIP as Versatile Diffusion does, or by CLIP's own preprocessing alone.
    text_padding : {"end", "zero"}
        What follows a caption's end token: the end token again, as in Versatile Diffusion, or zeros.
    text_context : bool
        Decode the text context too; off if a dataset has no captions, which leaves pictures alone.
    """

    output: str = "picture"
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    generator: GeneratorSettings = field(default_factory=lambda: GeneratorSettings(greys="cut off"))
    caption: CaptionSettings = field(default_factory=CaptionSettings)
    vision_weight: float = 0.6
    latent_size: int = 512
    latent_posterior: str = "sample"
    latent_seed: int = 42
    noised_to: str = "step before"
    unconditional: str = "stored"
    clip_pictures: str = "enlarged"
    text_padding: str = "end"
    text_context: bool = True

    def __post_init__(self):
        for name, rule in _RULES.items():
            check(name, getattr(self, name), rule, typed="--set {name}={example}")
        usual = GeneratorSettings()
        for name in ("image_weight", "text_weight"):
            if (given := getattr(self.generator, name)) != getattr(usual, name):
                raise InputError(
                    f"generator.{name} is {given} but vision_weight ({self.vision_weight}) says how contexts are mixed here; "
                    "leave it out, and pass --set vision_weight=0.6."
                )
        if self.output == "caption" and not self.text_context:
            raise InputError(
                "output is 'caption' but text_context is false, and captions are decoded from the text's latent and context; "
                "give captions with --captions FILE, or pass --set output=picture."
            )


@system
class UniBrain2023(System):
    """One regression for four values, and one diffusion model for pictures and captions."""

    name = "unibrain2023"
    explanation = (
        "decoded latent redrawn under decoded image and text contexts; with output=caption, a sentence instead"
    )
    citation = (
        "Mai, W. & Zhang, Z. (2023). UniBrain: Unify image reconstruction and captioning all in one diffusion model from human "
        "brain activity. arXiv 2308.07428."
    )
    settings_class = UniBrainSettings
    evidence = Evidence(
        "no code is published; Optimus equals transformers' BERT and GPT-2, the text flow diffusers' own, and denoising "
        "Versatile Diffusion's order of operations on random weights; published weights not read",
        ("simulated NSD",),
    )
    protocol = "brain-diffuser-2023"
    image_embedding = IMAGE
    without_captions = {"text_context": False}
    tiny = {
        "checkpoints": {"clip": "tiny-clip", "generator": "tiny-generator", "text_flow": "tiny-text-flow"}
        # It holds the words of both ends, too.
        | dict.fromkeys(("optimus", "reads_with", "writes_with"), "tiny-optimus"),
        "latent_size": 64,
        "text_padding": "zero",
        # As the embedded networks were trained and measured.
        "clip_pictures": "direct",
        "generator": {"greys": "rounded"},
        "caption": {"guidance_scale": 2.0, "writing": "greedy"},
    }
    of_drawing = ("generator", "caption", "vision_weight", "noised_to", "unconditional")

    def __init__(self, settings=None):
        super().__init__(settings)
        self.output = self.settings.output
        if self.output == "caption":
            self.protocol = "brainhub-2024"
            self.explanation = (
                "the decoded latent of a text, denoised under decoded image and text contexts and written by Optimus"
            )

    @property
    def generator_size(self):
        # What is known of it is about pictures.
        return None if self.output == "caption" else super().generator_size

    @property
    def _roles(self):
        roles = super()._roles
        return roles if self.output == "caption" else {one: roles[one] for one in roles if one not in _OF_CAPTIONS}

    def steps(self, machine):
        settings = self.settings
        contexts = {
            IMAGE: self.target("stages.targets.clip:CLIPImageTokens", "clip", machine, pictures=settings.clip_pictures)
        }
        if settings.text_context:
            padding = settings.text_padding
            contexts[TEXT] = self.target("stages.targets.clip:CLIPTextTokens", "clip", machine, padding=padding)
        left_out = () if settings.text_context else (TEXT,)
        if self.output == "caption":
            latent = self._text_latent(machine)
            decode = Decode({TEXT_LATENT: latent} | contexts, settings.decoder, machine)
            return [decode, self._written(latent, contexts, machine)]
        latent = self._latent(machine)
        return [
            Decode({LATENT: latent} | contexts, settings.decoder, machine, left_out=left_out),
            Show(LATENT, latent),
            dual_context(
                self, contexts, machine, LATENT, self._arguments, lambda present: self._shares(settings.vision_weight)
            ),
        ]

    def _latent(self, machine):
        settings = self.settings
        return self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents",
            "generator",
            machine,
            size=settings.latent_size,
            posterior=settings.latent_posterior,
            sample_seed=settings.latent_seed,
            greys=settings.generator.greys,
        )

    def _text_latent(self, machine):
        """The target of sentences; its words lie in a folder of their own."""
        return self.target("stages.targets.optimus:OptimusLatents", "optimus", machine, {"tokenizer": "reads_with"})

    def _written(self, latent, contexts, machine):
        """The step from the text's latent and both contexts to a caption."""
        caption = self.settings.caption
        return Draw(
            lambda: self._captioner(machine),
            (TEXT_LATENT,),
            tuple(contexts),
            gives="caption",
            medium="caption",
            options=lambda present: caption.drawing | {"weights": self._shares(caption.vision_weight)},
            # Rounding may change a word.
            at_a_time=lambda generator: 1,
            targets={TEXT_LATENT: latent} | contexts,
        )

    def _captioner(self, machine):
        return part("stages.generators.language.optimus_flow:OptimusFlowCaptioner").from_pretrained(
            *(self.folder(role) for role in ("generator", "text_flow", "optimus", "writes_with")),
            device=machine.device,
            acceleration=self.settings.generator.acceleration,
            noised_to=self.settings.noised_to,
        )

    @staticmethod
    def _shares(vision_weight):
        """Shares of both contexts; one that is absent leaves its own to the other."""
        return {IMAGE: vision_weight, TEXT: 1.0 - vision_weight}

    def _arguments(self):
        from stages.generators.diffusion.start_rule import StartRule

        settings = self.settings
        return {"start": StartRule(noised_to=settings.noised_to), "unconditional": settings.unconditional}
