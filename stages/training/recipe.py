"""How a network is trained, as plain data: steps, optimiser, schedule, and what is kept of them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from stages.ground.errors import InputError

OPTIMISERS = ("adam", "adamw", "sgd", "muon")
SCHEDULES = ("constant", "cosine", "one-cycle", "milestones")
PRECISIONS = ("no", "bf16")


@dataclass(frozen=True)
class OptimiserSpec:
    """An optimiser.

    >>> OptimiserSpec("adamw", learning_rate=3e-4, weight_decay=0.01, undecayed="vectors").learning_rate
    0.0003

    Attributes
    ----------
    name : {"adam", "adamw", "sgd", "muon"}
        PyTorch's, except Muon (`stages.training.muon`), which takes weights of two or more dimensions and leaves the others to
        AdamW.
    learning_rate : float
        Largest rate; the schedule says which share of it a step takes.
    weight_decay : float
        Added to the gradient by adam and sgd, decoupled in adamw and muon.
    undecayed : {"none", "vectors"}
        Parameters without decay: none, or those of fewer than two dimensions (biases and normalisations).
    betas : tuple of two floats
        Of adam and adamw.
    epsilon : float
        Of adam and adamw.
    momentum : float
        Of sgd and muon.
    """

    name: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    undecayed: str = "none"
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    momentum: float = 0.0

    def __post_init__(self):
        _expect_one_of("optimiser.name", self.name, OPTIMISERS)
        _expect_one_of("optimiser.undecayed", self.undecayed, ("none", "vectors"))
        _expect("optimiser.learning_rate", self.learning_rate, 0 < self.learning_rate < math.inf, "a positive rate")
        _expect("optimiser.weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "0 or more")
        _expect("optimiser.epsilon", self.epsilon, 0 < self.epsilon < 1, "more than 0 and less than 1")
        _expect("optimiser.momentum", self.momentum, 0 <= self.momentum < 1, "0 or more and less than 1")
        fits = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        _expect("optimiser.betas", self.betas, fits, "two numbers of 0 or more and less than 1")


@dataclass(frozen=True)
class Schedule:
    """The learning rate of a step, as a share of the largest.

    >>> [Schedule("milestones", milestones=(2, 3)).factor(step, steps=4) for step in range(4)]
    [1.0, 1.0, 0.5, 0.25]

    Attributes
    ----------
    kind : {"constant", "cosine", "one-cycle", "milestones"}
        Shares without warm-up: 1; half a cosine from 1 to 0; PyTorch's `OneCycleLR`; `drop` to the power of milestones passed.
    warmup : int
        The share is multiplied by (step + 1) / warmup in so many first steps.
    milestones : tuple of int
    drop : float
    rise : float
        One-cycle: share of the steps in which the rate rises.
    first_divisor, last_divisor : float
        One-cycle: the first rate is the largest / `first_divisor`, the last one the first / `last_divisor`.
    momenta : tuple of two floats, or None
        One-cycle: momentum (the first beta of Adam) at the largest rate and at the smallest, as PyTorch does unless it is told
        not to; None leaves it alone.
    """

    kind: str = "constant"
    warmup: int = 0
    milestones: tuple[int, ...] = ()
    drop: float = 0.5
    rise: float = 0.3
    first_divisor: float = 25.0
    last_divisor: float = 1e4
    momenta: tuple[float, float] | None = (0.85, 0.95)

    def __post_init__(self):
        _expect_one_of("schedule.kind", self.kind, SCHEDULES)
        _expect("schedule.warmup", self.warmup, self.warmup >= 0, "0 or more")
        _expect("schedule.drop", self.drop, 0 < self.drop <= 1, "more than 0 and at most 1")
        _expect("schedule.rise", self.rise, 0 < self.rise < 1, "more than 0 and less than 1")
        for name in ("first_divisor", "last_divisor"):
            _expect(f"schedule.{name}", getattr(self, name), getattr(self, name) >= 1, "1 or more")

    def factor(self, step, steps):
        """Share of the largest learning rate that a step takes, counted from 0, of `steps` in all."""
        warm = min(1.0, (step + 1) / max(self.warmup, 1))
        if self.kind == "cosine":
            return warm * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
        if self.kind == "milestones":
            return warm * self.drop ** sum(step >= milestone for milestone in self.milestones)
        if self.kind == "one-cycle":
            first = 1 / self.first_divisor
            return warm * self._one_cycle(step, steps, first, 1.0, first / self.last_divisor)
        return warm

    def momentum(self, step, steps):
        """Momentum of a step, or None if the schedule leaves it alone."""
        if self.kind != "one-cycle" or self.momenta is None:
            return None
        at_largest, at_smallest = self.momenta
        return self._one_cycle(step, steps, at_smallest, at_largest, at_smallest)

    def _one_cycle(self, step, steps, first, middle, last):
        """A value that goes along half cosines from `first` to `middle`, in step rise * steps - 1, and on to `last`."""
        top, end = self.rise * steps - 1, steps - 1
        if step <= top:
            return _along_a_cosine(first, middle, step / top)
        return _along_a_cosine(middle, last, (step - top) / (end - top))


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    >>> Recipe(steps=1000, batch_size=32, schedule=Schedule("cosine", warmup=100), average=0.999).accumulate
    1

    Attributes
    ----------
    steps : int
    batch_size : int
        Samples of a step, over all processes and all parts of an accumulated gradient.
    optimiser : OptimiserSpec
    schedule : Schedule
    clip : float, optional
        Largest norm of the gradient.
    average : float, optional
        Decay of an exponential moving average of the weights, which is what training ends with then. In step t (from 0) it is
        min(average, (1 + t) / (10 + t)), so that the first weights are soon forgotten.
    trains : tuple of str
        Regular expressions; a parameter whose whole name fits none of them keeps its value.
    accumulate : int
        Parts into which a step's batch is cut, one after the other, where memory is short.
    precision : {"no", "bf16"}
        Mixed precision, as Accelerate names it.
    validation : float
        Share of the training stimuli that are held out, for whoever makes the batches (`stages.training.batches.held_out`).
    validate_every : int
        Steps between validations, and between lines of the curves.
    patience : int, optional
        Validations without a better one after which training stops.
    seed : int
        Of the order of samples and of all that is random in a step.
    """

    steps: int
    batch_size: int
    optimiser: OptimiserSpec = field(default_factory=OptimiserSpec)
    schedule: Schedule = field(default_factory=Schedule)
    clip: float | None = None
    average: float | None = None
    trains: tuple[str, ...] = (".*",)
    accumulate: int = 1
    precision: str = "no"
    validation: float = 0.0
    validate_every: int = 100
    patience: int | None = None
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch_size", "accumulate", "validate_every"):
            _expect(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        _expect(
            "accumulate", self.accumulate, self.batch_size % self.accumulate == 0, f"a divisor of {self.batch_size}"
        )
        _expect("clip", self.clip, self.clip is None or self.clip > 0, "more than 0, or None")
        _expect("average", self.average, self.average is None or 0 <= self.average < 1, "0 or more and less than 1")
        _expect("validation", self.validation, 0 <= self.validation <= 0.5, "a share of 0 to 0.5")
        _expect("patience", self.patience, self.patience is None or self.patience >= 1, "1 or more, or None")
        _expect("seed", self.seed, self.seed >= 0, "0 or more")
        _expect_one_of("precision", self.precision, PRECISIONS)
        for pattern in self.trains:
            try:
                re.compile(pattern)
            except re.error as error:
                raise InputError(
                    f"recipe.trains has {pattern!r}, which is no regular expression ({error}); escape it, for example "
                    f"{re.escape(pattern)!r}."
                ) from None


def _along_a_cosine(first, last, share):
    """The value between two that lies at a share of the way, along half a cosine."""
    return last + (first - last) / 2 * (1 + math.cos(math.pi * share))


def _expect(name, value, holds, expected):
    if not holds:
        raise InputError(f"recipe.{name} is {value}; expected {expected}.")


def _expect_one_of(name, value, choices):
    if value not in choices:
        raise InputError(f"recipe.{name} is {value!r}; expected one of {', '.join(choices)}.")
