"""The feature store while a table is encoded: interrupted, by several machines, with the next batch read ahead."""

import errno
import signal
import threading

import numpy as np
import pytest
from counting_targets import MeanColour, Rows, encode, normal, small_pictures
from faulty_disk import Failure, disk_calls

from brainrecon.features.store import BATCH_SIZE, FeatureStore
from brainrecon.features.table import FeatureTable
from stages.ground.errors import InputError
from weights.partial_files import partial_name
from weights.remark import Remark

RUN = FeatureTable.COLUMN_RUN


@pytest.fixture
def pictures():
    return small_pictures()


# Written once, resumed


def test_second_time_nothing_is_encoded(tmp_path, pictures):
    encode(FeatureStore(tmp_path), MeanColour(), pictures)
    again = MeanColour()
    encode(FeatureStore(tmp_path), again, pictures)
    assert again.encoded == 0


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("batches", [0, 1, 2])
@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_encoding_goes_on(tmp_path, pictures, dtype, batches, torn):
    with pytest.raises(KeyboardInterrupt):
        encode(FeatureStore(tmp_path), MeanColour(fail_after=batches * BATCH_SIZE), pictures, dtype=dtype)
    assert not list(tmp_path.rglob("values.npy"))
    if torn:  # in the middle of a batch
        batch = next(tmp_path.iterdir()) / "batches.partial"
        batch.mkdir(exist_ok=True)
        (batch / partial_name(batch / f"{batches * BATCH_SIZE:08d}.partial").name).write_bytes(b"\x7f" * 77)
    rest = MeanColour()
    table = encode(FeatureStore(tmp_path), rest, pictures, dtype=dtype)
    assert rest.encoded == len(pictures) - batches * BATCH_SIZE
    undisturbed = encode(FeatureStore(tmp_path / "other"), MeanColour(), pictures, dtype=dtype)
    np.testing.assert_array_equal(np.asarray(table), np.asarray(undisturbed))
    assert sorted(path.name for path in table.folder.iterdir()) == [
        ".lock",
        ".sealed.json",
        "config.json",
        "stimuli.json",
        "values.npy",
    ]


def test_a_full_disk_is_one_with_its_file(tmp_path, pictures):
    with disk_calls(tmp_path, none := Failure()):
        encode(FeatureStore(tmp_path / "first"), MeanColour(), pictures)
    (batch, *_) = [n for n, site in enumerate(none.sites) if site.startswith("write brainrecon/features/store.py")]
    with disk_calls(tmp_path, Failure(batch, errno.ENOSPC)), pytest.raises(OSError) as raised:
        encode(FeatureStore(tmp_path / "other"), MeanColour(), pictures)
    assert raised.value.errno == errno.ENOSPC and str(tmp_path / "other") in str(raised.value.filename)
    encode(FeatureStore(tmp_path / "other"), rest := MeanColour(), pictures)
    assert rest.encoded == len(pictures)


def test_a_signal_waits_for_the_batch_that_is_encoded(tmp_path, pictures, request):
    # As in a program that was started from a terminal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    class Interrupted(MeanColour):
        def encode(self, items):
            signal.raise_signal(signal.SIGINT)
            return super().encode(items)

    with pytest.warns(Remark, match="when this batch is done"), pytest.raises(KeyboardInterrupt):
        encode(FeatureStore(tmp_path), Interrupted(), pictures)
    encode(FeatureStore(tmp_path), rest := MeanColour(), pictures)
    assert rest.encoded == len(pictures) - BATCH_SIZE


def test_what_was_interrupted_while_it_was_arranged_is_not_encoded_again(tmp_path, pictures):
    def interrupt(label, done, total):
        if label.startswith("arranging"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(FeatureStore(tmp_path), MeanColour(), pictures, progress=interrupt)
    assert not list(tmp_path.rglob("values.npy"))
    rest = MeanColour()
    table = encode(FeatureStore(tmp_path), rest, pictures)
    assert rest.encoded == 0
    np.testing.assert_allclose(np.asarray(table), pictures.mean(axis=(1, 2)), rtol=1e-6)
    assert not list(tmp_path.rglob("*partial*"))


# By several machines


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_blocks_by_anybody_in_any_order_are_the_table_of_one_byte_for_byte(tmp_path, pictures, dtype):
    whole = encode(FeatureStore(tmp_path / "one"), MeanColour(), pictures, dtype=dtype)
    parts, store = [(128, 150), (0, 64), (64, 128)], FeatureStore(tmp_path / "many")
    targets = [MeanColour() for _ in parts]
    for target, rows in zip(targets, parts):
        encode(store, target, pictures, dtype=dtype, rows=rows)
        assert not list(store.folder.rglob("values.npy"))
    assert [one.encoded for one in targets] == [22, 64, 64]
    rest = MeanColour()
    table = encode(store, rest, pictures, dtype=dtype)
    assert not rest.encoded
    for name in ("values.npy", "config.json", "stimuli.json", ".sealed.json"):
        assert (table.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    # Once it is there, nothing is done for a block.
    late = MeanColour()
    encode(store, late, pictures, dtype=dtype, rows=(0, 64))
    assert not late.encoded and not (table.folder / "batches.partial").exists()


def test_blocks_that_would_be_other_batches_are_refused(tmp_path, pictures):
    for rows in ((7, 64), (0, 100), (64, 140)):
        with pytest.raises(InputError, match=f"Rows {rows[0]} to {rows[1]} were asked for; expected multiples of 64"):
            encode(FeatureStore(tmp_path), MeanColour(), pictures, rows=rows)


def test_two_machines_without_locks_may_finish_one_table_at_once(tmp_path, pictures, monkeypatch):
    """The second arranges while the first has taken the batches away, and writes over what the first arranged."""
    import contextlib

    monkeypatch.setattr("brainrecon.features.store.locked", lambda folder: contextlib.nullcontext(True))
    whole = encode(FeatureStore(tmp_path / "one"), MeanColour(), pictures)
    store, first = FeatureStore(tmp_path / "two"), []

    def meanwhile(label, done, total):
        if not first:
            # After the first batch: another one does everything.
            first.append(encode(store, MeanColour(), pictures))

    second = MeanColour()
    table = encode(store, second, pictures, progress=meanwhile)
    assert first and table.path.read_bytes() == whole.path.read_bytes()
    assert not list(table.folder.rglob("*partial*"))


# Read ahead


class Watched:
    """Items that say when they are read."""

    def __init__(self, items, told, fails_at=None):
        self._items, self._told, self._fails_at = items, told, fails_at

    def __len__(self):
        return len(self._items)

    def __getitem__(self, part):
        self._told.append(("read", part.start))
        if part.start == self._fails_at:
            raise InputError("picture 70 cannot be decoded")
        return self._items[part]


def test_one_batch_is_read_ahead_and_not_more(tmp_path):

    told, values = [], normal(64 * 5, 3)
    read = threading.Condition()

    class Items(Watched):
        def __getitem__(self, part):
            with read:
                batch = super().__getitem__(part)
                read.notify_all()
            return batch

    class Target(Rows):
        def encode(self, items):
            with read:
                encoded = sum(what == "encoded" for what, _ in told)
                # The next is read while this one is encoded, and nothing after it.
                wanted = min(encoded + 2, 5)
                assert read.wait_for(lambda: sum(what == "read" for what, _ in told) >= wanted, timeout=60)
                assert sum(what == "read" for what, _ in told) == wanted
                told.append(("encoded", encoded * 64))
            return super().encode(items)

    table = encode(FeatureStore(tmp_path), Target(3), Items(values, told))
    np.testing.assert_array_equal(np.asarray(table), values)
    assert [start for what, start in told if what == "read"] == [0, 64, 128, 192, 256]


def test_what_reading_raises_comes_in_its_turn_and_what_was_encoded_before_stays(tmp_path):
    told, values = [], normal(150, 3)
    with pytest.raises(InputError, match="picture 70 cannot be decoded"):
        encode(FeatureStore(tmp_path), Rows(3), Watched(values, told, fails_at=64))
    assert told == [("read", 0), ("read", 64)]
    rest = Rows(3)
    table = encode(FeatureStore(tmp_path), rest, values)
    assert rest.encoded == 150 - 64
    np.testing.assert_array_equal(np.asarray(table), values)


def test_two_processes_share_one_table(tmp_path, pictures):

    targets = [MeanColour(), MeanColour()]
    threads = [threading.Thread(target=encode, args=(FeatureStore(tmp_path), one, pictures)) for one in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.encoded for one in targets) == [0, len(pictures)]
    table = encode(FeatureStore(tmp_path), MeanColour(), pictures)
    np.testing.assert_allclose(np.asarray(table), pictures.mean(axis=(1, 2)), rtol=1e-6)
