"""Who teaches whom: of the same class, never itself, and whoever else is asked for."""

import numpy as np
import pytest

from stages.ground.errors import InputError
from stages.training.class_partners import class_partners

CLASSES = np.random.default_rng(0).integers(5, size=300)
OTHERS = {f"subj0{n}": np.random.default_rng(n).integers(5, size=40 * n) for n in (2, 5, 7)}
NAMES = [f"nsd{n:05d}" for n in range(300)]


def test_partners_are_of_the_same_class_and_of_others():
    for seed in range(5):
        found = class_partners("subj01", NAMES, CLASSES, OTHERS, seed)
        assert set(found.subjects) == set(OTHERS)
        theirs = [OTHERS[subject][row] for subject, row in zip(found.subjects, found.rows)]
        np.testing.assert_array_equal(theirs, CLASSES)


def test_all_samples_of_a_class_are_as_likely():
    many = class_partners("subj01", [f"s{n}" for n in range(6000)], [1] * 6000, {"a": [1, 0, 1], "b": [1]})
    drawn = {("a", 0): 0, ("a", 2): 0, ("b", 0): 0}
    for one in zip(many.subjects.tolist(), many.rows.tolist()):
        drawn[one] += 1
    # Five standard deviations of a third of 6,000.
    assert all(abs(count - 2000) < 5 * np.sqrt(6000 * 2 / 9) for count in drawn.values())


def test_a_partner_depends_on_name_and_seed_alone():
    found = class_partners("subj01", NAMES, CLASSES, OTHERS)
    some = class_partners("subj01", NAMES[::-7], CLASSES[::-7], OTHERS)
    np.testing.assert_array_equal(found.rows[::-7], some.rows)
    assert (found.rows != class_partners("subj01", NAMES, CLASSES, OTHERS, seed=1).rows).any()


def test_nobody_teaches_itself():
    with pytest.raises(InputError, match="subj02 is to be taught by subj02, subj05, subj07, one of whom it is itself"):
        class_partners("subj02", NAMES, CLASSES, OTHERS)


def test_a_class_that_nobody_else_saw():
    with pytest.raises(
        InputError, match="1 of 2 stimuli of s are of classes that a saw nothing of .the first is y, of class dog"
    ):
        class_partners("s", ["x", "y"], ["cat", "dog"], {"a": ["cat"]})
    with pytest.raises(InputError, match="2 stimuli but 1 classes"):
        class_partners("s", ["x", "y"], ["cat"], {"a": ["cat"]})
