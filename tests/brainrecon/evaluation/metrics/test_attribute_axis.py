"""Attributes along an axis of latents: the published formula, and what it says of decoded ones."""

import numpy as np
import pytest

from brainrecon.evaluation.metrics.attribute_axis import on_attribute_axis
from brainrecon.evaluation.metrics.identification import two_way_identification
from stages.ground.errors import InputError

RANDOM = np.random.default_rng(0)
MEN, WOMEN = RANDOM.normal(0.3, 1, (40, 12)), RANDOM.normal(-0.3, 1, (50, 12))


def test_projections_vs_the_formula_row_by_row():
    values = RANDOM.normal(size=(6, 12))
    axis = MEN.mean(axis=0) - WOMEN.mean(axis=0)
    expected = [np.dot(row, axis) / np.linalg.norm(axis) for row in values]
    np.testing.assert_allclose(on_attribute_axis(values, MEN, WOMEN), expected)
    middle = np.dot(MEN.mean(axis=0) + WOMEN.mean(axis=0), axis) / 2 / np.linalg.norm(axis)
    np.testing.assert_allclose(on_attribute_axis(values, MEN, WOMEN, "midpoint"), np.array(expected) - middle)


def test_groups_exchanged_have_the_other_sign():
    values = RANDOM.normal(size=(6, 12))
    np.testing.assert_allclose(on_attribute_axis(values, WOMEN, MEN), -on_attribute_axis(values, MEN, WOMEN))


def test_the_means_lie_at_equal_distance_of_the_midpoint():
    means = np.stack([MEN.mean(axis=0), WOMEN.mean(axis=0)])
    first, second = on_attribute_axis(means, MEN, WOMEN, "midpoint")
    assert first == pytest.approx(-second) and first > 0


def test_a_gender_is_told_from_latents_and_not_from_noise():
    tested = np.vstack([RANDOM.normal(0.3, 1, (500, 12)), RANDOM.normal(-0.3, 1, (500, 12))])
    is_man = np.arange(1000) < 500
    told = (on_attribute_axis(tested, MEN, WOMEN, "midpoint") > 0) == is_man
    noise = (on_attribute_axis(RANDOM.normal(size=(1000, 12)), MEN, WOMEN, "midpoint") > 0) == is_man
    assert told.mean() > 0.75 and abs(noise.mean() - 0.5) < 0.06  # four standard errors


def test_imagery_is_identification_among_the_test_faces():
    """What was imagined is one of the faces that were tested: two-way identification, told which."""
    faces = RANDOM.normal(size=(20, 12))
    decoded = faces[[4]] + 0.5 * RANDOM.normal(size=(1, 12))
    own = np.corrcoef(decoded[0], faces[4])[0, 1]
    others = [np.corrcoef(decoded[0], faces[row])[0, 1] for row in range(20) if row != 4]
    np.testing.assert_allclose(two_way_identification(faces, decoded, targets=[4]), np.mean(np.array(others) < own))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((np.ones((2, 12)), MEN[:0], WOMEN), "a picture or more"),
        ((np.ones((2, 11)), MEN, WOMEN), "11 latents to project, 12 and 12"),
        ((np.ones((2, 12)), MEN, MEN), "same mean latents"),
        ((np.ones((2, 12)), MEN, WOMEN, "middle"), "origin is 'middle'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(arguments, said):
    with pytest.raises(InputError, match=said):
        on_attribute_axis(*arguments)
