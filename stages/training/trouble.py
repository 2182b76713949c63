"""Errors of a training that cannot go on as it was set up, in words that whoever set it up can spell in their own way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stages.ground.errors import InputError
from stages.ground.out_of_memory import is_short_of_memory
from stages.training.recipe import Recipe


def in_recipe(name: str, value: Any) -> str:
    """Spell a setting as a recipe has it.

    >>> in_recipe("learning_rate", 1e-4), in_recipe("accumulate", 2)
    ('recipe.optimiser.learning_rate = 0.0001', 'recipe.accumulate = 2')
    """
    where = "recipe.optimiser" if name == "learning_rate" else "recipe"
    return f"{where}.{name} = {value}"


class CannotTrain(InputError):
    """A training cannot go on as it was set up.

    >>> error = CannotTrain("It does not learn", "try {learning_rate}", {"learning_rate": 0.1})
    >>> print(error)
    It does not learn; try recipe.optimiser.learning_rate = 0.1.
    >>> print(error.respelled(lambda name, value: f"--set decoder.{name}={value}", " in another folder"))
    It does not learn; try --set decoder.learning_rate=0.1 in another folder.

    Parameters
    ----------
    fact : str
        What is wrong.
    advice : str
        What to do about it, with names of settings in braces; empty if `fact` says it.
    values : mapping of str to anything
        What to set these to. Names are those of a recipe, and `learning_rate`.
    spell : callable
        ``spell(name, value) -> str``: how whoever set the training up writes a setting.
    more : str
        What comes after the advice.
    """

    def __init__(
        self,
        fact: str,
        advice: str = "",
        values: Mapping[str, Any] | None = None,
        spell: Callable[[str, Any], str] = in_recipe,
        more: str = "",
    ) -> None:
        self.fact, self.advice, self.values = fact, advice, dict(values or {})
        told = advice.format(**{name: spell(name, value) for name, value in self.values.items()})
        super().__init__(f"{fact}; {told}{more}." if told else fact)

    def respelled(self, spell: Callable[[str, Any], str], more: str = "") -> CannotTrain:
        """Return the same error with settings spelled otherwise."""
        return type(self)(self.fact, self.advice, self.values, spell, more)


class OutOfMemory(CannotTrain, MemoryError):
    """A training needs more memory than there is."""


@contextmanager
def telling_of_short_memory(recipe: Recipe, device: Any, step: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Raise OutOfMemory in place of what torch and numpy raise if memory does not suffice within.

    Parameters
    ----------
    recipe : Recipe
        Of the training.
    device : str or torch.device
    step : callable
        ``step() -> int``: how many steps are done.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, OutOfMemory) or not is_short_of_memory(error):
            raise
        parts = "" if recipe.accumulate == 1 else f" in {recipe.accumulate} parts"
        advice, values = ways_to_less(recipe)
        raise OutOfMemory(
            f"Memory of {device} does not suffice to train with batches of {recipe.batch_size} samples{parts}: it ran out "
            f"in step {step():,}, and the last checkpoint is kept",
            f"free some and run the same again, which goes on from there, or {advice}",
            values,
        ) from error


def ways_to_less(recipe: Recipe) -> tuple[str, dict[str, Any]]:
    """Return what lets a training do with less memory: advice and values, as `CannotTrain` takes them.

    >>> ways_to_less(Recipe(steps=1, batch_size=32))
    ('train with {accumulate} or {precision}', {'accumulate': 2, 'precision': 'bf16'})
    >>> ways_to_less(Recipe(steps=1, batch_size=2, accumulate=2, precision="bf16"))
    ('train with {batch_size}', {'batch_size': 1})
    """
    values: dict[str, Any] = {}
    # The gradient is that of the whole batch, whatever its parts.
    more_parts = [n for n in range(recipe.accumulate + 1, recipe.batch_size + 1) if recipe.batch_size % n == 0]
    if more_parts:
        values["accumulate"] = more_parts[0]
    elif recipe.batch_size > 1:
        values["batch_size"] = recipe.batch_size // 2
    if recipe.precision == "no":
        values["precision"] = "bf16"
    if not values:
        return "take a smaller network or another device", {}
    return "train with " + " or ".join(f"{{{name}}}" for name in values), values
