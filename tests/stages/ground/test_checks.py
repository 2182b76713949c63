"""What is refused, and that the sentence says both values, what was expected, and what to type."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.ground.checks import (
    Number,
    Numbers,
    OneOf,
    check,
    check_all,
    finite,
    is_constant,
    uint8_picture,
    uint8_pictures,
)
from stages.ground.errors import InputError

# Rule, how it reads, what it allows, what it refuses.
RULES = [
    (Number(), "a number", [0, -1.5, np.float32(2), np.int64(3)], ["1", None, True, np.nan, np.inf, -np.inf, [1], 1j]),
    (Number(0, 1), "a number from 0 to 1", [0, 1, 0.5], [-1e-9, 1.1]),
    (Number(0, above=True), "a number above 0", [1e-300, 5], [0, -1, np.inf]),
    (Number(0, 1, below=True), "a number of 0 or more and below 1", [0, 0.9], [1, -0.1]),
    (Number(0, 1, above=True), "a number above 0 and up to 1", [1, 0.1], [0]),
    (Number(0, 1, above=True, below=True), "a number above 0 and below 1", [0.5], [0, 1]),
    (Number(high=5), "a number of 5 or less", [5, -7], [6, -np.inf]),
    (Number(high=-5, below=True), "a number below -5", [-5.1], [-5]),
    (Number(1, whole=True), "a whole number of 1 or more", [1, np.int32(2), 10**20], [0, 1.0, True, np.float64(2)]),
    (Number(0, 2000, whole=True, optional=True), "a whole number from 0 to 2,000 or None", [0, None], [0.0, "None"]),
    (OneOf("no", "bf16"), "one of 'no', 'bf16'", ["no"], ["yes", None, ["no"], np.array(["no"])]),
    (OneOf(1, 255.0), "one of 1, 255.0", [1, 255.0], [True, 255, 1.0]),
    (
        Numbers(Number(0, above=True), (1e3, 1e4)),
        "one or more numbers above 0",
        [1, [1.5, 2], (3,), np.array([1.0, 2.0]), range(1, 3)],
        [0, [], [1, 0], [1, np.nan], "12", None, {"a": 1}, [[1], "2"], np.ones((2, 2))],
    ),
    (Numbers(Number(0, above=True), (10,), alone=False), "a list of numbers above 0", [[1.5, 2], (3,)], [3, 3.0, []]),
]
CASES = [(rule, value, True) for rule, _, good, _ in RULES for value in good]
CASES += [(rule, value, False) for rule, _, _, bad in RULES for value in bad]


@pytest.mark.parametrize(("rule", "value", "allowed"), CASES)
def test_what_a_rule_allows(rule, value, allowed):
    assert rule.holds(value) is allowed


@pytest.mark.parametrize("rule", [rule for rule, *_ in RULES] + [OneOf(True, False)])
def test_what_is_advised_is_never_refused_for_being_numpys(rule):
    example = rule.example
    for value in (example, np.asarray(example), *([] if isinstance(example, tuple) else [np.asarray(example)[()]])):
        check("x", value, rule)


@pytest.mark.parametrize(("rule", "words"), [case[:2] for case in RULES])
def test_how_a_rule_reads_and_that_its_example_keeps_to_it(rule, words):
    assert str(rule) == words
    assert rule.holds(rule.example)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.booleans(), st.booleans())
def test_examples_lie_in_any_range(low, width, above, below):
    rule = Number(low, low + width, above, below)
    assert rule.holds(rule.example)


def test_the_sentence():
    assert check("keep", "all", OneOf("all", "none")) == "all"
    with pytest.raises(InputError, match=r"^keep is 'some'; expected one of 'all', 'none': pass keep='all'\.$"):
        check("keep", "some", OneOf("all", "none"))
    with pytest.raises(InputError, match=r"^alphas is \[\]; expected one or more numbers: pass alphas=\[1000.0\]\.$"):
        check("alphas", [], Numbers(Number(), (1e3,)))
    with pytest.raises(InputError, match=r"^training.precision is None; .*: pass --set training.precision=no\.$"):
        check("training.precision", None, OneOf("no", "bf16"), typed="--set {name}={example}")
    with pytest.raises(InputError) as refused:
        check("alphas", list(range(1000)), Number())
    assert len(str(refused.value)) < 120
    with pytest.raises(InputError, match=r"^alphas is \[\[1.0, 1.0\], \[1.0, 1.0\]\]; .*$"):
        check("alphas", np.ones((2, 2)), Numbers(Number(), (1e3,)))


@dataclass(frozen=True)
class Settings:
    steps: int = 10
    share: float = 0.1

    def __post_init__(self):
        check_all(self, {"steps": Number(1, whole=True), "share": Number(0, 0.5)}, where="training")


def test_settings_are_checked_by_a_table():
    assert Settings(steps=1, share=0).steps == 1
    with pytest.raises(InputError, match=r"training.steps is 0; expected .* --set training.steps=1\."):
        Settings(steps=0, share=2)
    with pytest.raises(InputError, match=r"training.share is 0.6; expected a number from 0 to 0.5"):
        Settings(share=0.6)


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 4, 5, 4), (4, 5, 3), (2, 0, 5, 3)])
def test_pictures_of_another_shape_or_type_are_refused(shape):
    with pytest.raises(InputError, match=r"Pictures are uint8 of shape .* but CLIP takes uint8 of shape \(n, height"):
        uint8_pictures(np.zeros(shape, np.uint8), "CLIP")
    with pytest.raises(
        InputError, match=r"float32 of shape \(4, 5, 3\) but CLIP takes uint8 of shape \(height, width, 3\)"
    ):
        uint8_picture(np.zeros((4, 5, 3), np.float32), "CLIP")


def test_pictures_may_be_any_array():
    pictures = torch.zeros((0, 4, 5, 3), dtype=torch.uint8)
    assert uint8_pictures(pictures).shape == (0, 4, 5, 3)


@pytest.mark.parametrize(("axis", "count", "first"), [(0, "2 of 3", 1), (1, "1 of 4", 2), (-1, "1 of 4", 2)])
def test_what_is_not_finite_is_counted(axis, count, first):
    values = np.ones((3, 4))
    assert finite(values, "betas") is values
    values[1, 2], values[2, 2] = np.nan, np.inf
    with pytest.raises(
        InputError, match=f"betas hold NaN .* in {count} things, the first being number {first}; mend it"
    ):
        finite(values, "betas", axis, "things", "mend it")


@pytest.mark.parametrize("size", [1e-30, 1.0, 12345.678, 1e30])
def test_equal_float32_numbers_are_constant_at_any_size(size):
    random = np.random.default_rng(0)
    constant = np.full((1000, 3), np.float32(size))
    varying = constant * (1 + random.normal(0, 1e-4, constant.shape)).astype(np.float32)
    for values, expected in ((constant, True), (varying, False)):
        for kind in (np.float32, np.float64):
            mean, deviation = values.mean(axis=0, dtype=kind), values.std(axis=0, dtype=np.float64)
            assert (is_constant(mean, deviation) == expected).all()
    assert is_constant(np.zeros(1), np.zeros(1)).all()
