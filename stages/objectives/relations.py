"""Relations between the samples of a batch as a teacher sees them: Park et al. (CVPR 2019), "Relational knowledge distillation".

Not the features themselves but how far samples lie apart, and in which angles, is what the student learns of the teacher: it may
turn, shift and scale its features as it likes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from stages.ground.checks import Number, check
from stages.objectives.spectral_distance import check_teacher

_SMALLEST = 1e-12


def distances(rows: Tensor) -> Tensor:
    """Euclidean distance of each row from each other, divided by their mean over all pairs of two; tensor of shape (n, n).

    >>> distances(torch.tensor([[0.0], [1.0], [3.0]]))
    tensor([[0.0000, 0.5000, 1.5000],
            [0.5000, 0.0000, 1.0000],
            [1.5000, 1.0000, 0.0000]])

    Parameters
    ----------
    rows : tensor of shape (n, n_values)
    """
    squares = (rows[:, None] - rows[None]).square().sum(dim=2)
    # The root of 0 has no finite gradient.
    apart = torch.where(squares > _SMALLEST, squares.clamp_min(_SMALLEST).sqrt(), torch.zeros_like(squares))
    there = apart > 0
    return apart / apart[there].mean() if there.any() else apart


def angles(rows: Tensor) -> Tensor:
    """Cosine of the angle at row j between the ways to rows i and k, by [j, i, k]; tensor of shape (n, n, n).

    >>> angles(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 5.0]]))[0, 1]
    tensor([0., 1., 0.])

    Parameters
    ----------
    rows : tensor of shape (n, n_values)
    """
    ways = normalize(rows[None] - rows[:, None], dim=2)
    return ways @ ways.transpose(1, 2)


class RelationalDistance:
    """Distances and angles between a batch's samples are to be those between the teacher's.

    loss = weight * (distance_weight * H(d, d') + angle_weight * H(c, c')), the Huber loss averaged over pairs and triples. It is
    left out of a training that has no teacher.

    >>> u = torch.rand(4, 6)
    >>> loss, parts = RelationalDistance("features")({"features": u}, {"features": 3 * u + 1}, step=0)
    >>> round(loss.item(), 4), list(parts)
    (0.0, ['features distances', 'features angles'])

    Parameters
    ----------
    name : str
        The output, and the target that holds the teacher's; tensors of shape (n, n_values).
    distance_weight, angle_weight : float
        Park et al.: 1 and 2 where both are used.
    weight : float

    Raises
    ------
    InputError
    """

    compares, if_known = True, True

    def __init__(self, name: str, distance_weight: float = 1.0, angle_weight: float = 2.0, weight: float = 1.0) -> None:
        for label, value in {
            "distance_weight": distance_weight,
            "angle_weight": angle_weight,
            "weight": weight,
        }.items():
            check(label, value, Number(0))
        self.reads, self.weight = (name,), weight
        self.distance_weight, self.angle_weight = distance_weight, angle_weight

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        student, teacher = outputs[name].float(), targets[name].float()
        check_teacher(name, student, teacher)
        apart = smooth_l1_loss(distances(student), distances(teacher))
        turned = smooth_l1_loss(angles(student), angles(teacher))
        loss = self.distance_weight * apart + self.angle_weight * turned
        return self.weight * loss, {f"{name} distances": apart.detach(), f"{name} angles": turned.detach()}

    def __repr__(self):
        return (
            f"RelationalDistance({self.reads[0]!r}, {self.distance_weight}, {self.angle_weight}, weight={self.weight})"
        )
