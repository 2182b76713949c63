"""The teacher's places: the published formula in plain loops, and what is refused."""

import math

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.objectives.teacher import PlacesOfTeacher


def by_hand(student, teacher, view, temperature):
    """Mean of two cross-entropies, one place after the other."""
    rows = [values.reshape(-1, values.shape[-1]).astype(np.float64) for values in (student, teacher, view)]
    student, teacher, view = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in rows)

    def cross_entropy(labelling, against, judged):
        total = 0.0
        for one, other in zip(labelling, judged):
            labels = [math.exp(one @ row / temperature) for row in against[0]]
            logits = [other @ row / temperature for row in against[1]]
            logarithm = math.log(sum(math.exp(value) for value in logits))
            total -= sum(label / sum(labels) * (value - logarithm) for label, value in zip(labels, logits))
        return total / len(labelling)

    there = cross_entropy(teacher, (view, view), student)
    back = cross_entropy(view, (teacher, student), view)
    return (there + back) / 2


def test_it_is_the_published_loss():
    random = np.random.default_rng(0)
    student, teacher, view = (random.standard_normal((3, 4, 5)).astype(np.float32) for _ in range(3))
    outputs = {"places": torch.from_numpy(student)}
    targets = {"places": torch.from_numpy(teacher), "changed_places": torch.from_numpy(view)}
    loss, parts = PlacesOfTeacher("places", "changed_places")(outputs, targets, 0)
    expected = by_hand(student, teacher, view, 0.075)
    assert parts["places contrast"].item() == pytest.approx(expected, rel=1e-5)
    assert loss.item() == pytest.approx(0.1 * expected, rel=1e-5)


def test_a_student_that_is_the_teacher_is_at_the_minimum():
    random = torch.Generator().manual_seed(0)
    teacher, view = torch.randn(2, 3, 6, generator=random), torch.randn(2, 3, 6, generator=random)
    student = teacher.clone().requires_grad_()
    targets = {"places": teacher, "changed_places": view}
    loss, _ = PlacesOfTeacher("places", "changed_places")({"places": student}, targets, 0)
    loss.backward()
    # The two directions have their minima there.
    assert student.grad.abs().max() < 1e-6


def test_other_numbers_of_places_are_refused():
    objective = PlacesOfTeacher("places", "changed_places")
    targets = {"places": torch.ones(2, 4, 8), "changed_places": torch.ones(2, 4, 8)}
    with pytest.raises(InputError, match=r"shape \(9, 8\) and its teacher \(4, 8\).*latent.teacher=false"):
        objective({"places": torch.ones(2, 9, 8)}, targets, 0)
    for wrong in ({"temperature": 0}, {"weight": -1}):
        with pytest.raises(InputError):
            PlacesOfTeacher("places", "changed_places", **wrong)
