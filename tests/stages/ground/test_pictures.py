"""Pictures from outside: what cannot be pictures, and what to type."""

import numpy as np
import pytest

from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows
from stages.ground.pictures import check_levels, check_shown, how_to_convert


def pictures(n=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 5, 6, 3), dtype=np.uint8)


class Counted(LazyRows):
    """Pictures that know how many of them were read."""

    def __init__(self, values, n=None):
        self.values, self.read = values, 0
        super().__init__((n or len(values), *values.shape[1:]), values.dtype)

    def _read(self, rows):
        self.read += len(rows)
        return self.values[rows % len(self.values)]


@pytest.mark.parametrize("lazy", [False, True])
def test_binary_patterns_are_refused_and_what_is_dark_is_not(lazy):
    of = Counted if lazy else np.asarray
    with pytest.raises(
        InputError, match="train pictures are uint8 and their highest value is 1, where 255 is white.*by 255"
    ):
        check_levels(of((pictures() > 127).astype(np.uint8)), "train pictures")
    dark = np.zeros((40, 5, 6, 3), np.uint8)
    check_levels(of(dark), "drawn pictures")  # a method may draw nothing
    dark[:, 0] = 1
    check_levels(of(dark[:1]), "drawn pictures")  # one picture alone may be dark
    dark[37, 2, 2, 2] = 2
    check_levels(of(dark), "drawn pictures")
    check_shown(of(dark), "shown pictures")
    check_levels(of(pictures() / 255), "anything")  # of another type nothing is said


def test_one_picture_for_all_is_refused_and_one_alone_is_not():
    same = np.repeat(pictures(1), 40, axis=0)
    with pytest.raises(InputError, match="The 40 train pictures are one and the same; .*leave pictures out"):
        check_shown(same, "train pictures")
    check_shown(same[:1], "test pictures")
    same[39, 0, 0, 0] ^= 1
    check_shown(same, "train pictures")
    check_shown(pictures(0), "no pictures")


def test_a_few_pictures_are_read_where_they_tell_and_some_at_even_spacing_where_there_are_many():
    usual = Counted(pictures())
    check_shown(usual, "pictures")
    assert usual.read <= 2 * 16
    many = Counted(np.zeros((3, 425, 425, 3), np.uint8), n=9000)
    with pytest.raises(InputError, match="one and the same"):
        check_shown(many, "pictures")
    assert many.read <= 2 * (16 + 64)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x / 255,
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.int16),
        lambda x: x / 127.5 - 1,
        lambda x: x.astype(np.uint16) * 257,
    ],
    ids=["floats to 1", "floats to 255", "int16", "floats from -1", "uint16"],
)
def test_what_it_says_to_type_gives_the_pictures_back(change):
    given = change(pictures())
    advice = how_to_convert(given)
    assert advice.startswith("pass ")
    found = eval(advice.removeprefix("pass "), {"np": np, "pictures": given})
    np.testing.assert_array_equal(found, pictures())
    with pytest.raises(InputError, match=r"expected uint8 \(n, height, width, 3\), 0 to 255: pass np.rint"):
        check_shown(given, "train pictures")


def test_bools_become_black_and_white():
    on = pictures() > 127
    found = eval(how_to_convert(on).removeprefix("pass "), {"np": np, "pictures": on})
    np.testing.assert_array_equal(found, np.where(on, 255, 0))


@pytest.mark.parametrize(
    "given, words",
    [
        (np.full((4, 5, 6, 3), np.nan), "float64 of shape .*: convert them to 8-bit RGB"),
        (np.full((4, 5, 6, 3), "a"), "convert them to 8-bit RGB"),
        (np.full((4, 5, 6, 3), 1e9), "bring them to 0 to 255"),
        (pictures()[..., 0], "of grey ones np.stack"),
        (pictures()[:, :0], "of shape"),
    ],
)
def test_what_else_is_no_picture(given, words):
    with pytest.raises(InputError, match=words) as error:
        check_shown(given, "train pictures")
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
