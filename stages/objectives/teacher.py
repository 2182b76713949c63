"""What brings decoded places of a picture to where a teacher's are (Scotti et al. 2023)."""

from __future__ import annotations

from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.objectives.contrastive import soft_views


class PlacesOfTeacher:
    """Places are to be as near to those of changed pictures as the teacher's are (`stages.objectives.contrastive.soft_views`).

    Every place of every picture of a batch is compared with every other.

    >>> import torch
    >>> places = torch.eye(6).reshape(2, 3, 6)
    >>> objective = PlacesOfTeacher("places", "changed_places", weight=0.5)
    >>> loss, parts = objective({"places": places}, {"places": places, "changed_places": places}, step=0)
    >>> loss.item() < 1e-4, list(parts)
    (True, ['places contrast'])

    Parameters
    ----------
    name : str
        The output, and the target that holds the teacher's places; tensors of shape (n, n_places, width).
    other_view : str
        The target that holds the teacher's places of changed pictures.
    temperature : float
        Published: 0.075.
    weight : float
        Published: 0.1.
    """

    compares = True

    def __init__(self, name, other_view, temperature=0.075, weight=0.1):
        check("temperature", temperature, Number(0, above=True, example=0.075))
        check("weight", weight, Number(0))
        self.reads, self.other_view, self.temperature, self.weight = (name,), other_view, temperature, weight

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        student, teacher, view = outputs[name], targets[name], targets[self.other_view]
        if student.shape != teacher.shape:
            raise InputError(
                f"The network gives {name} of shape {tuple(student.shape[1:])} and its teacher {tuple(teacher.shape[1:])}; show "
                "the teacher pictures of another size, or leave it out: --set latent.teacher=false."
            )
        loss = soft_views(*(places.flatten(0, 1) for places in (student, teacher, view)), self.temperature)
        return self.weight * loss, {f"{name} contrast": loss.detach()}

    def __repr__(self):
        return f"PlacesOfTeacher({self.reads[0]!r}, {self.other_view!r}, weight={self.weight})"
