"""The step that redraws a first picture by latent diffusion, image to image, under decoded contexts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.targets import TargetSource, part
from brainrecon.assembly.values import Machine


def redraw(
    generator: str,
    folder: Callable,
    settings: GeneratorSettings,
    machine: Machine,
    contexts: Mapping[str, TargetSource | None],
    weights: Callable[[frozenset], Mapping[str, float]],
    start: str | None = "first_picture",
    arguments: Callable[[], Mapping] = dict,
    needed: Sequence[str] | None = None,
    gives: str = "picture",
    called: Mapping[str, str] | None = None,
    table: str = "generator",
) -> Draw:
    """Step from contexts and a first picture to a picture.

    >>> from brainrecon.assembly.generator_settings import GeneratorSettings
    >>> from brainrecon.assembly.targets import TargetSource
    >>> from weights import store
    >>> class Tokens:
    ...     shape, n_targets = (24, 64), 1536
    >>> contexts = {name: TargetSource(Tokens, checkpoints=()) for name in ("clip_image", "clip_text")}
    >>> step = redraw(
    ...     "stages.generators.diffusion.dual_context:DualContextGenerator",
    ...     lambda: store.path("tiny-generator"),
    ...     GeneratorSettings(strength=0.5),
    ...     Machine("cpu"),
    ...     contexts,
    ...     weights=lambda present: {"clip_image": 0.6, "clip_text": 0.4},
    ... )
    >>> step.optional, step.gives
    (('clip_image', 'clip_text', 'first_picture'), ('picture',))

    The start may be absent: then the picture is drawn from noise. Of several contexts each may be absent, unless `needed`
    says otherwise.

    Parameters
    ----------
    generator : str
        ``module:class`` of a generator of `stages.generators.diffusion`.
    folder : callable
        ``folder() -> path`` of its checkpoint.
    settings : GeneratorSettings
    machine : Machine
    contexts : mapping of str to TargetSource
        Values that it reads, and the targets that they are predictions of; None of what is a prediction of none, as a caption.
    weights : callable
        ``weights(present) -> dict``: weight of each context, given the names of the values that are not absent.
    start : str, optional
        Value that it starts from: a picture, or a latent of the generator's own autoencoder; None starts from noise.
    arguments : callable
        ``arguments() -> dict``: what the generator is loaded with besides, such as the folder of a further checkpoint.
    needed : sequence of str, optional
        Contexts that may not be absent; by default the only one.
    gives : str
        Name of the picture.
    called : mapping of str to str, optional
        What the generator calls some of the values, as `brainrecon.assembly.draw.Draw` takes it.
    table : str
        Of the system's settings, that `settings` are.
    """
    if needed is None:
        needed = tuple(contexts) if len(contexts) == 1 else ()

    def load():
        options = {} if settings.scheduler is None else {"scheduler": settings.scheduler}
        return part(generator).from_pretrained(
            folder(), device=machine.device, acceleration=settings.acceleration, **options, **arguments()
        )

    def options(present):
        return {
            "num_inference_steps": settings.num_inference_steps,
            "guidance_scale": settings.guidance_scale,
            "strength": settings.strength if start in present else 1.0,
            "weights": dict(weights(present)),
            # A generator that knows one way only need not know that there are others.
            **({} if settings.greys == "rounded" else {"greys": settings.greys}),
        }

    def at_a_time(loaded):
        guided = settings.guidance_scale != 1
        return settings.acceleration.batch_size_for(loaded.pipeline, machine.device, guided=guided)

    spare = tuple(name for name in contexts if name not in needed)
    return Draw(
        load,
        needed,
        (*spare, start) if start else spare,
        gives,
        options=options,
        at_a_time=at_a_time,
        targets={name: source for name, source in contexts.items() if source is not None},
        less_memory=settings.acceleration.less_memory(machine.device, f"{table}.acceleration"),
        called=called,
    )
