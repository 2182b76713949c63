"""Feature tables by rows: the same values, one read for each stimulus, each layout made of the other."""

import os
import signal

import numpy as np
import pytest
from counting_targets import MeanColour, Rows, encode, normal, small_pictures

from brainrecon.features import arranging
from brainrecon.features.row_table import RowTable
from brainrecon.features.store import BATCH_SIZE, FeatureStore
from stages.ground.errors import InputError


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("n_stimuli, n_targets", [(1, 1), (150, 3), (64, 32), (70, 33), (9, 1000)])
def test_round_trip_vs_what_the_target_encodes(tmp_path, monkeypatch, dtype, n_stimuli, n_targets):
    # Some rows at a time, as in a table that does not fit into memory; not a multiple of a batch.
    monkeypatch.setattr(arranging, "_BYTES_AT_ONCE", 50 * n_targets * 4)
    values = normal(n_stimuli, n_targets)
    table = encode(FeatureStore(tmp_path), Rows(n_targets), values, dtype=dtype, by="rows")
    expected = values.astype(dtype)
    assert isinstance(table, RowTable) and table.shape == expected.shape and table.nbytes == expected.nbytes
    np.testing.assert_array_equal(np.load(table.path), expected)
    assert np.asarray(table).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(table), expected.astype(np.float32))
    for index in (0, -1, slice(None, None, -2), np.arange(n_stimuli) % 2 == 0, np.array([], dtype=int), [0, 0]):
        assert table[index].dtype == np.float32 and table.stored()[index].dtype == dtype
        np.testing.assert_array_equal(table[index], expected[index].astype(np.float32))
        np.testing.assert_array_equal(table.stored((n_targets, 1))[index][..., 0], expected[index])
    for start, stop in ((0, n_targets), (n_targets // 2, n_targets), (0, 0)):
        np.testing.assert_array_equal(table.columns(start, stop), expected[:, start:stop].astype(np.float32))
    np.testing.assert_array_equal(table.rows(0, n_stimuli), expected.astype(np.float32))
    with pytest.raises(IndexError, match=f"no row {n_stimuli}"):
        table[n_stimuli]


@pytest.mark.parametrize("first, other", [("columns", "rows"), ("rows", "columns")])
@pytest.mark.parametrize("n_targets", [3, 32, 70])
def test_a_table_that_lies_the_other_way_is_arranged_and_not_encoded(tmp_path, monkeypatch, first, other, n_targets):
    monkeypatch.setattr(arranging, "_BYTES_AT_ONCE", 20_000)
    values, store = normal(150, n_targets), FeatureStore(tmp_path)
    one = encode(store, Rows(n_targets), values, dtype="float16", by=first)
    target = Rows(n_targets)
    two = encode(store, target, values, dtype="float16", by=other)
    assert target.encoded == 0 and one.folder != two.folder
    np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
    assert [path.name for path in two.folder.glob("*.partial")] == []
    for table in (one, two):
        assert store.table(table.folder.name) == table
    # In the same bytes as if it had been encoded.
    alone = encode(FeatureStore(tmp_path / "alone"), Rows(n_targets), values, dtype="float16", by=other)
    assert alone.path.read_bytes() == two.path.read_bytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_killed_between_batches_it_goes_on_and_ends_in_the_same_bytes(tmp_path):
    pictures = small_pictures()
    whole = encode(FeatureStore(tmp_path / "whole"), MeanColour(), pictures, by="rows")

    def killed(label, done, total):
        if done == 2 * BATCH_SIZE:
            os.kill(os.getpid(), signal.SIGKILL)

    if not (process := os.fork()):
        try:
            encode(FeatureStore(tmp_path / "parts"), MeanColour(), pictures, by="rows", progress=killed)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
    target = MeanColour()
    again = encode(FeatureStore(tmp_path / "parts"), target, pictures, by="rows")
    assert target.encoded == len(pictures) - 2 * BATCH_SIZE
    assert again.path.read_bytes() == whole.path.read_bytes()
    assert sorted(path.name for path in again.folder.iterdir() if "lock" not in path.name) == sorted(
        path.name for path in whole.folder.iterdir() if "lock" not in path.name
    )


def test_neighbouring_rows_are_one_read(tmp_path, monkeypatch):
    table = encode(FeatureStore(tmp_path), Rows(8), normal(100, 8), by="rows")
    reads, opened = [], RowTable.opened

    class Noting:
        def __init__(self, file):
            self.file, self.tell, self.seek = file, file.tell, file.seek

        def readinto(self, part):
            reads.append(len(part))
            return self.file.readinto(part)

    from contextlib import contextmanager

    @contextmanager
    def noting(self):
        with opened(self) as file:
            yield Noting(file)

    monkeypatch.setattr(RowTable, "opened", noting)
    found = table.stored()[[40, 7, 8, 9, 3, 41]]
    assert reads == [1, 3, 2]
    monkeypatch.undo()
    np.testing.assert_array_equal(found, np.asarray(table)[[40, 7, 8, 9, 3, 41]])


def test_what_is_damaged_or_unknown_is_told(tmp_path):
    values, store = normal(70, 5), FeatureStore(tmp_path)
    with pytest.raises(InputError, match="by is 'row'; expected one of 'columns', 'rows' .did you mean 'rows'"):
        encode(store, Rows(5), values, by="row")
    table = encode(store, Rows(5), values, by="rows")
    with open(table.path, "r+b") as file:
        file.seek(-3, 2)
        file.write(b"abc")
    with pytest.raises(InputError, match="is not what was written"):
        encode(store, Rows(5), values, by="rows")
    with pytest.raises(InputError, match="is not what was written"):
        encode(store, Rows(5), values, by="columns")
    with open(table.path, "r+b") as file:
        file.truncate(table.path.stat().st_size - 4)
    for read in (lambda: table[0], lambda: table.stored()[:2], lambda: table.columns(0, 1), lambda: np.asarray(table)):
        with pytest.raises(InputError, match="it has .* bytes, expected"):
            read()
