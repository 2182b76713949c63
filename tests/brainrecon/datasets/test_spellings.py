import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.datasets.spellings import likely_same
from stages.ground.errors import InputError


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("7", "00007"),
        ("s07", "s007"),
        ("Cat", "cat.PNG"),
        ("caf\u00e9", "cafe\u0301"),
        ("1518878.0", "1518878"),
        ("0", "000"),
    ],
)
def test_two_spellings_of_one_id(name, other):
    assert likely_same(name, ["x", other]) == other and likely_same(other, [name]) == name


@pytest.mark.parametrize(("name", "other"), [("7", "70"), ("s1", "s11"), ("cat", "cats"), ("1.5", "15"), ("10", "1")])
def test_other_ids(name, other):
    assert likely_same(name, [other]) is None


def test_an_id_that_is_written_in_two_ways_is_shown_in_both(tmp_path):
    ids = np.arange(4)
    arrays = {"betas": np.eye(4), "stimulus_ids": ids, "split": np.array(["train"] * 3 + ["test"])}
    pictures = np.arange(4 * 48, dtype=np.uint8).reshape(4, 4, 4, 3)
    np.savez(tmp_path / "mine.npz", **arrays, images=pictures, image_ids=np.char.zfill(ids.astype(str), 5))
    with pytest.raises(InputError, match=r"the first is 0 \('00000' is there: write both in one way\)"):
        load(f"arrays:{tmp_path / 'mine.npz'}")
