"""The step that draws with Versatile Diffusion, under a decoded image context and a decoded text context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from stages.ground.checks import OneOf, check_all

GENERATOR = "stages.generators.diffusion.dual_context:DualContextGenerator"


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`."""

    clip: str = "clip-vit-l-14-quickgelu"
    generator: str = "versatile-diffusion"


@dataclass(frozen=True)
class DualContextSettings:
    """Settings of a method that draws from noise under both contexts, as MindBridge does; such a method adds its own.

    Attributes
    ----------
    checkpoints : Checkpoints
    text_context : bool
        Whether text tokens are decoded; off if a dataset has no captions.
    text_padding : {"end", "zero"}
        What follows a caption's end token: the end token again, as in Versatile Diffusion, or zeros.
    generator : GeneratorSettings
        `image_weight` and `text_weight` are the shares of both contexts.
    unconditional : {"zeros", "stored"}
        What guidance's unconditional half reads: zeros, or what is stored with the checkpoint.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    text_context: bool = True
    text_padding: str = "end"
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=1.0,
            num_inference_steps=20,
            guidance_scale=5.0,
            image_weight=0.5,
            text_weight=0.5,
            scheduler="unipc",
        )
    )
    unconditional: str = "zeros"

    def __post_init__(self):
        rules = {"text_context": OneOf(True, False), "text_padding": OneOf("end", "zero")}
        check_all(self, rules | {"unconditional": OneOf("zeros", "stored")})


def dual_context(
    system: Any,
    contexts: Mapping[str, TargetSource],
    machine: Machine,
    start: str | None = None,
    arguments: Callable[[], Mapping] | None = None,
    weights: Callable[[frozenset], Mapping[str, float]] | None = None,
    needed: Sequence[str] | None = None,
) -> Draw:
    """Step from contexts to a picture, by the settings `generator` and `unconditional` of a system.

    >>> from types import SimpleNamespace
    >>> class Tokens:
    ...     shape, n_targets = (24, 64), 1536
    >>> contexts = {name: TargetSource(Tokens, checkpoints=()) for name in ("clip_image", "clip_text")}
    >>> system = SimpleNamespace(settings=DualContextSettings(), folder=lambda role: role)
    >>> step = dual_context(system, contexts, Machine("cpu"))
    >>> step.optional, step.gives
    (('clip_image', 'clip_text'), ('picture',))

    Parameters
    ----------
    system : brainrecon.assembly.system.System
        Whose checkpoint of the role "generator" draws.
    contexts, machine, needed
        As `brainrecon.assembly.redraw.redraw` takes them.
    start : str, optional
        Value that drawing starts from; by default it starts from noise.
    arguments : callable, optional
        What the generator is loaded with; by default what guidance's unconditional half reads, as `system.settings` say.
    weights : callable, optional
        Of the contexts that are there; by default the shares of the settings of the generator.
    """
    settings = system.settings
    return redraw(
        GENERATOR,
        lambda: system.folder("generator"),
        settings.generator,
        machine,
        contexts,
        weights or settings.generator.shares,
        start=start,
        arguments=arguments or (lambda: {"unconditional": settings.unconditional}),
        needed=needed,
    )
