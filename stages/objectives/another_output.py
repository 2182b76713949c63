"""An objective of one output, of another that is to be the same: as of changed features, which must still decode."""

from __future__ import annotations

from collections.abc import Sequence


class OfAnotherOutput:
    """Judge an output by an objective that is about another, with the true values of that one.

    >>> import torch
    >>> from stages.objectives.regression import MeanSquaredError
    >>> objective = OfAnotherOutput(MeanSquaredError("clip_image"), "mixed_clip_image", needs=("teacher",))
    >>> objective.reads, objective.held_to
    (('mixed_clip_image',), ('clip_image', 'teacher'))
    >>> outputs, targets = {"mixed_clip_image": torch.ones(2, 3)}, {"clip_image": torch.zeros(2, 3)}
    >>> loss, parts = objective(outputs, targets, step=0)
    >>> loss.item(), list(parts)
    (1.0, ['mixed_clip_image error'])

    Parameters
    ----------
    objective : stages.objectives.objective.Objective
        Of one output.
    output : str
        Which is judged in its place.
    needs : sequence of str
        True values without which the network has no such output: the objective is left out if they are not known.
    weight : float
        Of its loss.
    """

    if_known = True

    def __init__(self, objective, output: str, needs: Sequence[str] = (), weight: float = 1.0) -> None:
        (self._name,) = objective.reads
        self._objective, self.weight, self.of = objective, weight, repr(objective)
        self.reads, self.held_to = (output,), (self._name, *needs)
        self.compares = getattr(objective, "compares", False)

    def __call__(self, outputs, targets, step):
        (output,) = self.reads
        loss, parts = self._objective({self._name: outputs[output]}, targets, step)
        return self.weight * loss, {name.replace(self._name, output): value for name, value in parts.items()}

    def __repr__(self):
        return f"OfAnotherOutput({self.of}, {self.reads[0]!r})"
