"""Settings of stage two that all generators have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from stages.generators.diffusion.acceleration import Acceleration
from stages.ground.checks import OneOf, check_all
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

SCHEDULERS = ("ddim", "plms", "dpm++", "unipc")


@dataclass(frozen=True)
class GeneratorSettings:
    """Stage two.

    Attributes
    ----------
    strength : float
        Share of the denoising steps that are taken from the first picture: 0 keeps it, 1 ignores it.
    num_inference_steps : int
        Steps from noise to a picture.
    guidance_scale : float, optional
        The checkpoint's own if none is given.
    image_weight, text_weight : float
        Shares of the image and of the text context. Of an IP-Adapter the image weight is its scale.
    scheduler : {"ddim", "plms", "dpm++", "unipc"}, optional
        The checkpoint's own if none is given; the last two get by with fewer steps.
    greys : {"rounded", "cut off"}
        How a picture becomes 8 bit.
    acceleration : stages.generators.diffusion.acceleration.Acceleration
        Precision, memory and speed.
    """

    strength: float = 0.75
    num_inference_steps: int = 50
    guidance_scale: float | None = None
    image_weight: float = 0.6
    text_weight: float = 0.4
    scheduler: str | None = None
    greys: str = "rounded"
    acceleration: Acceleration = field(default_factory=Acceleration)

    def __post_init__(self):
        numbers = (self.strength, self.guidance_scale or 0.0, self.image_weight, self.text_weight)
        if not all(math.isfinite(number) for number in numbers):
            raise InputError(
                f"The generator's settings hold a number that is not finite: {numbers}; set it with --set."
            )
        if not 0 <= self.strength <= 1:
            raise InputError(f"generator.strength is {self.strength}; expected 0 (keep the picture) to 1 (ignore it).")
        if self.num_inference_steps < 1:
            raise InputError(f"generator.num_inference_steps is {self.num_inference_steps}; expected 1 or more.")
        if self.scheduler not in (None, *SCHEDULERS):
            raise InputError(
                f"generator.scheduler is {self.scheduler!r}; expected one of {', '.join(SCHEDULERS)}, or none"
                f"{did_you_mean(self.scheduler, SCHEDULERS)}."
            )
        check_all(self, {"greys": OneOf("rounded", "cut off")}, where="generator")

    def shares(self, present, image="clip_image", text="clip_text"):
        """Shares of an image and a text context; if one is absent the other has both.

        >>> GeneratorSettings().shares({"clip_image", "clip_text"}), GeneratorSettings().shares({"clip_text"})
        ({'clip_image': 0.6, 'clip_text': 0.4}, {'clip_image': 0.0, 'clip_text': 1.0})

        Parameters
        ----------
        present : set of str
            Names of the values that are not absent.
        image, text : str
            Names of the contexts.
        """
        given = {image: self.image_weight, text: self.text_weight}
        there = [name for name in given if name in present]
        if len(there) == 1:
            return {name: sum(given.values()) if name in there else 0.0 for name in given}
        return {name: weight if name in there else 0.0 for name, weight in given.items()}
