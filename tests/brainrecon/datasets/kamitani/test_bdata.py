"""BData files against what was written, and expressions against sets; the writer uses h5py alone."""

import h5py
import numpy as np
import pytest
import scipy.io
from damage import cut

from brainrecon.datasets.kamitani import bdata as module
from brainrecon.datasets.kamitani.bdata import BData
from stages.ground.errors import InputError

SEEDS = range(4)


def draw(seed, n_samples=23, n_columns=37):
    """A random matrix and random keys: some mark columns, one holds coordinates, Run and Kind are one column each."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n_samples, n_columns)).astype(np.float32).astype(np.float64)
    keys = {}
    for name in ("VoxelData", "ROI_V1", "ROI_V2", "ROI_VC"):
        keys[name] = np.where(rng.random(n_columns) < 0.4, 1.0, np.nan)
        keys[name][rng.integers(n_columns)] = 1
    keys["voxel_x"] = np.where(rng.random(n_columns) < 0.5, rng.integers(-2, 3, n_columns), np.nan)
    for name, column in zip(("Run", "Kind"), rng.choice(n_columns, 2, replace=False)):
        keys[name] = np.where(np.arange(n_columns) == column, 1.0, np.nan)
        matrix[:, column] = rng.integers(1, 4, n_samples)
    return matrix, keys


def write(path, matrix, keys, labels=(), names=("dataset", "metadata"), dtype="<f8", **storage):
    with h5py.File(path, "w") as file:
        file.create_dataset(names[0], data=matrix.astype(dtype), **storage)
        group = file.create_group(names[1])
        group["key"] = np.array([name.encode() for name in keys])
        group["description"] = np.array([b"described"] * len(keys))
        group.create_dataset("value", data=np.stack(list(keys.values())).astype(dtype), **storage)
        file["header/ctime"] = b"today"
        for key, table in dict(labels).items():
            for number, label in table.items():
                file[f"vmap/{key}/{number}"] = label.encode()
    return path


def write_matlab(path, matrix, keys):
    """As MATLAB's -v7.3 does: a 512-byte head, every matrix turned, a cell of references to rows of characters."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["dataSet"] = matrix.T
        file["dataSet"].attrs["MATLAB_class"] = np.bytes_("double")
        group = file.create_group("metaData")
        group["value"] = np.stack(list(keys.values())).T
        cells = group.create_dataset("key", (1, len(keys)), dtype=h5py.ref_dtype)
        for place, name in enumerate(keys):
            file[f"#refs#/{place}"] = np.array([[ord(letter)] for letter in name], dtype=np.uint16)
            cells[0, place] = file[f"#refs#/{place}"].ref
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(126) + b"\x00\x02IM"[:2])
    return path


FORMS = {
    "plain": {},
    "big-endian": {"dtype": ">f8"},
    "compressed": {"compression": "gzip", "shuffle": True, "chunks": (3, 5)},
    "single": {"dtype": "<f4"},
    "old names": {"names": ("dataSet", "metaData")},
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("form", [*FORMS, "matlab"])
def test_what_was_written_is_read(tmp_path, form, seed, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 200)
    monkeypatch.setattr(module, "COLUMN_GAP", 2)
    matrix, keys = draw(seed)
    path = tmp_path / "a file – données.h5"
    data = BData(write_matlab(path, matrix, keys) if form == "matlab" else write(path, matrix, keys, **FORMS[form]))
    assert data.keys == tuple(keys) and (data.n_samples, data.n_columns) == matrix.shape
    for key, value in keys.items():
        np.testing.assert_array_equal(data.metadata(key), value)
        np.testing.assert_array_equal(data.get(key), matrix[:, value == 1])
    np.testing.assert_array_equal(data.column("Run"), matrix[:, keys["Run"] == 1][:, 0])
    rng = np.random.default_rng(seed)
    for _ in range(6):
        columns, rows = rng.random(matrix.shape[1]) < 0.3, rng.integers(0, len(matrix), 9)
        np.testing.assert_array_equal(data.read(columns, rows), matrix[rows][:, columns].astype(np.float32))
        some = rng.permutation(matrix.shape[1])[:5]
        assert data.read(some).dtype == np.float32
        np.testing.assert_array_equal(data.read(some), matrix[:, some].astype(np.float32))
    assert data.read(columns, rows[:0]).shape == (0, columns.sum())
    assert data.read(some[:0], rows).shape == (len(rows), 0)


def select(keys, node):
    """Sets of columns, from an expression given as a tree."""
    if isinstance(node, str):
        return {place for place, value in enumerate(keys[node]) if value == 1}
    operator, left, right = node
    if operator == "=":
        return {place for place, value in enumerate(keys[left]) if value == right}
    left, right = select(keys, left), select(keys, right)
    return {"|": left | right, "+": left | right, "&": left & right, "-": left - right}[operator]


def grow(rng, depth):
    if depth == 0 or rng.random() < 0.2:
        if rng.random() < 0.4:
            return ("=", str(rng.choice(["voxel_x", "ROI_V1"])), int(rng.integers(-2, 3)))
        return str(rng.choice(["VoxelData", "ROI_V1", "ROI_V2", "ROI_VC"]))
    return (str(rng.choice(list("|+&-"))), grow(rng, depth - 1), grow(rng, depth - 1))


def spell(rng, node, right=False):
    """An expression that means the tree: parentheses are needed on the right alone, elsewhere they come by chance."""
    space = " " * int(rng.integers(3))
    if isinstance(node, str):
        return space + node + space
    operator, left, after = node
    if operator == "=":
        return f"{space}{left}{space}={space}{after}{space}"
    text = spell(rng, left) + operator + spell(rng, after, right=True)
    return f"({text})" if right or rng.random() < 0.3 else text


@pytest.mark.parametrize("seed", range(25))
def test_expressions_against_sets(tmp_path, seed):
    rng = np.random.default_rng(seed)
    _, keys = draw(seed)
    data = BData(write(tmp_path / "a.h5", *draw(seed)))
    for _ in range(8):
        tree = grow(rng, 3)
        expression = spell(rng, tree)
        assert set(np.flatnonzero(data.columns(expression))) == select(keys, tree), expression


def test_wildcards_and_prefixes(tmp_path):
    matrix, keys = draw(0)
    data = BData(write(tmp_path / "a.h5", matrix, keys))
    any_v = np.any([keys[name] == 1 for name in ("ROI_V1", "ROI_V2", "ROI_VC")], axis=0)
    np.testing.assert_array_equal(data.columns("ROI_V*"), any_v)
    np.testing.assert_array_equal(data.columns("*C"), keys["ROI_VC"] == 1)
    np.testing.assert_array_equal(data.columns("V1 + ROI_V2", "ROI_"), data.columns("ROI_V1 | ROI_V2"))
    np.testing.assert_array_equal(data.columns("V* - V1", "ROI_") | data.columns("ROI_V1"), any_v)
    np.testing.assert_array_equal(data.columns("voxel_x = -1"), keys["voxel_x"] == -1)


def test_labels(tmp_path):
    matrix, keys = draw(1)
    matrix[4, keys["Kind"] == 1] = np.nan
    table = {"1.0": "one", "2.0": "zwölf", "3": "three"}
    data = BData(write(tmp_path / "a.h5", matrix, keys, labels={"Kind": table, "Run": {"1.0": "first"}}))
    expected = {1.0: "one", 2.0: "zwölf", 3.0: "three"}
    kinds = matrix[:, keys["Kind"] == 1][:, 0]
    assert data.labels("Kind") == [expected.get(kind, "") for kind in kinds] and data.labels("Kind")[4] == ""
    assert data.has_labels("Kind") and not data.has_labels("VoxelData")
    with pytest.raises(InputError, match="labels for 1 numbers of Run but none for 2"):
        data.labels("Run")
    data = BData(write(tmp_path / "b.h5", matrix, keys, labels={"Run": {"one": "first"}}))
    with pytest.raises(InputError, match="b.h5 labels no numbers of Run .*'one'"):
        data.labels("Run")


def test_only_the_wanted_part_is_read(tmp_path, monkeypatch):
    matrix, keys = np.zeros((50, 4000)), {"VoxelData": np.ones(4000)}
    data = BData(write(tmp_path / "a.h5", matrix, keys))
    read = []
    original = h5py.Dataset.__getitem__

    def counted(self, *args, **kwargs):
        values = original(self, *args, **kwargs)
        read.append(np.size(values))
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    data.read(np.arange(1000, 1010), [3, 40])
    assert sum(read) == 20
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 4000 * 4)
    read.clear()
    data.read(np.arange(4000))
    assert max(read) <= 4 * 4000 and sum(read) == matrix.size


def rewrite(path, name, value):
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value


DAMAGE = {
    "absent": (lambda path: path.unlink(), "There is no file .*a.h5"),
    "truncated": (cut, "a.h5 cannot be read as HDF5 .*truncated.*copy the file again"),
    "empty": (lambda path: path.write_bytes(b""), "a.h5 cannot be read as HDF5"),
    "no hdf5": (lambda path: path.write_text("nothing of the kind" * 99), "a.h5 cannot be read as HDF5"),
    "old matlab": (
        lambda path: scipy.io.savemat(path, {"dataSet": 1}),
        "a MATLAB file before v7.3; save it with '-v7.3'",
    ),
    "no dataset": (lambda path: rewrite(path, "dataset", None), "a.h5 holds header, metadata; expected /dataset"),
    "dataset of text": (lambda path: rewrite(path, "dataset", b"text"), r"/dataset of .*a.h5 is object \(\)"),
    "one dimension": (lambda path: rewrite(path, "dataset", np.zeros(3)), r"/dataset of .*a.h5 is float64 \(3,\)"),
    "no metadata": (lambda path: rewrite(path, "metadata", None), "a.h5 holds dataset, header; expected"),
    "metadata no group": (lambda path: rewrite(path, "metadata", 1), "/metadata/value of .*a.h5 is no matrix"),
    "no value": (lambda path: rewrite(path, "metadata/value", None), "/metadata/value of .*a.h5 is no matrix"),
    "no names": (lambda path: rewrite(path, "metadata/key", None), "/metadata of .*a.h5 has no names of keys"),
    "other width": (
        lambda path: rewrite(path, "metadata/value", np.ones((7, 36))),
        "has 37 columns and 7 keys, but its metadata describe 36 columns and 7 keys",
    ),
    "other keys": (lambda path: rewrite(path, "metadata/value", np.ones((6, 37))), "describe 37 columns and 6 keys"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_sentence(tmp_path, damage):
    path = write(tmp_path / "a.h5", *draw(0))
    spoil, told = DAMAGE[damage]
    spoil(path)
    with pytest.raises(InputError, match=told) as caught:
        BData(path)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "expression, told",
    [
        ("", "the end stands where a region was expected"),
        ("ROI_V1 +", "the end stands where a region"),
        ("+ ROI_V1", r"'\+' stands where a region"),
        ("ROI_V1 ROI_V2", "no roi 'ROI_V1 ROI_V2'"),
        ("(ROI_V1 | ROI_V2", "a parenthesis stays open"),
        ("ROI_V1)", r"'\)' stands where an operator"),
        ("()", r"'\)' stands where a region"),
        ("ROI_V1 = ", "the end stands where a number"),
        ("ROI_V1 = ROI_V2", "'ROI_V2' stands where a number"),
        ("ROI_V1 = 1 = 1", "'=' stands where an operator"),
        ("ROI_V9", "a.h5 has no roi 'ROI_V9'; it has VoxelData, ROI_V1"),
        ("X*", r"a.h5 has no roi 'X\*'"),
        ("ROI_V1 @ 5", "no roi 'ROI_V1 @ 5'"),
        ("__import__('os')", "a.h5 has no roi '__import__'"),
        ("(" * 3000 + "ROI_V1", "goes too deep"),
    ],
)
def test_expressions_that_cannot_be_read(tmp_path, expression, told):
    data = BData(write(tmp_path / "a.h5", *draw(0)))
    with pytest.raises(InputError, match=told) as caught:
        data.columns(expression)
    assert "\n" not in str(caught.value)


def test_keys_that_are_not_there(tmp_path):
    data = BData(write(tmp_path / "a.h5", *draw(0)))
    for asked in (data.get, data.column, data.metadata, data.labels):
        with pytest.raises(InputError, match="a.h5 has no key 'Block'; it has VoxelData, ROI_V1"):
            asked("Block")
    with pytest.raises(InputError, match=r"Key ROI_V1 of .*a.h5 has \d+ columns; expected one"):
        data.column("ROI_V1")
    with pytest.raises(InputError, match="a.h5 has no labels for Run"):
        data.labels("Run")


def test_damage_met_later_is_told(tmp_path):
    path = write(tmp_path / "a.h5", *draw(0))
    data = BData(path)
    cut(path)
    with pytest.raises(InputError, match="a.h5 cannot be read as HDF5"):
        data.read([0, 1])
