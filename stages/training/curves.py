"""The course of a training: a line of numbers every so many steps."""

from __future__ import annotations

import math

from stages.training.trouble import CannotTrain


class Diverged(CannotTrain, FloatingPointError):
    """A loss or a gradient is no longer finite."""


class Curves:
    """Lines of numbers, each at a step.

    >>> curves = Curves([{"step": 5, "loss": 2.0}, {"step": 10, "loss": 1.0, "validation": 1.5}])
    >>> curves["loss"]
    ([5, 10], [2.0, 1.0])
    >>> curves["validation"]
    ([10], [1.5])
    >>> list(curves)
    ['loss', 'validation']

    Parameters
    ----------
    lines : list of dict
        Each with a `step`, and numbers by name; None is no number.
    """

    def __init__(self, lines=()):
        self.lines = list(lines)

    def __iter__(self):
        names = {name: None for line in self.lines for name, value in line.items() if value is not None}
        return iter([name for name in names if name != "step"])

    def __getitem__(self, name):
        """Steps and values of a name: two lists of equal length."""
        found = [(line["step"], line[name]) for line in self.lines if line.get(name) is not None]
        return [step for step, _ in found], [value for _, value in found]

    def is_waiting_too_long(self, patience, best=min):
        """Tell whether so many validations came after the best one."""
        _, values = self["validation"]
        if patience is None or not values:
            return False
        return len(values) - 1 - values.index(best(values)) >= patience


def check_finite(losses, step, *advice):
    """Raise Diverged if one of the losses is not finite.

    Parameters
    ----------
    losses : dict of str to float
    step : int
    *advice
        As `stages.training.trouble.CannotTrain` takes it.
    """
    for name, value in losses.items():
        if not math.isfinite(value):
            named = "loss" if name == "loss" else f"{name} loss"
            raise Diverged(
                f"The {named} is {value} at step {step:,} and was to be finite: training has diverged", *advice
            )


def slower(learning_rate):
    """Advice to a training that diverges, as `CannotTrain` takes it.

    >>> slower(0.003)
    ('learn more slowly, for example with {learning_rate}', {'learning_rate': 0.0003})
    """
    return "learn more slowly, for example with {learning_rate}", {"learning_rate": float(f"{learning_rate / 10:.3g}")}
