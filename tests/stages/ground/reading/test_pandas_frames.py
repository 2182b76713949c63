"""Tables that pandas keeps in HDF5, laid out by hand as its fixed format documents them."""

import h5py
import numpy as np
import pytest
from things_fmri_files import write_frame

from stages.ground.errors import InputError
from stages.ground.reading.pandas_frames import stored_frame


def two_blocks(path, key="responses", names=("b", "0", "a")):
    values, numbers = np.arange(8.0).reshape(4, 2), np.arange(4)[:, None]
    write_frame(path, key, [([names[1], names[2]], values), ([names[0]], numbers)], 4, list(names))
    return values, numbers


@pytest.mark.parametrize("key", ["responses", "ResponseData", "/"])
def test_columns_are_found_in_their_blocks(tmp_path, key):
    values, numbers = two_blocks(tmp_path / "x.h5", key) if key != "/" else root_frame(tmp_path / "x.h5")
    frame = stored_frame(tmp_path / "x.h5")
    assert frame.n_rows == 4 and frame.columns == ["0", "a", "b"]
    for place, name in enumerate("0a"):
        np.testing.assert_array_equal(frame.column(name), values[:, place])
    np.testing.assert_array_equal(frame.column("b"), numbers[:, 0])


def root_frame(path):
    """A table whose group is the file itself."""
    values, numbers = two_blocks(path.with_name("other.h5"))
    with h5py.File(path.with_name("other.h5")) as source, h5py.File(path, "w") as file:
        for name in source["responses"]:
            source.copy(f"responses/{name}", file)
    return values, numbers


def test_numbers_and_texts_of_any_length_name_columns_too(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["t/axis0"] = [7, 11]
        file["t/block0_items"] = [7, 11]
        file["t/block0_values"] = np.ones((3, 2))
        file["u"] = 5
    assert stored_frame(tmp_path / "x.h5").columns == ["7", "11"]
    with h5py.File(tmp_path / "y.h5", "w") as file:
        names = np.array(["short", "naïve"], dtype=h5py.string_dtype())
        file["t/axis0"], file["t/block0_items"], file["t/block0_values"] = names, names, np.ones((3, 2), ">f4")
    assert stored_frame(tmp_path / "y.h5").columns == ["short", "naïve"]


def test_a_table_of_the_toolkits_tests_is_read_by_pandas_itself(tmp_path):
    """Where PyTables is installed, what is laid out by hand is what pandas reads."""
    pytest.importorskip("tables")
    import pandas

    values, numbers = two_blocks(tmp_path / "x.h5")
    frame = pandas.read_hdf(tmp_path / "x.h5")
    assert frame.columns.tolist() == ["b", "0", "a"]
    np.testing.assert_array_equal(frame[["0", "a"]], values)
    np.testing.assert_array_equal(frame[["b"]], numbers)


def test_nothing_that_is_pickled_is_opened(tmp_path, monkeypatch):
    """Neither names, nor what PyTables pickles into attributes: unpickling is made to fail."""
    import pickle

    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    two_blocks(tmp_path / "x.h5")
    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    assert stored_frame(tmp_path / "x.h5").n_rows == 4


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda file: file.pop("responses/block1_items"), "lists 3 columns and its blocks hold 2"),
        (lambda file: file.pop("responses/block1_values"), "has no dataset 'responses/block1_values'"),
        (lambda file: file["responses"].move("axis0", "axis"), "holds responses and no pandas table"),
        (lambda file: file.pop("responses"), "holds nothing and no pandas table"),
    ],
)
def test_parts_that_do_not_fit_are_told(tmp_path, spoil, told):
    two_blocks(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        spoil(file)
    with pytest.raises(InputError, match=told) as caught:
        stored_frame(tmp_path / "x.h5")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_blocks_of_other_lengths_are_told(tmp_path):
    write_frame(tmp_path / "x.h5", "t", [(["0"], np.ones((4, 1))), (["1"], np.ones((5, 1)))], 4)
    with pytest.raises(InputError, match="hold 2 in 4 or 5 rows, which do not fit"):
        stored_frame(tmp_path / "x.h5")
