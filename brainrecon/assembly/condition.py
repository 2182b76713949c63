"""Conditions: what a system is drawn under to learn what a score is made of.

A condition replaces named values and nothing else, or shows a value on the way instead of the output. Whether it applies to
a system follows from the steps of its chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from brainrecon.assembly.replacement import (
    Absence,
    AnotherSystem,
    Mean,
    NearestTrainingPicture,
    Partner,
    Replacement,
    Truth,
)
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

if TYPE_CHECKING:
    from brainrecon.assembly.chain import Chain

# Stands for every value of a chain that is the prediction of a target.
EVERY_TARGET = "*"
# Stands for the last value of a chain.
OUTPUT = "output"


@dataclass(frozen=True)
class Condition:
    """One way to draw a system.

    >>> from brainrecon.assembly.chain import Chain
    >>> from brainrecon.assembly.registry import system_class
    >>> swapped = Condition(
    ...     "swapped_layout",
    ...     "Swapped layout",
    ...     "its own meaning on the layout of another stimulus",
    ...     replaces={"first_picture": Partner()},
    ... )
    >>> [swapped.applies_to(Chain(system_class(name)())) for name in ("brain-diffuser", "mean-image")]
    [True, False]

    Attributes
    ----------
    name : str
        In files and on the command line.
    label : str
        As people say it, at the head of a column.
    explanation : str
        How its pictures are made, in a line.
    is_control : bool
        Whether it says what a score is worth, instead of being a part of the system. Parts are always drawn, and of every
        sample; of a control one picture per stimulus is.
    is_essential : bool
        Whether a benchmark draws it: it says how much of a score was read from the responses.
    in_a_sentence : str
        What the system has to be above before its score says something of a brain, as a sentence names it; empty for a
        condition that says something else.
    replaces : mapping of str to Replacement
        Value -> what stands in its place; `EVERY_TARGET` and `OUTPUT` are names too.
    shows : str
        The value that is shown; the last of the chain by default.
    """

    name: str
    label: str
    explanation: str
    is_control: bool = True
    is_essential: bool = False
    in_a_sentence: str = ""
    replaces: Mapping[str, Replacement] = field(default_factory=dict)
    shows: str = OUTPUT

    def replacement(self, chain: Chain, name: str) -> Replacement | None:
        """What stands in the place of a value of `chain`, or None."""
        if name in self.replaces:
            return self.replaces[name]
        if name == chain.output and OUTPUT in self.replaces:
            return self.replaces[OUTPUT]
        return self.replaces.get(EVERY_TARGET) if name in chain.targets else None

    def shown(self, chain: Chain) -> str:
        """Name of the value that is shown."""
        return chain.output if self.shows == OUTPUT else self.shows

    def why_not(self, chain: Chain) -> str | None:
        """Why it does not apply to a chain, in a few words; None if it does."""
        if self.shows != OUTPUT and self.shows not in chain.given:
            return "the method has nothing for it"
        if not self.replaces:
            return None
        replaced = {name: found for name in chain.given if (found := self.replacement(chain, name))}
        reasons = {name: found.why_not(name, chain) for name, found in replaced.items()}
        if all(reason is not None for reason in reasons.values()):
            return next(iter(reasons.values()), "the method has nothing for it")
        # What nobody reads may be replaced beside what somebody does; what somebody cannot do without may not.
        return next((reason for name, reason in reasons.items() if reason and chain.readers(name)), None)

    @property
    def shows_the_truth(self) -> bool:
        """Whether it takes true values, for which there have to be stimuli to look at."""
        return any(isinstance(replacement, Truth) for replacement in self.replaces.values())

    def applies_to(self, chain: Chain) -> bool:
        """Whether a chain can be drawn under it."""
        return self.why_not(chain) is None


RECONSTRUCTION = "reconstruction"
SHUFFLED_RESPONSES = "shuffled_responses"
# A run with folds always draws it: a picture that was left out is not in the mean of the others, so that chance is not 50 %.
MEAN_PICTURE = "mean_picture"
PRIOR_ONLY = "prior_only"

# In the order of tables and pictures.
CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition(RECONSTRUCTION, "Reconstruction", "the method itself", is_control=False),
        Condition(
            "stage_one",
            "Stage one alone",
            "the picture decoded from predicted latents, before any diffusion",
            is_control=False,
            in_a_sentence="stage one alone",
            shows="first_picture",
        ),
        Condition(
            "unrefined",
            "Unrefined",
            "the picture drawn from decoded tokens, before it is redrawn under a caption and blended",
            is_control=False,
            shows="drawn_picture",
        ),
        Condition(
            "binarised",
            "Binarised",
            "the reconstruction with what is above mid-grey white and the rest black",
            is_control=False,
            shows="binarised",
        ),
        Condition(
            "oracle_embeddings",
            "Oracle embeddings",
            "the true features of the shown picture in place of decoded ones: the ceiling of the generator",
            is_essential=True,
            replaces={EVERY_TARGET: Truth()},
        ),
        Condition(
            SHUFFLED_RESPONSES,
            "Shuffled responses",
            "the responses to another test stimulus: what the method draws without information",
            is_essential=True,
            in_a_sentence="shuffled responses",
            replaces={"patterns": Partner(), "repeats": Partner()},
        ),
        Condition(
            "mean_response",
            "Mean response",
            "the average training response in place of the measured one: what the method draws for everybody",
            is_essential=True,
            in_a_sentence="the mean response",
            replaces={"patterns": Mean()},
        ),
        Condition(
            MEAN_PICTURE,
            "Mean picture",
            "the average of the training pictures, whatever the response: chance, if every stimulus is tested in a fold",
            in_a_sentence="the mean picture",
            replaces={OUTPUT: AnotherSystem("mean-image")},
        ),
        Condition(
            "without_stage_one",
            "Without stage-one picture",
            "diffusion from pure noise, under what else is decoded",
            replaces={"first_picture": Absence()},
        ),
        Condition(
            "without_image_context",
            "Without image context",
            "without the decoded image embedding; all else is decoded as before",
            replaces={"clip_image": Absence()},
        ),
        Condition(
            "without_text_context",
            "Without text context",
            "without the decoded text embedding; all else is decoded as before",
            replaces={"clip_text": Absence()},
        ),
        Condition(
            PRIOR_ONLY,
            "Prior only",
            "no decoded tokens: what the completion paints without any response",
            is_essential=True,
            in_a_sentence="the prior alone",
            replaces={"vq_cues": Absence(), "vq_weights": Absence()},
        ),
        Condition(
            "nearest_training_picture",
            "Nearest training picture",
            "the training picture whose image embedding correlates best with the decoded one",
            is_essential=True,
            in_a_sentence="the nearest training picture",
            replaces={OUTPUT: NearestTrainingPicture()},
        ),
        Condition(
            "ridge_to_pixels",
            "Ridge straight to pixels",
            "ridge from the same patterns straight to 64 x 64 pixels: no network and no prior at all",
            replaces={OUTPUT: AnotherSystem("ridge-to-pixels")},
        ),
    )
}
CONTROLS = tuple(one.name for one in CONDITIONS.values() if one.is_control)
ESSENTIAL_CONTROLS = tuple(one.name for one in CONDITIONS.values() if one.is_essential)


def condition(name: str) -> Condition:
    """The condition of a name.

    >>> condition("shuffled_responses").label
    'Shuffled responses'

    Parameters
    ----------
    name : str
        As on the command line: "reconstruction", or one of the controls.

    Raises
    ------
    InputError
        There is none of that name; those that there are are listed.
    """
    if name not in CONDITIONS:
        raise InputError(
            f"There is no condition {name!r}; expected some of {', '.join(CONDITIONS)}{did_you_mean(name, CONDITIONS)}."
        )
    return CONDITIONS[name]
