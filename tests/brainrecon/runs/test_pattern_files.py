"""Patterns of one's own come in under any of the formats, the same numbers from each; what is none is refused in words."""

import csv
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from brainrecon.runs.array_files import SUFFIXES, check_suffix, write_arrays
from brainrecon.runs.pattern_files import read_patterns
from stages.ground.errors import InputError

VALUES = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
IDS = ["a", "b", "c", "7"]


def as_npy(path):
    np.save(path, VALUES)


def as_npz(path):
    np.savez(path, betas=VALUES, other=np.zeros(2), stimulus_ids=IDS)


def as_npz_alone(path):
    np.savez(path, anything=VALUES.astype(np.float64))


def as_safetensors(path):
    save_file({"patterns": VALUES, "noise": np.zeros(2)}, path, metadata={"stimulus_ids": json.dumps(IDS)})


def as_table(path, separator=",", head=("stimulus_id", "v1", "v2", "v3"), ids=IDS, encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=separator)
        if head:
            writer.writerow(head)
        writer.writerows([*([name] if ids else []), *map(repr, map(float, row))] for name, row in zip(IDS, VALUES))


NO_IDS = [f"row{row:05d}" for row in range(4)]


@pytest.mark.parametrize(
    ("name", "write", "ids"),
    [
        ("new.npy", as_npy, NO_IDS),
        ("new.npz", as_npz, IDS),
        ("new.npz", as_npz_alone, NO_IDS),
        ("new.safetensors", as_safetensors, IDS),
        ("new.csv", as_table, IDS),
        ("new.tsv", lambda path: as_table(path, "\t"), IDS),
        ("new.csv", lambda path: as_table(path, ";", encoding="utf-8-sig"), IDS),
        ("new.csv", lambda path: as_table(path, head=None), IDS),
        ("new.csv", lambda path: as_table(path, head=("v1", "v2", "v3"), ids=None), NO_IDS),
        ("new.csv", lambda path: as_table(path, head=None, ids=None), NO_IDS),
    ],
)
def test_every_format_gives_the_same_patterns(name, write, ids, tmp_path):
    write(tmp_path / name)
    found = read_patterns(tmp_path / name)
    np.testing.assert_array_equal(found.values, VALUES)
    assert found.values.dtype == np.float32 and found.stimulus_ids == ids


def text(content):
    return lambda path: path.write_text(content)


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("new.npz", lambda path: np.savez(path, one=VALUES, two=VALUES), "one, two"),
        ("new.npz", lambda path: np.savez(path, betas=VALUES, patterns=VALUES), "betas, patterns"),
        (
            "new.npz",
            lambda path: np.savez(path, betas=VALUES, stimulus_ids=["a", "b"]),
            "4 patterns but 2 stimulus ids",
        ),
        ("new.npz", lambda path: np.savez(path, betas=VALUES, stimulus_ids=["a", "b", "a", "c"]), "stimulus a 2 times"),
        ("new.npy", lambda path: np.save(path, VALUES[0]), r"shape \(3,\)"),
        ("new.npy", lambda path: np.save(path, np.array([["a"]])), "expected numbers"),
        ("new.npy", lambda path: np.save(path, np.array([[1e300, 0]])), "1 of 2 voxels"),
        ("new.npy", lambda path: np.save(path, np.array([[np.nan, 0]])), "1 of 2 voxels"),
        ("new.npy", lambda path: np.savez(open(path, "wb"), betas=VALUES), "ZIP archive"),
        ("new.safetensors", text("{}"), "cannot be read as safetensors"),
        ("new.csv", text(""), "no row"),
        ("new.csv", text("a,1,2\nb,3\n"), "2 to 3 cells"),
        ("new.csv", text("stimulus_id,v1\na,1\nb,one\n"), "'one'"),
        ("new.mat", text(""), "expected patterns in .npy"),
        ("new", text(""), "without an ending"),
        ("absent.csv", lambda path: None, "There is no file"),
    ],
)
def test_what_is_no_pattern_is_refused_in_a_sentence(name, write, said, tmp_path):
    write(tmp_path / name)
    with pytest.raises(InputError, match=said) as error:
        read_patterns(tmp_path / name)
    assert name in str(error.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_come_back_to_the_last_digit_from_what_was_written(suffix, tmp_path):
    values = np.float32([[1 / 3, 1e-30, -3.4e38], [0, 2**-149, 7]])
    arrays = {"clip": values} if suffix == ".npy" else {"clip": values, "latents": values[:, ::-1]}
    path = tmp_path / f"out{suffix}"
    write_arrays(path, arrays, ["x", "y, z"])
    if suffix == ".npz":
        found = dict(np.load(path))
        assert found.pop("stimulus_ids").tolist() == ["x", "y, z"]
    elif suffix == ".npy":
        found = {"clip": np.load(path)}
    elif suffix == ".safetensors":
        found = load_file(path)
    else:
        with open(path, newline="") as file:
            head, *rows = csv.reader(file)
        assert [row[0] for row in rows] == ["x", "y, z"] and head[:2] == ["stimulus_id", "clip.0"]
        table = np.array([row[1:] for row in rows]).astype(np.float32)
        found = {"clip": table[:, :3], "latents": table[:, 3:]}
    assert found.keys() == arrays.keys()
    for name in arrays:
        np.testing.assert_array_equal(found[name], arrays[name])


@pytest.mark.parametrize(
    ("name", "said"), [("out.npy", "holds one array"), ("out.mat", "expected one of"), ("out", "without")]
)
def test_a_name_that_says_no_format_is_refused_and_nothing_written(name, said, tmp_path):
    with pytest.raises(InputError, match=said):
        check_suffix(tmp_path / name, ["clip", "latents"])
    with pytest.raises(InputError, match=said):
        write_arrays(tmp_path / name, {"clip": VALUES, "latents": VALUES}, IDS)
    assert not list(tmp_path.iterdir())


def test_a_head_without_a_row_is_refused(tmp_path):
    (tmp_path / "new.csv").write_text("stimulus_id,v1\n")
    with pytest.raises(InputError, match=r"new.csv holds a head, 'stimulus_id,v1', and no row"):
        read_patterns(tmp_path / "new.csv")
