"""MindBridge (Wang et al., CVPR 2024): voxels of any subject pooled to one length, layers of its own, and a bridge to the others.

Per-subject embedders lead into layers that all share, from which two heads make image and text tokens of CLIP, under which
Versatile Diffusion draws from noise. Builders lead back to voxels, so that a new subject's layers can be trained alone: by its
own responses, and by cycles from those who are known.

docs/systems/mindbridge2024.md says what the scripts do, which of their slips are mended here, and what is done otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

from brainrecon.assembly.as_decoded import AsDecoded
from brainrecon.assembly.candidates import Candidates
from brainrecon.assembly.dual_context import DualContextSettings, dual_context
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.many_subjects import OWN_LAYERS, ManySubjectsSettings
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import part
from brainrecon.assembly.together_system import TogetherSystem
from brainrecon.assembly.trial_outputs import INPUTS, OUTPUTS, RESPONSES
from brainrecon.assembly.values import SHOWN
from stages.ground.checks import Number, OneOf, check_all

ROUGH_IMAGE, ROUGH_TEXT, IMAGE, TEXT = "rough_image", "rough_text", "clip_image", "clip_text"
# The step from responses to tokens, whose folder it names.
PART = "network"
OWN, TRUTH = "own", "truth"
POOLED = "pooled"
# How a setting calls what is averaged over trials -> as a step has it.
AVERAGES = {POOLED: INPUTS, "responses": RESPONSES, "outputs": OUTPUTS}


@dataclass(frozen=True)
class BridgeSettings(ManySubjectsSettings):
    """How the network is trained; see `brainrecon.assembly.many_subjects` as well.

    Attributes
    ----------
    batch_size : int
        Of one subject, or of a new one and a companion together: two processes with 50 of the one, or one with 50 of each.
    batch_size_each : int
        Of several subjects: eight processes with 50 of each.
    learning_rate : float
        Of one subject.
    learning_rate_together : float
        Of several subjects.
    compared_each : int
        Samples of each subject among which the contrast compares, as many as a published process has.
    new_subject : {"own layers", "all layers"}
        What is trained of a new subject: its embedder and its builder, or what all share as well.
    companions : bool
        Whether, of a new subject, one of those before stands beside it in every step; without, there are no cycles.
    length, hidden, n_blocks, bottleneck, pool
        See `stages.networks.mindbridge.MindBridgeNetwork`.
    temperature : float
        Of the contrast.
    error_weight : float
        Of the squared errors of tokens of unit length.
    response_weight, cycle_weight : float
        Of the builders' errors and of those of cycles, of several subjects. If both are 0 there are no builders.
    captions : int
        Captions of a picture that take turns in training, the first ones; 0 learns the mean of all.
    changes : {"published", "none"}
        Whether pictures are cropped and recoloured anew in every step, and encoded anew.
    """

    epochs: int = 600
    batch_size: int = 100
    batch_size_each: int = 400
    learning_rate: float = 3e-4
    learning_rate_together: float = 1.5e-4
    new_subject: str = OWN_LAYERS
    compared_each: int = 50
    companions: bool = True
    length: int = 8192
    hidden: int = 2048
    n_blocks: int = 4
    bottleneck: int = 128
    pool: str = "max"
    temperature: float = 0.005
    error_weight: float = 1e4
    response_weight: float = 1.0
    cycle_weight: float = 1.0
    captions: int = 3
    changes: str = "published"

    published_steps: ClassVar[int] = 86

    def __post_init__(self):
        super().__post_init__()
        count = Number(1, whole=True)
        rules = dict.fromkeys(("compared_each", "length", "hidden", "bottleneck"), count)
        rules |= dict.fromkeys(("error_weight", "response_weight", "cycle_weight"), Number(0))
        rules |= dict.fromkeys(("learning_rate_together", "temperature"), Number(0, above=True, example=1.5e-4))
        rules |= {
            "n_blocks": Number(0, whole=True, example=4),
            "captions": Number(0, whole=True, example=3),
            "companions": OneOf(True, False),
            "pool": OneOf("max", "mean"),
            "changes": OneOf("published", "none"),
        }
        check_all(self, rules)

    @property
    def has_builders(self):
        """Whether several subjects have builders."""
        return bool(self.response_weight or self.cycle_weight)

    def _steps_of_an_epoch(self, cohort):
        """As published: batches of as many samples as are compared, the last one short, dealt to the processes."""
        train = next(iter(cohort.values())).train
        n = train.n_stimuli - round(self.validation * train.n_stimuli)
        if self.trials in ("single", "apart"):
            n = round(n * train.n_trials / train.n_stimuli)
        each = self.samples_of_a_step // len(cohort)
        of_a_process = min(self.compared_each, each)
        return max(math.ceil(math.ceil(n / of_a_process) * of_a_process / each), 1)

    def parts_of(self, n_subjects):
        """Into how many parts a step's samples are dealt for the contrast, of so many subjects."""
        return max(self.samples_of_a_step // (self.compared_each * n_subjects), 1)

    def recipe(self, published_steps=None):
        """The recipe of the training loop."""
        several = self.subjects is not None and self.subjects > 1
        known = replace(self, learning_rate=self.learning_rate_together) if several else self
        recipe = ManySubjectsSettings.recipe(known, published_steps)
        return replace(recipe, schedule=replace(recipe.schedule, last_divisor=100), clip=1.0)


@dataclass(frozen=True)
class MindBridgeSettings(DualContextSettings):
    """All settings of the method; those of drawing are `brainrecon.assembly.dual_context.DualContextSettings`'.

    Attributes
    ----------
    decoder : BridgeSettings
    averages : {"pooled", "responses", "outputs"}
        What is averaged over the trials of a tested stimulus: pooled voxels of each trial, as published; voxels; or tokens.
    n_trials : int
        Trials that are averaged: of a stimulus with fewer the first ones count again. Averages of responses are of all.
    text_scale : {"token 0", "as decoded"}
        Whether decoded text tokens are divided by the length of the first one, as published, though those that they are held to
        are not. What they are held to says nothing of their length, so that without it there is what training left.
    candidates : int
        Pictures of which one is kept.
    pick : {"own", "truth"}
        By what it is chosen: by the decoded image tokens, or by those of the picture that was shown. The published scores are of
        the latter, which is no decoding; every score and report of it says so.
    """

    decoder: BridgeSettings = field(default_factory=BridgeSettings)
    averages: str = POOLED
    n_trials: int = 3
    text_scale: str = "token 0"
    candidates: int = 8
    pick: str = OWN

    def __post_init__(self):
        rules = {
            "averages": OneOf(*AVERAGES),
            "n_trials": Number(1, whole=True, example=3),
            "text_scale": OneOf("token 0", "as decoded"),
            "candidates": Number(1, whole=True, example=8),
            "pick": OneOf(OWN, TRUTH),
        }
        super().__post_init__()
        check_all(self, rules)


@system
class MindBridge2024(TogetherSystem):
    """The method of one subject, of several, or of a new one after them."""

    name = "mindbridge2024"
    explanation = (
        "CLIP's image and text tokens by layers that subjects share, from pooled voxels; Versatile Diffusion draws, the best of "
        "the candidates is kept"
    )
    citation = (
        "Wang, S., Liu, S., Tan, Z. & Wang, X. (2024). MindBridge: A cross-subject brain decoding framework. CVPR 2024."
    )
    settings_class = MindBridgeSettings
    evidence = Evidence(
        "network, losses and schedule equal the published formulas on random weights, with the published numbers of parameters; "
        "released files not read",
        ("simulated NSD",),
        ("MindBridge",),
    )
    protocol = "mindeye-2023"
    image_embedding = IMAGE
    without_captions = {"text_context": False}
    of_drawing = (*System.of_drawing, "text_scale", "unconditional", "candidates", "pick")
    tiny = {
        "checkpoints": {"clip": "tiny-clip", "generator": "tiny-generator"},
        "text_padding": "zero",
        "unconditional": "stored",
        "candidates": 2,
        "generator": {"guidance_scale": 3.0},
        "decoder": {
            "epochs": 40,
            "batch_size": 48,
            "batch_size_each": 24,
            "compared_each": 48,
            "length": 400,
            "hidden": 512,
            "n_blocks": 2,
            "bottleneck": 32,
            "learning_rate": 1e-3,
            "learning_rate_together": 1e-3,
            # Tokens of recoloured pictures would teach other things than were seen.
            "changes": "none",
        },
    }

    @property
    def chooses_by_shown(self):
        return self.settings.pick == TRUTH

    @property
    def notes(self):
        if not self.chooses_by_shown:
            return ()
        n = self.settings.candidates
        return (
            f"Of {n} pictures of each stimulus the one most like the picture that was shown is kept, as published.",
        )

    # Steps

    def steps(self, machine):
        settings = self.settings
        image, texts = self.target("stages.targets.clip:CLIPImageTokens", "clip", machine), self._texts(machine)
        contexts = {IMAGE: image} | ({TEXT: texts[TEXT]} if texts else {})
        steps = [self._learned(image, texts, machine), AsDecoded(ROUGH_IMAGE, IMAGE, image)]
        if texts:
            steps.append(AsDecoded(ROUGH_TEXT, TEXT, texts[TEXT], unit_token=settings.text_scale == "token 0"))
        draw = dual_context(self, contexts, machine)
        if settings.candidates == 1:
            return [*steps, draw]
        wanted = SHOWN if self.chooses_by_shown else IMAGE
        return [*steps, Candidates([draw], settings.candidates, image, wanted)]

    def _texts(self, machine):
        """Targets of the text context, one for each caption that takes its turn, the first under its own name."""
        settings = self.settings
        if not settings.text_context:
            return {}
        place, n = "stages.targets.clip:CLIPTextTokens", settings.decoder.captions
        kinds = [{}] if n == 0 else [{"caption": number} for number in range(n)]
        names = [TEXT, *(f"caption_{number}" for number in range(2, n + 1))]
        return {
            name: self.target(place, "clip", machine, padding=settings.text_padding, **kind)
            for name, kind in zip(names, kinds, strict=True)
        }

    def _learned(self, image, texts, machine):
        """The step from patterns to tokens."""
        from stages.decoders.trained import TrainedDecoder
        from stages.networks.mindbridge import CYCLE_ERROR, RESPONSE_ERROR, MindBridgeNetwork
        from stages.objectives.in_turn import InTurn
        from stages.objectives.regression import MeanSquare, UnitSquaredError
        from stages.objectives.retrieval import SoftContrast

        own, others = self.settings.decoder, [name for name in texts if name != TEXT]
        targets = {ROUGH_IMAGE: image} | ({ROUGH_TEXT: texts[TEXT]} if texts else {})

        def objectives(network):
            found = []
            for name in targets:
                contrast = SoftContrast(name, own.temperature, parts=own.parts_of(len(network.subjects)))
                both = [contrast, UnitSquaredError(name, own.error_weight)]
                found += [InTurn(one, (name, *others)) for one in both] if name == ROUGH_TEXT and others else both
            if network.builder is not None:
                found += [MeanSquare(RESPONSE_ERROR, own.response_weight), MeanSquare(CYCLE_ERROR, own.cycle_weight)]
            return found

        sizes = ("length", "hidden", "n_blocks", "bottleneck", "pool")
        arguments = {name: getattr(own, name) for name in sizes} | {"builders": own.has_builders}
        decoder = TrainedDecoder(
            MindBridgeNetwork,
            own.recipe(),
            objectives,
            arguments,
            machine.device,
            new_subject=own.training_of_new,
        )
        return Learn(
            targets,
            decoder,
            machine.device,
            own.trials,
            PART,
            beside={name: texts[name] for name in others},
            changing=self._changes(),
            released=_released(),
            settings="decoder",
            averages=AVERAGES[self.settings.averages],
            n_trials=self.settings.n_trials,
            companions=own.companions,
        )

    def _changes(self):
        """How pictures are changed before CLIP sees them in training, by value."""
        own = self.settings.decoder
        if own.changes == "none":
            return {}
        return {ROUGH_IMAGE: part("stages.training.separate_colours:SeparateColours")(seed=own.seed)}


def _released():
    """How a file of the authors is read."""
    from stages.decoders.numbered_subjects import NumberedSubjects
    from stages.decoders.released import Released

    numbered = NumberedSubjects(("embedder", "builder"), length="embedder.{}.0.down_proj.weight")
    return Released("", _without_lone_builder, numbered)


def _without_lone_builder(tensors):
    """Tensors of the authors' file without the builder of a subject who is alone, to whom no cycle leads."""
    several = any(name.startswith("embedder.1.") for name in tensors)
    return {name: value for name, value in tensors.items() if several or not name.startswith("builder.")}
