"""The language of regions, against sets and against the plain rule from left to right."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainrecon.datasets.voxels import Regions, absent, masked_regions
from stages.ground.errors import InputError

N = 40
RANDOM = np.random.default_rng(0)
MASKS = {name: RANDOM.random(N) < 0.4 for name in ("V1", "V1v", "V2", "FFA", "FFA-1", "ecc4", "ecc4+", "lh.V1", "a:b")}
REGIONS = masked_regions("here", MASKS, N)
NAMES = st.sampled_from([*MASKS, "all"])
SIGNS = {"+": np.union1d, "|": np.union1d, "&": np.intersect1d, "-": np.setdiff1d}


def members(name):
    return np.flatnonzero(MASKS.get(name, np.ones(N, bool)))


def value(tree):
    """The voxels of a tree of (sign, left, right), by operations on sets."""
    return members(tree) if isinstance(tree, str) else SIGNS[tree[0]](value(tree[1]), value(tree[2]))


def spelt(tree, space):
    """The expression of a tree: a right branch needs parentheses, a left one none."""
    if isinstance(tree, str):
        return tree
    sign, left, right = tree
    right = spelt(right, space) if isinstance(right, str) else f"({spelt(right, space)})"
    return f"{spelt(left, space)}{space}{sign}{space}{right}"


TREES = st.recursive(NAMES, lambda smaller: st.tuples(st.sampled_from("+|&-"), smaller, smaller), max_leaves=8)


@given(TREES)
def test_expressions_against_sets(tree):
    expression = spelt(tree, " ")
    if len(value(tree)):
        assert np.flatnonzero(REGIONS.select(expression)).tolist() == value(tree).tolist()
        assert np.flatnonzero(REGIONS.select(f" ( {expression} ) ")).tolist() == value(tree).tolist()
    else:
        with pytest.raises(InputError, match="leaves no voxel"):
            REGIONS.select(expression)


def left_to_right(expression):
    """Names joined by + and -, read by one rule: the longest name that a sign or the end follows."""
    pattern = "|".join(map(re.escape, sorted([*MASKS, "all"], key=len, reverse=True)))
    found, sign, place = np.zeros(0, int), "+", 0
    while True:
        term = re.compile(rf"\s*({pattern})\s*(?=[+-]|$)").match(expression, place)
        found = SIGNS[sign](found, members(term[1]))
        if term.end() == len(expression):
            return found
        sign, place = expression[term.end()], term.end() + 1


@given(st.lists(st.tuples(st.sampled_from("+-"), NAMES), max_size=5), NAMES, st.sampled_from(["", " "]))
def test_names_with_signs_are_read_as_the_longest_that_fits(rest, first, space):
    expression = first + "".join(f"{space}{sign}{space}{name}" for sign, name in rest)
    expected = left_to_right(expression)
    if len(expected):
        assert np.flatnonzero(REGIONS.select(expression)).tolist() == expected.tolist()


def test_any_text_stands_for_every_region_that_fits():
    np.testing.assert_array_equal(REGIONS.select("V1*"), MASKS["V1"] | MASKS["V1v"])
    np.testing.assert_array_equal(
        REGIONS.select("all - (V* | *cc*)"), ~np.any([MASKS[k] for k in ("V1", "V1v", "V2", "ecc4", "ecc4+")], axis=0)
    )
    aliased = Regions("here", ("V1",), MASKS.__getitem__, ("V2", "V1v"))
    np.testing.assert_array_equal(aliased.select("V*"), MASKS["V1"])
    np.testing.assert_array_equal(aliased.select("*2"), MASKS["V2"])


def test_numbers_of_voxels():
    numbers = RANDOM.integers(-2, 3, N)
    regions = Regions("here", ("V1", "x"), MASKS.get, equal=lambda name, number: numbers == number)
    np.testing.assert_array_equal(regions.select("x = -1"), numbers == -1)
    np.testing.assert_array_equal(regions.select("V1 & (x=2)"), MASKS["V1"] & (numbers == 2))
    with pytest.raises(InputError, match="'V1' stands where a number was expected"):
        regions.select("x = V1")
    with pytest.raises(InputError, match="no roi 'V1 = 2'|no roi 'V1'"):
        REGIONS.select("V1 = 2")


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "the end stands where a region was expected"),
        ("V1 +", "the end stands where a region"),
        ("& V1", "'&' stands where a region"),
        ("V1)", r"'\)' stands where an operator"),
        ("(V1 | V2", "a parenthesis stays open"),
        ("()", r"'\)' stands where a region"),
        ("V9", r"here has no roi 'V9'; it has V1, V1v, .*, all"),
        ("V1 + v2", r"no roi 'v2'.* \(did you mean 'V2'\?\)"),
        ("V1-V1", "'V1-V1' of here leaves no voxel; take less away"),
        ("X*", r"no roi 'X\*'"),
        ("(" * 3000 + "V1", "goes too deep"),
    ],
)
def test_one_sentence(expression, told):
    with pytest.raises(InputError, match=told) as caught:
        REGIONS.select(expression)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_region_without_voxels_is_a_mistake_unless_it_may_be_empty():
    empty = MASKS | {"none": np.zeros(N, bool)}
    with pytest.raises(InputError, match="The roi 'none' of here has no voxels; those that have some are V1, "):
        masked_regions("here", empty, N).select("V1 + none")
    lenient = Regions("here", tuple(empty), empty.get, may_be_empty=True)
    np.testing.assert_array_equal(lenient.select("V1 + none"), MASKS["V1"])
    assert not lenient.select("none").any()


def test_what_was_meant_is_looked_for_among_all_names():
    assert "did you mean 'subj01'?" in str(absent("x", "subject", "Subj1", ["subj01", "subj02"]))
    assert "did you mean" not in str(absent("x", "subject", "anybody", ["subj01"]))


def test_a_family_is_all_of_its_numbered_regions():
    masks = {
        "FFA-1": [1, 0, 0, 0],
        "FFA-2": [0, 1, 0, 0],
        "V1": [0, 1, 1, 0],
        "PPA": [0, 0, 0, 1],
        "PPA-1": [1, 0, 0, 0],
    }
    regions = masked_regions("here", {name: np.array(mask, dtype=bool) for name, mask in masks.items()}, 4)
    assert regions.select("FFA").tolist() == [True, True, False, False]
    assert regions.select("FFA - V1").tolist() == [True, False, False, False]
    assert regions.select("FFA-1").tolist() == [True, False, False, False]
    # A region of the name itself is that region.
    assert regions.select("PPA").tolist() == [False, False, False, True]
    with pytest.raises(InputError, match="has no roi 'EBA'"):
        regions.select("EBA")
