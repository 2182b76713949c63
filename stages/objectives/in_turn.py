"""An objective whose true values are several in turn, from step to step."""

from __future__ import annotations

from collections.abc import Sequence

from stages.ground.errors import InputError


class InTurn:
    """Hold an output to one of several targets, each step to the next one: what an objective does with captions, one at a time.

    >>> import torch
    >>> from stages.objectives.regression import MeanSquaredError
    >>> objective = InTurn(MeanSquaredError("clip_text"), ("clip_text", "second_caption"))
    >>> true = {"clip_text": torch.zeros(4, 3), "second_caption": torch.ones(4, 3)}
    >>> [objective({"clip_text": torch.ones(4, 3)}, true, step)[0].item() for step in range(3)]
    [1.0, 0.0, 1.0]

    Trials of a stimulus take turns in the same way (`stages.training.batches.InTurn`): of stimuli with as many trials as there
    are targets, each trial stands beside its own.

    Parameters
    ----------
    objective : stages.objectives.objective.Objective
        Of one output.
    names : sequence of str
        Targets; of step t the one numbered t modulo their number. The first is what the objective reads by itself.
    """

    def __init__(self, objective, names: Sequence[str]):
        (name,) = objective.reads
        if not names or names[0] != name:
            raise InputError(
                f"Targets in turn are {list(names)} but {objective!r} reads {name!r}; expected it first: name it there."
            )
        self.objective, self.names, self.reads = objective, tuple(names), objective.reads
        self.compares = getattr(objective, "compares", False)
        # What a training depends on is told by plain attributes.
        plain = {name: value for name, value in vars(objective).items() if isinstance(value, (bool, int, float, str))}
        self.told = f"{type(objective).__qualname__} {plain} {', '.join(names)}"

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        return self.objective(outputs, {**targets, name: targets[self.names[step % len(self.names)]]}, step)

    def __repr__(self):
        return f"InTurn({self.objective!r}, {list(self.names)})"
