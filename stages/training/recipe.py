"""How a network is trained, as plain data: steps, optimiser, schedule, and what is kept of them."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field

from stages.ground.checks import Number, Numbers, OneOf, check_all
from stages.ground.errors import InputError

_SHARE = Number(0, 1, below=True)
_RULES = {
    "optimiser": {
        "name": OneOf("adamw", "adam", "sgd", "muon"),
        "learning_rate": Number(0, above=True, example=1e-3),
        "weight_decay": Number(0),
        "undecayed": OneOf("none", "vectors", "biases"),
        "betas": Numbers(_SHARE, example=(0.9, 0.999)),
        "epsilon": Number(0, 1, above=True, below=True, example=1e-8),
        "momentum": _SHARE,
    },
    "schedule": {
        "kind": OneOf("constant", "cosine", "cosine after warm-up", "linear", "one-cycle", "milestones"),
        "warmup": Number(0, whole=True),
        "drop": Number(0, 1, above=True, example=0.5),
        "rise": Number(0, 1, above=True, below=True, example=0.3),
        "first_divisor": Number(1, example=25.0),
        "last_divisor": Number(1, example=1e4),
    },
    "recipe": {
        "steps": Number(1, whole=True, example=1000),
        "batch_size": Number(1, whole=True, example=32),
        "clip": Number(0, above=True, optional=True, example=1.0),
        "average": Number(0, 1, below=True, optional=True, example=0.999),
        "accumulate": Number(1, whole=True),
        "precision": OneOf("no", "bf16"),
        "validation": Number(0, 0.5),
        "validate_every": Number(1, whole=True, example=100),
        "patience": Number(1, whole=True, optional=True, example=10),
        "seed": Number(0, whole=True),
    },
}


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
    undecayed : {"none", "vectors", "biases"}
        Parameters without decay: none; those of fewer than two dimensions (biases and normalisations); or those called bias,
        so that the gains of normalisations decay. Muon knows the first two.
    betas : tuple of two floats
        Of adam and adamw.
    epsilon : float
        Of adam and adamw.
    momentum : float
        Of sgd and muon.
    undecayed_names : tuple of str
        Regular expressions: a parameter whose whole name fits one has no decay, whatever `undecayed` says. Muon knows none.
    """

    name: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    undecayed: str = "none"
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    momentum: float = 0.0
    undecayed_names: tuple[str, ...] = ()

    def __post_init__(self):
        check_all(self, _RULES["optimiser"], where="optimiser")
        _check_patterns("optimiser.undecayed_names", self.undecayed_names)
        if self.name == "muon" and self.undecayed_names:
            raise InputError(
                f"optimiser.undecayed_names is {self.undecayed_names!r} but Muon knows none; leave it out, or take adamw."
            )


@dataclass(frozen=True)
class Schedule:
    """The learning rate of a step, as a share of the largest.

    >>> [Schedule("milestones", milestones=(2, 3)).factor(step, steps=4) for step in range(4)]
    [1.0, 1.0, 0.5, 0.25]

    Attributes
    ----------
    kind : {"constant", "cosine", "cosine after warm-up", "linear", "one-cycle", "milestones"}
        Shares without warm-up: 1; half a cosine from 1 to 0; the same; a line from 1 to 0; PyTorch's `OneCycleLR`; `drop` to the
        power of milestones passed.
    warmup : int
        The share is multiplied by (step + 1) / warmup in so many first steps. The cosine after the warm-up begins when these
        are over, and within them the share is step / warmup, as masked autoencoders have it (He et al., CVPR 2022).
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
        check_all(self, _RULES["schedule"], where="schedule")

    def factor(self, step, steps):
        """Share of the largest learning rate that a step takes, counted from 0, of `steps` in all."""
        if self.kind == "cosine after warm-up":
            if step < self.warmup:
                return step / self.warmup
            return _along_a_cosine(1.0, 0.0, (step - self.warmup) / max(steps - self.warmup, 1))
        warm = min(1.0, (step + 1) / max(self.warmup, 1))
        if self.kind == "cosine":
            return warm * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
        if self.kind == "linear":
            return warm * max(1 - step / steps, 0.0)
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
        check_all(self, _RULES["recipe"], where="recipe")
        if self.batch_size % self.accumulate:
            raise InputError(
                f"recipe.accumulate is {self.accumulate} but recipe.batch_size {self.batch_size}; expected parts of equal size."
            )
        _check_patterns("recipe.trains", self.trains)


def _check_patterns(where, patterns):
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise InputError(
                f"{where} has {pattern!r}, which is no regular expression ({error}); escape it, for example "
                f"{re.escape(pattern)!r}."
            ) from None


def plain_recipe(recipe):
    """Write a recipe as plain data, which JSON keeps.

    Names without decay are left out if there are none: trainings are what they were before there could be any.

    >>> plain = plain_recipe(Recipe(steps=10, batch_size=2))
    >>> plain["steps"], "undecayed_names" in plain["optimiser"]
    (10, False)
    """
    plain = asdict(recipe)
    if not recipe.optimiser.undecayed_names:
        del plain["optimiser"]["undecayed_names"]
    return plain


def read_recipe(entries):
    """Make a recipe of plain data, as `plain_recipe` gives it and JSON keeps it.

    >>> import json
    >>> recipe = Recipe(steps=10, batch_size=2, schedule=Schedule("milestones", milestones=(5,)))
    >>> read_recipe(json.loads(json.dumps(plain_recipe(recipe)))) == recipe
    True
    """
    parts = {"optimiser": OptimiserSpec, "schedule": Schedule}
    plain = {name: parts[name](**_with_tuples(values)) if name in parts else values for name, values in entries.items()}
    return Recipe(**_with_tuples(plain))


def _with_tuples(entries):
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entries.items()}


def _along_a_cosine(first, last, share):
    """The value between two that lies at a share of the way, along half a cosine."""
    return last + (first - last) / 2 * (1 + math.cos(math.pi * share))
