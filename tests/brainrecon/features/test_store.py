"""The feature store: written whole, keyed by everything the values depend on, read by columns."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from counting_targets import MeanColour, Rows, encode, normal, small_pictures

from brainrecon.features import table as table_module
from brainrecon.features.store import BATCH_SIZE, FeatureStore
from brainrecon.features.table import FeatureTable
from stages.ground.errors import InputError

RUN = FeatureTable.COLUMN_RUN


@pytest.fixture
def pictures():
    return small_pictures()


# What is written is what is read


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "n_stimuli, n_targets", [(1, 1), (150, 3), (65, 31), (64, 32), (70, 33), (9, 1000), (150, 2048)]
)
def test_round_trip_vs_what_the_target_encodes(tmp_path, monkeypatch, dtype, n_stimuli, n_targets):
    # Some runs at a time are rearranged, as in a table that does not fit into memory.
    monkeypatch.setattr(table_module, "_BYTES_AT_ONCE", 20_000)
    values = normal(n_stimuli, n_targets)
    table = encode(FeatureStore(tmp_path), Rows(n_targets), values, dtype=dtype)
    expected = values.astype(dtype).astype(np.float32)
    whole = np.asarray(table)
    assert table.shape == expected.shape and table.dtype == dtype and whole.dtype == np.float32
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(np.array(table, dtype=np.float64), expected.astype(np.float64))
    assert table.stimulus_ids == tuple(f"s{row}" for row in range(n_stimuli))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("n_targets", [5, 32, 70])
def test_every_range_of_columns_and_rows_vs_slices(tmp_path, monkeypatch, dtype, n_targets):
    monkeypatch.setattr(table_module, "_RUNS_AT_ONCE", 2)
    values = normal(7, n_targets).astype(dtype).astype(np.float32)
    table = encode(FeatureStore(tmp_path), Rows(n_targets), values, dtype=dtype)
    for start in range(n_targets + 1):
        for stop in range(start, n_targets + 1):
            columns = table.columns(start, stop)
            assert columns.dtype == np.float32 and columns.flags.c_contiguous and columns.flags.writeable
            np.testing.assert_array_equal(columns, values[:, start:stop])
            out = np.full((7, stop - start), np.nan, dtype=np.float32)
            assert table.columns(start, stop, out=out) is out
            np.testing.assert_array_equal(out, columns)
            if n_targets >= RUN and not start % RUN and not stop % RUN:
                runs = table.runs(start, stop)
                assert runs.dtype == dtype and runs.shape == ((stop - start) // RUN, 7, RUN)
                np.testing.assert_array_equal(np.hstack([np.empty((7, 0)), *runs]), columns)
    for start in range(8):
        for stop in range(start, 8):
            np.testing.assert_array_equal(table.rows(start, stop), values[start:stop])
    assert len(table) == 7
    for index in (3, -1, [5, 0, 5], slice(None, None, -2), np.arange(7) % 2 == 0, np.array([], dtype=int)):
        assert table[index].dtype == np.float32
        np.testing.assert_array_equal(table[index], values[index])
    with pytest.raises(IndexError, match="There is no row 7; there are 7"):
        table[7]


def test_the_file_is_runs_of_columns_and_zeros(tmp_path):
    values = normal(70, 2 * RUN + 5)
    table = encode(FeatureStore(tmp_path), Rows(2 * RUN + 5), values, dtype="float16")
    stored = np.load(table.folder / "values.npy", allow_pickle=False)
    assert stored.shape == (3, 70, RUN) and stored.dtype == np.float16 and stored.nbytes == table.nbytes
    np.testing.assert_array_equal(stored[1], values[:, RUN : 2 * RUN].astype(np.float16))
    np.testing.assert_array_equal(stored[2, :, :5], values[:, 2 * RUN :].astype(np.float16))
    assert not stored[2, :, 5:].any()


def test_float16_is_half_the_file_and_close(tmp_path):
    values = normal(100, 64)
    full, half = (encode(FeatureStore(tmp_path), Rows(64), values, dtype=dtype) for dtype in ("float32", "float16"))
    assert full.folder != half.folder and half.nbytes * 2 == full.nbytes
    np.testing.assert_array_equal(np.asarray(full), values)
    np.testing.assert_allclose(np.asarray(half), values, rtol=2**-11, atol=2**-25)


def test_torch_stays_unloaded():
    code = "import sys, brainrecon.features.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "change",
    [{"checkpoint": "xyz"}, {"dataset": "e"}, {"dtype": "float16"}, {"target": MeanColour({"size": 16})}],
)
def test_what_values_depend_on_names_another_table(tmp_path, pictures, change):
    store = FeatureStore(tmp_path)
    table = encode(store, MeanColour(), pictures)
    changed = change.get("target", MeanColour())
    others = {name: value for name, value in change.items() if name != "target"}
    assert encode(store, changed, pictures, **others).folder != table.folder
    assert changed.encoded == len(pictures)


def test_the_layout_is_part_of_the_identity(tmp_path, pictures, monkeypatch):
    before = encode(FeatureStore(tmp_path), MeanColour(), pictures)
    monkeypatch.setattr("brainrecon.features.store.LAYOUT", "another")
    assert encode(FeatureStore(tmp_path), MeanColour(), pictures).folder != before.folder
    with pytest.raises(InputError, match="of another version"):
        FeatureStore(tmp_path).table(before.folder.name)


# Opened again


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_table_is_opened_again_by_name(tmp_path, dtype):
    store = FeatureStore(tmp_path / "here")
    values = normal(70, 40)
    table = store.encode(Rows(40), values, [f"ß{i}" for i in range(70)], dataset="d", checkpoint="c", dtype=dtype)
    assert store.table(table.folder.name) == table
    assert store.table(table.folder.name, list(table.stimulus_ids)) == table
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = FeatureStore(tmp_path / "there").table(table.folder.name)
    np.testing.assert_array_equal(np.asarray(moved), values.astype(dtype).astype(np.float32))


@pytest.mark.parametrize(
    "name", ["rows_40-0123", "", ".", "..", "a/b", "../elsewhere", "a\0b", "x" * 5000], ids=range(8)
)
def test_there_is_no_such_table(tmp_path, name):
    (tmp_path / "store" / "a" / "b").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(InputError, match="brainrecon features"):
        FeatureStore(tmp_path / "store").table(name)


def test_an_unfinished_table_is_not_opened(tmp_path, pictures):
    with pytest.raises(KeyboardInterrupt):
        encode(FeatureStore(tmp_path), MeanColour(fail_after=BATCH_SIZE), pictures)
    with pytest.raises(InputError, match="is not finished; run `brainrecon features`"):
        FeatureStore(tmp_path).table(next(tmp_path.iterdir()).name)


def test_other_stimuli_are_refused(tmp_path, pictures):
    table = encode(FeatureStore(tmp_path), MeanColour(), pictures)
    for others in ([], ["x"], table.stimulus_ids[::-1], table.stimulus_ids[:-1]):
        with pytest.raises(InputError, match="holds 150 stimuli, the first 's0' but"):
            FeatureStore(tmp_path).table(table.folder.name, others)


@pytest.mark.parametrize("file", ["config.json", "stimuli.json"])
@pytest.mark.parametrize("content", [None, "", "[]", "{}", "7", "null", '{"layout": 1}', "\udcff", "[" * 50])
def test_spoilt_descriptions_are_refused(tmp_path, pictures, file, content):
    table = encode(FeatureStore(tmp_path), MeanColour(), pictures)
    (table.folder / file).unlink()
    if content is not None:
        (table.folder / file).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="missing, changed, or of another version; delete"):
        FeatureStore(tmp_path).table(table.folder.name)


def test_a_changed_description_is_refused(tmp_path, pictures):
    table = encode(FeatureStore(tmp_path), MeanColour(), pictures)
    identity = json.loads((table.folder / "config.json").read_text())
    for name, value in {"n_targets": 2, "dtype": "float16", "checkpoint": "x", "target": "../x"}.items():
        (table.folder / "config.json").write_text(json.dumps(identity | {name: value}))
        with pytest.raises(InputError, match="changed"):
            FeatureStore(tmp_path).table(table.folder.name)


# Hostile input


def test_hostile_input(tmp_path, pictures):
    store = FeatureStore(tmp_path)
    with pytest.raises(InputError, match="150 images for 2 stimuli"):
        store.encode(MeanColour(), pictures, ["a", "b"], dataset="d", checkpoint="c")
    with pytest.raises(InputError, match="0 stimuli"):
        encode(store, MeanColour(), pictures[:0])
    with pytest.raises(InputError, match="'int8'; expected one of 'float32', 'float16'"):
        encode(store, MeanColour(), pictures, dtype="int8")

    class Broken(MeanColour):
        def encode(self, items):
            return np.full((len(items), 3), np.nan, dtype=np.float32)

    with pytest.raises(InputError, match="not finite"):
        encode(store, Broken(), pictures)
    assert not list(tmp_path.rglob("values.npy"))


@pytest.mark.parametrize("sign", [1, -1])
def test_what_float16_cannot_hold(tmp_path, sign):
    values = normal(70, 4)
    values[66, 2] = sign * 65504
    np.testing.assert_array_equal(
        encode(FeatureStore(tmp_path / "a"), Rows(4), values, dtype="float16").columns(2, 3)[66], sign * 65504
    )
    values[66, 2] = sign * 65520
    message = (
        "Target rows_4 reaches 65,520 for stimuli 64 to 69 but float16 ends at 65,504; encode with dtype='float32'"
    )
    with pytest.raises(InputError, match=message):
        encode(FeatureStore(tmp_path / "b"), Rows(4), values, dtype="float16")
    assert not list((tmp_path / "b").rglob("values.npy"))
    np.testing.assert_array_equal(np.asarray(encode(FeatureStore(tmp_path / "b"), Rows(4), values)), values)


@pytest.mark.parametrize("start, stop", [(-1, 2), (0, 151), (2, 1), (151, 151), (-3, -1)])
def test_columns_and_rows_that_are_not_there(tmp_path, start, stop):
    table = encode(FeatureStore(tmp_path), Rows(150), normal(150, 150))
    for read, what in ((table.columns, "Columns"), (table.rows, "Rows")):
        with pytest.raises(InputError, match=f"{what} {start} to {stop} were asked .* which has 150; ask .* 0 to 150"):
            read(start, stop)


def spoilt_files(whole):
    """Contents that `values.npy` must not have."""
    yield "empty", b""
    yield "half a header", whole[:40]
    yield "header alone", whole[:128]
    yield "one byte short", whole[:-1]
    yield "one byte long", whole + b"\0"
    yield "not an array", b"PK\x03\x04" + whole[4:]
    yield "another shape", whole.replace(b"(3, 70, 32)", b"(3, 32, 70)")
    yield "another order", whole.replace(b"'fortran_order': False", b"'fortran_order': True ")
    yield "another dtype", whole.replace(b"'<f4'", b"'<i4'")
    yield "objects", whole.replace(b"'<f4'", b"'|O' ")
    yield "a header that is no header", whole[:10] + b"(" * 118 + whole[128:]


def test_damaged_files_are_refused(tmp_path):
    store = FeatureStore(tmp_path)
    values = normal(70, 96)
    table = encode(store, Rows(96), values)
    whole = table.path.read_bytes()
    asked = "; delete the folder .* and run `brainrecon features`"
    for name, content in spoilt_files(whole):
        print(name)
        assert content != whole
        table.path.write_bytes(content)
        for use in (lambda: encode(store, Rows(96), values), lambda: store.table(table.folder.name)):
            with pytest.raises(InputError, match=asked):
                use()
        for use in (lambda: table.columns(0, 3), lambda: table.rows(0, 3), lambda: np.asarray(table)):
            with pytest.raises(InputError, match=asked):
                use()
    table.path.unlink()
    with pytest.raises(InputError, match="No such file"):
        table.columns(0, 3)
    np.testing.assert_array_equal(np.asarray(encode(store, Rows(96), values)), values)


def test_one_changed_bit_of_the_values_is_found_on_opening(tmp_path, pictures):
    store, target = FeatureStore(tmp_path), MeanColour()
    table = encode(store, target, pictures)
    content = bytearray(table.path.read_bytes())
    content[-5] ^= 1
    table.path.write_bytes(content)
    for again in (lambda: encode(store, target, pictures), lambda: store.table(table.folder.name)):
        with pytest.raises(InputError, match=r"values.npy is not what was written\); delete the folder"):
            again()
