"""MindShot (Jiang et al. 2024): a network of several subjects, adapted to a new one of whom there are few pictures and responses.

A re-implementation from two abstracts: neither the paper nor its code could be read, and nearly every number is a guess. A
network that is trained on several subjects at once makes CLIP tokens of pictures and of captions, under which Versatile Diffusion
draws. For a new subject its own features are held against those that the frozen network has for other subjects' responses to
pictures of the same class, by their frequencies.

docs/systems/mindshot2024.md says what was read, what is guessed, and by which setting each guess is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.dual_context import DualContextSettings, dual_context
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from brainrecon.assembly.taught_network import VERSIONS, DistillationSettings, TaughtNetworkSettings, taught_network
from brainrecon.assembly.together_system import TogetherSystem
from brainrecon.assembly.token_heads import FIRST_TOKEN, MEAN_AND_SPREAD, with_length
from stages.ground.checks import OneOf, check_all

IMAGE, TEXT = "clip_image", "clip_text"
# As the network gives them: of no length of their own, since they are trained by their directions.
DECODED = {IMAGE: "image_direction", TEXT: "text_direction"}


@dataclass(frozen=True)
class MindShotSettings(DualContextSettings):
    """All settings of the method; but for the ideas behind them, all are guessed.

    Those of drawing are `brainrecon.assembly.dual_context.DualContextSettings`'.

    Attributes
    ----------
    version : {"v1", "v2"}
        Which abstract is followed, if the decoder's settings do not say otherwise: v1 trains an adapter of few parameters of a
        new subject, v2 goes on with everything.
    decoder : TaughtNetworkSettings
    distillation : DistillationSettings
        Of a new subject.
    lengths : {"first token", "mean and spread"}
        Decoded tokens, of which training knows directions alone, are brought to a first token of length 1; or to the mean and the
        spread of true ones, by what the network gives for the training responses.
    """

    version: str = "v2"
    decoder: TaughtNetworkSettings = field(default_factory=TaughtNetworkSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    lengths: str = FIRST_TOKEN

    def __post_init__(self):
        super().__post_init__()
        check_all(self, {"version": OneOf(*VERSIONS), "lengths": OneOf(FIRST_TOKEN, MEAN_AND_SPREAD)})
        object.__setattr__(self, "decoder", self.decoder.as_version(self.version))


@system
class MindShot2024(TogetherSystem):
    """The method of several subjects and a new one, as far as its abstracts tell it."""

    name = "mindshot2024"
    explanation = "from abstracts alone: a network of several subjects, taught to a new one by frequencies of features"
    citation = (
        "Jiang, S. et al. (2024). MindShot: a few-shot brain decoding framework via transferring cross-subject prior and "
        "distilling frequency domain knowledge. Knowledge-Based Systems; arXiv:2405.15278."
    )
    settings_class = MindShotSettings
    evidence = Evidence(
        "from two abstracts, without paper or code: nearly all numbers are guesses; spectra and losses equal their formulas",
        ("simulated NSD",),
    )
    protocol = "mindeye-2023"
    image_embedding = IMAGE
    of_drawing = (*System.of_drawing, "unconditional")
    without_captions = {"text_context": False}
    tiny = {
        "checkpoints": {"clip": "tiny-clip", "generator": "tiny-generator"},
        "unconditional": "stored",
        "text_padding": "zero",
        "lengths": MEAN_AND_SPREAD,
        "generator": {"guidance_scale": 3.0},
        "decoder": {
            "epochs": 40,
            "pretraining_epochs": 25,
            "batch_size": 16,
            "length": 256,
            "hidden": 256,
            "n_blocks": 2,
            "learning_rate": 1e-3,
            "batch_size_each": 16,
        },
    }

    @property
    def of_new_subject(self):
        # Nobody is taught before there is a new subject.
        return ("distillation", *super().of_new_subject)

    @property
    def notes(self):
        return ("Re-implemented from abstracts, without the paper or its code: nearly all settings are guesses.",)

    def steps(self, machine):
        settings = self.settings
        sources = {IMAGE: self.target("stages.targets.clip:CLIPImageTokens", "clip", machine)}
        if settings.text_context:
            padding = settings.text_padding
            sources[TEXT] = self.target("stages.targets.clip:CLIPTextTokens", "clip", machine, padding=padding)
        named = {DECODED[name]: source for name, source in sources.items()}
        learned = taught_network(named, settings.decoder, settings.distillation, machine)
        return [
            learned,
            *(
                with_length(learned, DECODED[name], name, source, settings.lengths, f"{name}_moments")
                for name, source in sources.items()
            ),
            dual_context(self, sources, machine),
        ]
