"""The step that draws with Versatile Diffusion, under a decoded image context and a decoded text context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine

GENERATOR = "stages.generators.diffusion.dual_context:DualContextGenerator"


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
    >>> from brainrecon.assembly.generator_settings import GeneratorSettings
    >>> class Tokens:
    ...     shape, n_targets = (24, 64), 1536
    >>> contexts = {name: TargetSource(Tokens, checkpoints=()) for name in ("clip_image", "clip_text")}
    >>> settings = SimpleNamespace(generator=GeneratorSettings(), unconditional="zeros")
    >>> step = dual_context(SimpleNamespace(settings=settings, folder=lambda role: role), contexts, Machine("cpu"))
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
