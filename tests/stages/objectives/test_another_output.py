"""An objective about one output, of another: the same numbers under another name."""

import torch

from stages.objectives.another_output import OfAnotherOutput
from stages.objectives.regression import UnitSquaredError
from stages.objectives.retrieval import SoftContrast

OUTPUT, TRUE = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0)).unbind()


def test_it_is_the_objective_of_the_other_output():
    for one in (SoftContrast("image", 0.1), UnitSquaredError("image", 20.0)):
        other = OfAnotherOutput(one, "mixed_image", needs=("teacher",), weight=0.5)
        loss, parts = other({"mixed_image": OUTPUT, "image": TRUE}, {"image": TRUE}, step=0)
        expected, their_parts = one({"image": OUTPUT}, {"image": TRUE}, step=0)
        torch.testing.assert_close(loss, 0.5 * expected)
        assert list(parts) == [f"mixed_{name}" for name in their_parts] and other.if_known
        assert (other.reads, other.held_to) == (("mixed_image",), ("image", "teacher"))


def test_it_compares_samples_if_the_objective_does():
    assert OfAnotherOutput(SoftContrast("image"), "mixed").compares
    assert not OfAnotherOutput(UnitSquaredError("image"), "mixed").compares


def test_trainings_by_other_weights_can_be_told_apart():
    one, other = (OfAnotherOutput(UnitSquaredError("image", weight), "mixed") for weight in (1.0, 2.0))
    assert one.of != other.of
