"""The feature store: written once, resumed, keyed by everything the values depend on."""

import numpy as np
import pytest

from brainrecon.features.store import BATCH_SIZE, FeatureStore
from stages.errors import InputError


class MeanColour:
    """A target that counts what it is asked for."""

    name, takes, shape, n_targets = "mean_colour", "images", (3,), 3

    def __init__(self, preprocessing=None, fail_after=None):
        self.preprocessing = preprocessing or {"size": 8}
        self.fail_after, self.encoded = fail_after, 0

    def encode(self, items):
        if self.fail_after is not None and self.encoded >= self.fail_after:
            raise KeyboardInterrupt
        self.encoded += len(items)
        return np.asarray(items, dtype=np.float32).mean(axis=(1, 2))


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, size=(150, 4, 4, 3), dtype=np.uint8)


def encode(store, target, pictures, checkpoint="abc", dataset="d"):
    ids = [f"s{row}" for row in range(len(pictures))]
    return store.encode(target, pictures, ids, dataset=dataset, checkpoint=checkpoint)


def test_values_by_rows_and_columns(tmp_path, pictures):
    table = encode(FeatureStore(tmp_path), MeanColour(), pictures)
    expected = pictures.mean(axis=(1, 2)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(table), expected, rtol=1e-6)
    np.testing.assert_array_equal(table.columns(1, 3), np.asarray(table)[:, 1:3])
    assert isinstance(table.values, np.memmap) and not table.values.flags.writeable


def test_second_time_nothing_is_encoded(tmp_path, pictures):
    encode(FeatureStore(tmp_path), MeanColour(), pictures)
    again = MeanColour()
    encode(FeatureStore(tmp_path), again, pictures)
    assert again.encoded == 0


def test_an_interrupted_encoding_goes_on(tmp_path, pictures):
    with pytest.raises(KeyboardInterrupt):
        encode(FeatureStore(tmp_path), MeanColour(fail_after=BATCH_SIZE), pictures)
    assert not list(tmp_path.rglob("values.npy"))
    rest = MeanColour()
    table = encode(FeatureStore(tmp_path), rest, pictures)
    assert rest.encoded == len(pictures) - BATCH_SIZE
    undisturbed = encode(FeatureStore(tmp_path / "other"), MeanColour(), pictures)
    np.testing.assert_array_equal(np.asarray(table), np.asarray(undisturbed))
    assert not list(tmp_path.rglob("*partial*"))


@pytest.mark.parametrize("change", [{"checkpoint": "xyz"}, {"dataset": "e"}, {"target": MeanColour({"size": 16})}])
def test_what_values_depend_on_names_another_table(tmp_path, pictures, change):
    store = FeatureStore(tmp_path)
    table = encode(store, MeanColour(), pictures)
    changed = change.pop("target", MeanColour())
    assert encode(store, changed, pictures, **change).folder != table.folder
    assert changed.encoded == len(pictures)


def test_hostile_input(tmp_path, pictures):
    store = FeatureStore(tmp_path)
    with pytest.raises(InputError, match="150 images for 2 stimuli"):
        store.encode(MeanColour(), pictures, ["a", "b"], dataset="d", checkpoint="c")

    class Broken(MeanColour):
        def encode(self, items):
            return np.full((len(items), 3), np.nan, dtype=np.float32)

    with pytest.raises(InputError, match="not finite"):
        encode(store, Broken(), pictures)
    assert not list(tmp_path.rglob("values.npy"))


def test_two_processes_share_one_table(tmp_path, pictures):
    import threading

    targets = [MeanColour(), MeanColour()]
    threads = [threading.Thread(target=encode, args=(FeatureStore(tmp_path), one, pictures)) for one in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.encoded for one in targets) == [0, len(pictures)]
    table = encode(FeatureStore(tmp_path), MeanColour(), pictures)
    np.testing.assert_allclose(np.asarray(table), pictures.mean(axis=(1, 2)), rtol=1e-6)
