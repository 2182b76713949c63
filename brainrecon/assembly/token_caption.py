"""The step from decoded tokens to a caption, over a bridge to the states that a captioner reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from brainrecon.assembly.draw import Draw
from stages.ground.checks import Number, check_all


@dataclass(frozen=True)
class TokenCaptionSettings:
    """How a caption is written from decoded tokens; the defaults are MindEye2's, with GIT.

    Attributes
    ----------
    num_beams : int
        Sentences that the search keeps; of one, each word is the likeliest.
    max_length, min_length : int
        Tokens of a sentence, with its beginning.
    repetition_penalty : float
        What the scores of tokens that a sentence has already are divided by; 1 for none.
    prompt : str
        How each sentence begins; it is removed from the caption.
    """

    num_beams: int = 1
    max_length: int = 20
    min_length: int = 0
    repetition_penalty: float = 1.0
    prompt: str = ""

    def __post_init__(self):
        rules = {
            "num_beams": Number(1, whole=True, example=3),
            "max_length": Number(1, whole=True, example=20),
            "min_length": Number(0, whole=True, example=5),
            "repetition_penalty": Number(0, above=True, example=1.5),
        }
        check_all(self, rules, where="caption")


def token_caption(load, reads, gives="caption", settings=None, targets=None):
    """Make the step that writes a caption from tokens.

    >>> step = token_caption(lambda: None, "clip_image")
    >>> step.reads, step.gives, step.medium("caption"), step.told(frozenset())["max_length"]
    (('clip_image',), ('caption',), 'caption', 20)

    Parameters
    ----------
    load : callable
        ``load() -> stages.generators.language.bridged_captioner.BridgedCaptioner``, whose ``reads`` is the one here; called when
        the first caption is written.
    reads : str
        The decoded tokens, in the scale of their target.
    gives : str
    settings : TokenCaptionSettings, optional
    targets : mapping of str to brainrecon.assembly.targets.TargetSource, optional
        Of the tokens: their shape has to be the bridge's.

    Returns
    -------
    step : brainrecon.assembly.draw.Draw
        Nothing is drawn by lot. Captions are written one at a time: rounding may change a word.
    """
    options = asdict(settings or TokenCaptionSettings())
    return Draw(
        load,
        reads=(reads,),
        gives=gives,
        medium="caption",
        by_lot=False,
        options=lambda present: dict(options),
        at_a_time=lambda generator: 1,
        targets=targets,
    )
