"""How a picture is searched for, as plain values; `stages.inverters.picture_search` has the search."""

from __future__ import annotations

from dataclasses import dataclass

from stages.ground.checks import Number, OneOf, check_all
from stages.inverters.feature_scaling import SCALINGS

_RULES = {
    "steps": Number(1, whole=True, example=200),
    "learning_rate": Number(0, above=True, example=2.0),
    "last_learning_rate": Number(0, example=1e-10),
    "momentum": Number(0, 1, below=True, example=0.9),
    "decay": Number(0, 1, below=True, example=0.01),
    "scaling": OneOf(*SCALINGS),
    "start": OneOf("noise", "shared noise", "zeros"),
    "start_seed": Number(whole=True),
    "bounds": OneOf("activation range", "none"),
    "clip": Number(0, 100, below=True, example=4.0),
    "greys": OneOf("cut off", "rounded"),
}


@dataclass(frozen=True)
class PictureSearchSettings:
    """How a picture is searched for; the defaults are those of KamitaniLab's scripts for natural pictures, but for the start.

    >>> [round(PictureSearchSettings().rate(step), 2) for step in (0, 100, 199)]
    [2.0, 1.0, 0.01]

    Attributes
    ----------
    steps : int
        How often the picture is drawn, looked at and changed.
    learning_rate, last_learning_rate : float
        Of the first step, and what it falls to in a straight line.
    momentum : float
        Share of the step before that each step goes on with.
    decay : float
        Share that is taken off the generator's input after each step.
    scaling : {"feature_std", "spread", "none"}
        How decoded features get the spread of true ones; see `stages.inverters.feature_scaling`.
    start : {"noise", "shared noise", "zeros"}
        Standard normal noise of each stimulus and sample, or one such noise for all pictures, or nothing.
    start_seed : int
        Of the shared noise.
    bounds : {"activation range", "none"}
        Keep the input between 0 and the range of the layer that the generator draws from, or leave it free.
    clip : float
        Percent of the pixels' values that are cut off, half of them at either end, before the rest is stretched to 0 to 255.
    greys : {"cut off", "rounded"}
        How a picture becomes 8 bit.
    """

    steps: int = 200
    learning_rate: float = 2.0
    last_learning_rate: float = 1e-10
    momentum: float = 0.9
    decay: float = 0.01
    scaling: str = "feature_std"
    start: str = "noise"
    start_seed: int = 0
    bounds: str = "activation range"
    clip: float = 4.0
    greys: str = "cut off"

    def __post_init__(self):
        check_all(self, _RULES, where="search")

    def rate(self, step):
        """Learning rate of a step, counted from 0."""
        return self.learning_rate + step * (self.last_learning_rate - self.learning_rate) / self.steps
