"""Checks of what was given, each with its sentence: what is wrong with both values, what was expected, what to type.

What a parameter may be is data: a rule, or a table of rules by name. `check` holds one value against its rule,
`check_all` an object's attributes against a table.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.ground.errors import InputError
from stages.ground.pictures import how_to_convert

Value = TypeVar("Value")

ROUNDING = 1e-7
"""Standard deviation of a column of equal float32 numbers, as a share of their size: rounding makes no more of them."""


# Rules


class Rule(Protocol):
    """What a value may be. ``str(rule)`` says it after "expected", `example` is a value that may be typed."""

    @property
    def example(self) -> Any: ...

    def holds(self, value: Any) -> bool:
        """Whether the rule allows a value, whatever its type."""


@dataclass(frozen=True)
class Number:
    """A finite number from `low` to `high`.

    >>> str(Number(0, 1)), str(Number(0, above=True)), str(Number(1, whole=True))
    ('a number from 0 to 1', 'a number above 0', 'a whole number of 1 or more')

    Attributes
    ----------
    low, high : float
        Both may be reached, unless `above` or `below` says otherwise.
    above, below : bool
        Whether it lies above `low` and below `high`, and reaches neither.
    whole : bool
        Whether it is a whole number; 1.0 is none.
    optional : bool
        Whether it may be None.
    example : float, optional
        A value that may be typed; `low` or one near it, if it is not given.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False
    optional: bool = False
    example: float | None = None

    def __post_init__(self) -> None:
        if self.example is None:
            near = (self.low, self.low + 1, 0, self.high, self.high - 1, (self.low + self.high) / 2)
            object.__setattr__(self, "example", next(number for number in near if self.holds(number)))

    def holds(self, value: Any) -> bool:
        if value is None:
            return self.optional
        if not isinstance(value, Integral if self.whole else Real) or isinstance(value, bool):
            return False
        number: Any = value  # `Real` knows no order
        after_low = self.low < number if self.above else self.low <= number
        before_high = number < self.high if self.below else number <= self.high
        return after_low and before_high and math.isfinite(number)

    def __str__(self) -> str:
        low, high = f"{self.low:,}", f"{self.high:,}"
        if self.low == -math.inf:
            span = "" if self.high == math.inf else f" below {high}" if self.below else f" of {high} or less"
        elif self.high == math.inf:
            span = f" above {low}" if self.above else f" of {low} or more"
        elif self.above or self.below:
            span = f" above {low}" if self.above else f" of {low} or more"
            span += f" and below {high}" if self.below else f" and up to {high}"
        else:
            span = f" from {low} to {high}"
        return f"a {'whole ' if self.whole else ''}number{span}{' or None' if self.optional else ''}"


@dataclass(frozen=True)
class OneOf:
    """One of some values.

    >>> str(OneOf("no", "bf16"))
    "one of 'no', 'bf16'"

    Attributes
    ----------
    choices : tuple
    """

    choices: tuple

    def __init__(self, *choices: Any) -> None:
        object.__setattr__(self, "choices", choices)

    @property
    def example(self) -> Any:
        return self.choices[0]

    def holds(self, value: Any) -> bool:
        # True equals 1, and an array equals nothing as a whole.
        return any(type(value) is type(choice) and value == choice for choice in self.choices)

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.choices))}"


@dataclass(frozen=True)
class Numbers:
    """A list of one or more numbers that keep to the rule `each`, or one such number by itself.

    >>> str(Numbers(Number(0, above=True), example=(1e3, 1e4)))
    'one or more numbers above 0'

    Attributes
    ----------
    each : Number
    example : tuple of float
    alone : bool
        Whether one number by itself will do.
    """

    each: Number
    example: tuple
    alone: bool = True

    def holds(self, value: Any) -> bool:
        if isinstance(value, str | Mapping) or value is None:
            return False
        values = np.asarray(value, dtype=object)
        if values.ndim > 1 or (values.ndim == 0 and not self.alone):
            return False
        return values.size > 0 and all(self.each.holds(one) for one in values.ravel().tolist())

    def __str__(self) -> str:
        several = "one or more " if self.alone else "a list of "
        return str(self.each).replace("a ", several, 1).replace("number", "numbers", 1)


def check(name: str, value: Value, rule: Rule, typed: str = "{name}={example!r}") -> Value:
    """Return a value that keeps to its rule; a number or a word of NumPy's is what it is in Python.

    >>> check("n_folds", 5, Number(2, whole=True))
    5
    >>> check("n_folds", 1, Number(2, whole=True))
    Traceback (most recent call last):
    stages.ground.errors.InputError: n_folds is 1; expected a whole number of 2 or more: pass n_folds=2.

    Parameters
    ----------
    name : str
        What the user knows the value by.
    value : object
    rule : Rule
    typed : str
        What to pass, with the fields ``name`` and ``example``: an argument unless it says otherwise.

    Raises
    ------
    InputError
        The value breaks its rule.
    """
    # What is advised must not be refused for its type: numpy.str_("anova") prints as "anova".
    plain = (
        value.item() if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0) else value
    )
    if not rule.holds(plain):
        example = list(rule.example) if isinstance(rule.example, tuple) else rule.example
        typed = typed.format(name=name, example=example)
        value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        raise InputError(f"{name} is {reprlib.repr(value)}; expected {rule}: pass {typed}.")
    return value


def check_all(owner: object, rules: Mapping[str, Rule], where: str = "") -> None:
    """Check an object's attributes, each against its rule.

    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     dropout: float = 0.5
    ...     def __post_init__(self):
    ...         check_all(self, {"dropout": Number(0, 1, below=True)}, where="training")
    >>> Settings(dropout=1.5)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    stages.ground.errors.InputError: training.dropout is 1.5; expected a number of 0 or more and below 1: pass --set ...

    Parameters
    ----------
    owner : object
    rules : mapping of str to Rule
        By the name of the attribute.
    where : str
        Name of the table that the attributes are settings of. Without one they are arguments.

    Raises
    ------
    InputError
        At the first that breaks its rule.
    """
    for name, rule in rules.items():
        value = getattr(owner, name)
        if where:
            check(f"{where}.{name}", value, rule, typed="--set {name}={example}")
        else:
            check(name, value, rule)


# Arrays


def uint8_picture(picture: ArrayLike, taker: str = "what takes it") -> NDArray[np.uint8]:
    """Return a picture as an array; InputError unless it is uint8 of shape (height, width, 3).

    >>> uint8_picture(np.zeros((4, 4, 3), np.uint8)).shape
    (4, 4, 3)

    Parameters
    ----------
    picture : array-like
    taker : str
        Who takes only such pictures, for the message: "the VDVAE".
    """
    return _uint8("The picture is", picture, "(height, width, 3)", 3, taker)


def uint8_pictures(pictures: ArrayLike, taker: str = "what takes them") -> NDArray[np.uint8]:
    """Return pictures as an array; InputError unless they are uint8 of shape (n, height, width, 3).

    >>> uint8_pictures(np.zeros((2, 4, 4)), "CLIP")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    stages.ground.errors.InputError: Pictures are float64 of shape (2, 4, 4) but CLIP takes uint8 of shape (n, height, ...
    """
    return _uint8("Pictures are", pictures, "(n, height, width, 3)", 4, taker)


def _uint8(found: str, given: ArrayLike, shape: str, n_axes: int, taker: str) -> NDArray[np.uint8]:
    values = np.asarray(given)
    if values.dtype != np.uint8 or values.ndim != n_axes or values.shape[-1] != 3 or 0 in values.shape[-3:]:
        raise InputError(
            f"{found} {values.dtype} of shape {values.shape} but {taker} takes uint8 of shape {shape}, 0 to 255; "
            f"{how_to_convert(values)}."
        )
    return values


def finite(
    values: NDArray, name: str, axis: int = 0, units: str = "rows", fix: str = "look at what produced them"
) -> NDArray:
    """Return an array all of whose numbers are finite.

    >>> finite(np.float32([[1, np.nan], [1, 2]]), "patterns", axis=1, units="voxels")
    Traceback (most recent call last):
    stages.ground.errors.InputError: patterns hold NaN or infinite values in 1 of 2 voxels, the first being number 1; \
look at what produced them.

    Parameters
    ----------
    values : array of any shape with one axis or more
    name : str
        What the values are, in the plural: "patterns".
    axis : int
        The axis whose entries are counted.
    units : str
        What these entries are.
    fix : str
        What to do next.
    """
    if not (there := np.isfinite(values)).all():
        bad = ~there.all(axis=tuple(other for other in range(np.ndim(values)) if other != axis % np.ndim(values)))
        raise InputError(
            f"{name} hold NaN or infinite values in {int(bad.sum()):,} of {len(bad):,} {units}, the first being number "
            f"{int(np.argmax(bad))}; {fix}."
        )
    return values


def is_constant(mean: NDArray, deviation: NDArray) -> NDArray[np.bool_]:
    """Mask of the columns in which nothing varies but rounding.

    A column is constant if its standard deviation is no more than `ROUNDING` times its mean's size. A constant column of
    float32 numbers may vary by as much, depending on how it was summed. The rule knows no unit: a column times any
    factor stays what it is.

    >>> is_constant(mean=np.float64([0, 100, 100, 1e-20]), deviation=np.float64([0, 1e-6, 1, 1e-21]))
    array([ True,  True, False, False])

    Parameters
    ----------
    mean, deviation : array of shape (n_columns,)
        Mean and standard deviation of each column.

    Returns
    -------
    mask : array of shape (n_columns,), bool
    """
    return deviation <= ROUNDING * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
