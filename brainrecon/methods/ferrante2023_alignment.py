"""Through Their Eyes (Ferrante, Boccato, Ozcelik, VanRullen & Toschi, Imaging Neuroscience 2024): one decoder, several brains.

A decoder of Brain-Diffuser's kind is fitted on one subject. Another subject's responses are brought into that one's voxels, by
ridge, a rotation, or anatomy alone, fitted on pictures that both saw, and are decoded there. Versatile Diffusion draws under
both decoded contexts from noise that the decoded first picture biases a little.

The published alignment is fitted on 952 of the 982 pictures that are then tested, the reference's own responses to them
included, so that it can hand these to the decoder. Here no tested stimulus takes part: a share of what both saw is learned
from, the rest is tested (``--split shared:0.5``). Other departures, each for a reason: the rotation is the one that the method
means; statistics are those of the alignment stimuli; a pattern is rescaled alone as in a batch; VDVAE targets are posterior
means; everything that is drawn has a seed. docs/systems/ferrante2023-alignment.md has all of them, and the settings that are
the published way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.align import ALIGNED_PATTERNS, Align
from brainrecon.assembly.alignment_settings import AlignmentSettings
from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.dual_context import dual_context
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.registry import system
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import System
from brainrecon.assembly.vdvae_settings import VDVAESettings
from stages.ground.checks import Number, OneOf, check

ALPHAS = {"vdvae": 5e4, "clip_image": 6e4, "clip_text": 1e5}
# Mean and standard deviation of greys with which pictures enter the VDVAE's encoder, and where latents are cut off.
GREYS, FARTHEST = (110.0, 69.0), 10.0
_RULES = {
    "n_captions": Number(1, whole=True),
    "vdvae_targets": OneOf("scripts", "checkpoint"),
    "clip_pictures": OneOf("enlarged", "direct"),
    "text_padding": OneOf("end", "zero"),
    "start": OneOf("into noise", "by the schedule"),
    "start_posterior": OneOf("mode", "sample"),
    "unconditional": OneOf("black", "checkpoint"),
}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`."""

    vdvae: str = "vdvae-imagenet64"
    clip: str = "clip-vit-l-14-quickgelu"
    generator: str = "versatile-diffusion"


@dataclass(frozen=True)
class CrossSubjectSettings:
    """All settings of the method.

    Stage two as published: all of 37 steps, 0.6 image context and 0.4 text context, guidance 7.5 (the checkpoint's own).

    Attributes
    ----------
    decoder : DecoderSettings
        Fitted on the reference. Penalties are the published ones; rescaling is by statistics of the training stimuli's own
        predictions, of a pattern by itself too (``decoder.rescale = "training_unless_alone"`` is the published way).
    n_captions : int
        How many captions of a picture count, the first ones.
    vdvae_targets : {"scripts", "checkpoint"}
        Pictures enter the VDVAE's encoder with mean 110 and standard deviation 69, and latents are cut off at 10 from 0, as
        published; or as the checkpoint has it.
    clip_pictures : {"direct", "enlarged"}
        Pictures are prepared for CLIP by its own preprocessing alone, or brought to 512 pixels before.
    text_context : bool
        Decode the text context too; off if a dataset has no captions.
    text_padding : {"end", "zero"}
        What follows a caption's end token.
    start : {"into noise", "by the schedule"}
        The first picture biases noise a little and all steps are done, as published; or it is noised to the strength's share of
        the steps, as in Brain-Diffuser.
    start_posterior : {"sample", "mode"}
        What of the autoencoder's posterior the start is.
    unconditional : {"black", "checkpoint"}
        What guidance's unconditional half sees: a black picture, as published, or what belongs to the checkpoint.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    decoder: DecoderSettings = field(default_factory=lambda: DecoderSettings(alpha=dict(ALPHAS), rescale="training"))
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(strength=1.0, num_inference_steps=37)
    )
    vdvae: VDVAESettings = field(default_factory=lambda: VDVAESettings(greys="cut off"))
    n_captions: int = 1
    vdvae_targets: str = "scripts"
    clip_pictures: str = "direct"
    text_context: bool = True
    text_padding: str = "end"
    start: str = "into noise"
    start_posterior: str = "sample"
    unconditional: str = "black"

    def __post_init__(self):
        for name, rule in _RULES.items():
            check(name, getattr(self, name), rule, typed="--set {name}={example}")


@system
class CrossSubject(System):
    """The decoder of one subject, and others brought to it."""

    name = "ferrante2023-alignment"
    explanation = (
        "one subject's decoder reads another's responses, aligned on pictures that both saw; redrawn from noise"
    )
    citation = (
        "Ferrante, M., Boccato, T., Ozcelik, F., VanRullen, R. & Toschi, N. (2024). Through their eyes: multi-subject brain "
        "decoding with simple alignment techniques. Imaging Neuroscience 2, imag_a_00170."
    )
    settings_class = CrossSubjectSettings
    evidence = Evidence(
        "ridge equals scikit-learn's RidgeCV, the rotation SciPy's and fmralign's; the start equals the formula",
        ("simulated NSD",),
        ("Through Their Eyes",),
    )
    many_subjects = "reference"
    protocol = "brain-diffuser-2023"
    image_embedding = "clip_image"
    without_captions = {"text_context": False}
    of_drawing = (*System.of_drawing, "start", "start_posterior", "unconditional")
    tiny = {
        "checkpoints": {"vdvae": "tiny-vdvae", "clip": "tiny-clip", "generator": "tiny-generator"},
        "text_padding": "zero",
        # As the embedded networks were trained and measured.
        "vdvae_targets": "checkpoint",
        "unconditional": "checkpoint",
        "vdvae": {"greys": "rounded"},
        # Embedded latents are few, and responses in other units than those of the published penalties.
        "decoder": {"alpha": [float(10**power) for power in range(8)]},
        "alignment": {"alphas": [float(10**power) for power in range(-1, 6)]},
    }

    def steps(self, machine):
        settings = self.settings
        scripts = settings.vdvae_targets == "scripts"
        latents = self.target(
            "stages.targets.vdvae:VDVAELatents",
            "vdvae",
            machine,
            sample_seed=settings.vdvae.sample_seed,
            **({"greys": GREYS, "farthest": FARTHEST} if scripts else {}),
        )
        image = self.target("stages.targets.clip:CLIPImageTokens", "clip", machine, pictures=settings.clip_pictures)
        contexts, kinds = {"clip_image": image}, None
        if settings.text_context:
            told = {"n_captions": settings.n_captions}
            contexts["clip_text"] = self.target(
                "stages.targets.clip:CLIPTextTokens", "clip", machine, padding=settings.text_padding, **told
            )
            kinds = self.target("stages.targets.clip:CLIPTextVector", "clip", machine, **told)
        return [
            Align(settings.alignment, kinds),
            Decode(
                {"vdvae": latents} | contexts,
                settings.decoder,
                machine,
                left_out=() if settings.text_context else ("clip_text",),
                reads=ALIGNED_PATTERNS,
                for_new_subject="keep",
            ),
            Show("vdvae", latents, options=settings.vdvae.showing, draws=settings.vdvae.draws),
            dual_context(self, contexts, machine, "first_picture", self._arguments),
        ]

    def for_pretraining(self):
        """The reference is aligned to nobody: one run of it serves every alignment."""
        return replace(self.settings, alignment=AlignmentSettings())

    @property
    def notes(self):
        """How far aligned patterns depend on the others that are tested."""
        if self.settings.alignment.statistics != "transductive":
            return ()
        return ("Aligned patterns were brought to the reference's spread by statistics of the test set itself.",)

    def _arguments(self):
        from stages.generators.diffusion.start_rule import StartRule

        settings = self.settings
        start = StartRule(posterior=settings.start_posterior, mixed=settings.start, enlarged="bilinear")
        return {"start": start} | ({"unconditional_grey": 0.0} if settings.unconditional == "black" else {})
