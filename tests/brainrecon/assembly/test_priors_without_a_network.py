"""The steps that take a decoded embedding as it is, from memory, and for a picture of a folder."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from brainrecon.assembly.as_decoded import AsDecoded
from brainrecon.assembly.nearest_pictures import NearestPictures
from brainrecon.assembly.remember import Remember
from brainrecon.assembly.values import Item, Training, Workspace
from brainrecon.features.store import FeatureStore
from stages.ground.errors import InputError

DRAWS = np.random.default_rng(0)
ROWS = DRAWS.standard_normal((6, 3 * 8)).astype(np.float32)
ITEMS = [Item("subj01", name, sample) for name in "abc" for sample in (0, 1)]
SOURCE = SimpleNamespace(outline=SimpleNamespace(shape=(3, 8)))


def test_as_it_is_but_for_the_length_of_its_first_token():
    step = AsDecoded("clip_rough", "clip_image", SOURCE)
    assert (step.reads, step.gives, step.by_lot, step.is_learned) == (("clip_rough",), ("clip_image",), False, False)
    assert step.targets == {"clip_image": SOURCE}
    found = step.run(ITEMS, {"clip_rough": list(ROWS)})["clip_image"].reshape(6, 3, 8)
    lengths = np.linalg.norm(ROWS.reshape(6, 3, 8)[:, :1], axis=-1, keepdims=True)
    np.testing.assert_allclose(found, ROWS.reshape(6, 3, 8) / lengths, rtol=1e-5)
    plain = AsDecoded("clip_rough", "clip_image", SOURCE, unit_token=False)
    np.testing.assert_array_equal(plain.run(ITEMS, {"clip_rough": list(ROWS)})["clip_image"], ROWS)


class Target:
    """Gives what a picture's bytes say."""

    name, takes, shape, n_targets, preprocessing = "numbers", "images", (24,), 24, {}

    def encode(self, items, batch_size=32):
        return np.asarray(items, dtype=np.float32).reshape(len(items), -1)[:, :24] / 16 - 8


@pytest.fixture
def table(tmp_path):
    stimuli = DRAWS.integers(0, 256, (40, 2, 4, 3), dtype=np.uint8)
    names = [f"s{row}" for row in range(40)]
    return FeatureStore(tmp_path / "features").encode(Target(), stimuli, names, dataset="d", checkpoint="c")


def brute_force(rows, bank, k):
    cosines = rows @ bank.T / np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(bank, axis=1))
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    weights = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 0)
    return np.einsum("qk,qkv->qv", weights / weights.sum(axis=1, keepdims=True), bank[nearest])


@pytest.mark.parametrize("k", [1, 3])
def test_the_nearest_training_embedding_and_the_same_when_it_is_opened_again(table, tmp_path, k):
    step = Remember("clip_retrieval", "clip_image", SOURCE, n_neighbours=k)
    assert step.is_learned and step.part == "bank" and not step.by_lot and step.kept_as == "bank"
    step.fit(Training({}, lambda names: dict.fromkeys(names, table)), Workspace(None))
    found = step.run(ITEMS, {"clip_retrieval": list(ROWS)})["clip_image"]
    np.testing.assert_allclose(found, brute_force(ROWS, np.asarray(table), k), rtol=1e-5, atol=1e-5)
    # Nothing of the table is copied into the run.
    folder = tmp_path / "bank"
    folder.mkdir()
    step.save(folder)
    assert [path.name for path in folder.iterdir()] == ["config.json"] and step.is_fitted(folder)
    again = Remember("clip_retrieval", "clip_image", SOURCE, n_neighbours=k)
    again.open(Workspace(FeatureStore(tmp_path / "features"), folder, description=step.description()))
    np.testing.assert_array_equal(again.run(ITEMS, {"clip_retrieval": list(ROWS)})["clip_image"], found)
    alone = again.run(ITEMS[2:3], {"clip_retrieval": list(ROWS[2:3])})["clip_image"]
    np.testing.assert_array_equal(alone, found[2:3])


def test_the_nearest_of_a_folder_needs_nothing_learned(tmp_path):
    bank = DRAWS.standard_normal((9, 24)).astype(np.float32)
    np.save(tmp_path / "bank.npy", bank)
    step = Remember("clip_retrieval", "clip_image", SOURCE, str(tmp_path))
    assert not step.is_learned and step.is_fitted(tmp_path) and step.kept_as == "clip_image"
    found = step.run(ITEMS, {"clip_retrieval": ROWS})["clip_image"]
    assert all((row == bank).all(axis=1).any() for row in found)
    np.testing.assert_allclose(found, brute_force(ROWS, bank, 1), rtol=1e-6)
    with pytest.raises(InputError, match="embeddings of 24 values but 23 are looked for"):
        step.run(ITEMS, {"clip_retrieval": ROWS[:, :23]})


@pytest.fixture
def pictures(tmp_path):
    """A bank of five pictures of one colour, wider than high, and their colours as embeddings."""
    colours = DRAWS.integers(0, 256, (5, 3), dtype=np.uint8)
    (tmp_path / "pictures").mkdir()
    for row, colour in enumerate(colours):
        Image.fromarray(np.tile(colour, (6, 10, 1))).save(tmp_path / "pictures" / f"{row}.png")
    np.save(tmp_path / "colours.npy", colours - np.float32(100))
    return colours


class Colours:
    """A target: the mean colour of a picture, about a grey."""

    def encode(self, pictures, batch_size=32):
        return pictures.reshape(len(pictures), -1, 3).mean(axis=1) - 100.0


def test_a_picture_of_a_folder_near_by_one_embedding_and_best_by_another(pictures, tmp_path):
    step = NearestPictures("query", "wanted", SimpleNamespace(target=Colours()), str(tmp_path), n=3, size=4)
    assert (step.reads, step.gives, step.by_lot) == (("query", "wanted"), ("picture",), False)
    queries, wanted = DRAWS.standard_normal((2, 6, 3))
    shown = step.run(ITEMS, {"query": list(queries), "wanted": list(wanted)})["picture"]
    assert shown.shape == (6, 4, 4, 3) and shown.dtype == np.uint8
    centred = pictures - 100.0
    for picture, query, best in zip(shown, queries, wanted):
        near = np.argsort(-(centred @ query) / np.linalg.norm(centred, axis=1))[:3]
        fits = centred[near] @ best / np.linalg.norm(centred[near], axis=1)
        np.testing.assert_array_equal(picture[0, 0], pictures[near[int(np.argmax(fits))]])


def test_as_many_pictures_as_embeddings(pictures, tmp_path):
    (tmp_path / "pictures" / "3.png").unlink()
    step = NearestPictures("query", "wanted", SimpleNamespace(target=Colours()), str(tmp_path), n=2, size=4)
    with pytest.raises(InputError, match="holds 4 pictures but the bank beside it has 5 embeddings"):
        step.run(ITEMS[:1], {"query": np.ones((1, 3)), "wanted": np.ones((1, 3))})
