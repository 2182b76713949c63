"""The steps from the decoded latent of a text to a caption, which a language model may rewrite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.refine_caption import RefineCaption, RefinementSettings
from brainrecon.assembly.step import Step
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from stages.ground.checks import Number, OneOf, check_all

DECODED_CAPTION, CAPTION = "decoded_caption", "caption"


@dataclass(frozen=True)
class CaptionSettings:
    """How a caption is written from the text's latent, the most probable word after the other.

    Attributes
    ----------
    max_length : int
        Tokens of a caption with its beginning and its end.
    repetitions : {"words and sentences", "words", "kept"}
        Which are removed: words that stand twice in a row, and sentences too.
    """

    max_length: int = 30
    repetitions: str = "words and sentences"

    def __post_init__(self):
        rules = {
            "max_length": Number(2, whole=True, example=30),
            "repetitions": OneOf("words and sentences", "words", "kept"),
        }
        check_all(self, rules, where="caption")


def latent_caption(
    load: Callable,
    latent: str,
    source: TargetSource,
    settings: CaptionSettings,
    refinement: RefinementSettings,
    machine: Machine,
) -> list[Step]:
    """Steps from a latent to the value "caption".

    >>> class Latent:
    ...     shape, n_targets = (768,), 768
    >>> source, settings = TargetSource(Latent, checkpoints=()), CaptionSettings()
    >>> steps = latent_caption(lambda: None, "optimus", source, settings, RefinementSettings(), Machine("cpu"))
    >>> [step.gives for step in steps]
    [('caption',)]

    Parameters
    ----------
    load : callable
        ``load() -> OptimusWriter`` (`stages.generators.language.optimus_writer`).
    latent : str
        Name of the value.
    source : TargetSource
        What it is a prediction of.
    settings : CaptionSettings
    refinement : RefinementSettings
        Of the language model; without one, what is written stays.
    machine : Machine
    """
    refined = bool(refinement.model)
    written = Draw(
        load,
        (latent,),
        gives=DECODED_CAPTION if refined else CAPTION,
        medium="caption",
        by_lot=False,
        options=lambda present: {"max_length": settings.max_length, "repetitions": settings.repetitions},
        # Rounding may change a word.
        at_a_time=lambda generator: 1,
        targets={latent: source},
    )
    return [written, *([RefineCaption(DECODED_CAPTION, CAPTION, refinement, machine)] if refined else [])]
