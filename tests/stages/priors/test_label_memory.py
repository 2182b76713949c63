"""A memory of labelled pictures: scikit-learn's neighbours, built from folders, gone on with, and damaged."""

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from stages.ground.errors import InputError
from stages.priors.embedding_bank import RowBank
from stages.priors.label_memory import LabelMemory, open_label_memory, write_label_memory
from stages.targets.class_features import ClassFeatures
from weights import store

CLASSES = {"n01440764": "n01440764 tench, Tinca tinca", "n02123045": "n02123045 tabby, tabby cat", "boat": "boat"}


@pytest.fixture(scope="module")
def target():
    return ClassFeatures.from_pretrained(store.path("tiny-evaluation"))


@pytest.fixture
def pictures(tmp_path):
    """Four pictures of each class, of different sizes, and what is none."""
    draws = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            pixels = draws.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    (tmp_path / "pictures" / "nothing").mkdir()
    (tmp_path / "pictures" / "boat" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures"


def test_labels_of_the_neighbours_vs_scikit_learn(pictures, target, tmp_path):
    assert write_label_memory(pictures, target, tmp_path / "memory", per_class=3) == 9
    files = [pictures / name / f"{number}.png" for name in sorted(CLASSES) for number in range(3)]
    rows = np.vstack([target.encode(np.asarray(Image.open(file))[None]) for file in files]).astype(float)
    queries = rows.mean(axis=0) + np.random.default_rng(1).normal(size=(20, 64)) * rows.std()
    order = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(rows).kneighbors(queries, return_distance=False)
    labels = [CLASSES[file.parent.name] for file in files]
    expected = [[labels[row] for row in own] for own in order]
    assert open_label_memory(tmp_path / "memory", 5).nearest(queries) == expected
    assert open_label_memory(tmp_path / "memory", 1).nearest(rows) == [[label] for label in labels]


def test_an_interrupted_building_is_gone_on_with(pictures, target, tmp_path):
    encoded = []

    class Counting:
        def encode(self, images):
            encoded.append(len(images))
            return target.encode(images)

    def stopped(label, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_label_memory(pictures, Counting(), tmp_path / "memory", progress=stopped)
    assert len(encoded) == 8
    with pytest.raises(InputError, match="There is no file .*labels.txt"):
        open_label_memory(tmp_path / "memory")
    assert write_label_memory(pictures, Counting(), tmp_path / "memory") == 12 and len(encoded) == 12
    whole = tmp_path / "whole"
    write_label_memory(pictures, target, whole)
    for file in whole.iterdir():
        assert file.read_bytes() == (tmp_path / "memory" / file.name).read_bytes()


def test_of_equal_rows_the_first_label_is_given():
    memory = LabelMemory(RowBank([np.ones((4, 3), np.float32)]), ["d", "c", "b", "a"], n=3)
    assert memory.nearest(np.zeros((1, 3))) == [["d", "c", "b"]]


def test_labels_and_rows_that_do_not_belong_together_are_refused(pictures, target, tmp_path):
    write_label_memory(pictures, target, tmp_path / "memory")
    (tmp_path / "memory" / "labels.txt").write_text("boat\n")
    with pytest.raises(InputError, match="has 1 labels in 1 lines for 12 rows of features"):
        open_label_memory(tmp_path / "memory")
    with pytest.raises(InputError, match="has 2 rows but 1 labels"):
        LabelMemory(RowBank([np.zeros((2, 3), np.float32)]), ["boat"], 1)
    with pytest.raises(InputError, match="holds no folders of pictures"):
        write_label_memory(tmp_path / "memory", target, tmp_path / "other")
