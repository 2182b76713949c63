"""The step that mixes what a subject's memory holds into predictions: what it stores, of whom, and what it must never hold."""

from types import SimpleNamespace

import numpy as np
import pytest

from brainrecon.assembly.recall import Recall
from brainrecon.assembly.values import Item, Training, Workspace
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.features.store import FeatureStore
from stages.ground.errors import InputError

SOURCE = SimpleNamespace(outline=SimpleNamespace(shape=(2, 4)))
VOXELS = {"subj01": 5, "subj02": 7}
RANDOM = np.random.default_rng(0)
WEIGHTS = {name: RANDOM.standard_normal((n, 8)).astype(np.float32) for name, n in VOXELS.items()}


class Eight:
    """Gives what a picture's bytes say."""

    name, takes, shape, n_targets, preprocessing = "eight", "images", (2, 4), 8, {}

    def encode(self, items, batch_size=32):
        return np.asarray(items, dtype=np.float32).reshape(len(items), -1)[:, :8] / 16 - 8


class Linear:
    """What stands for a trained decoder: a linear map of each subject's patterns."""

    def __init__(self, factor=1.0):
        self.factor, self.decoder = factor, self

    def predict_blocks(self, patterns, subject):
        yield "decoded", slice(0, 8), self.factor * patterns @ WEIGHTS[subject]


def a_subject(name, tested=("t0", "t1")):
    trained = [f"{name}-s{row}" for row in range(20)]

    def split(ids):
        random = np.random.default_rng(len(ids))
        pictures = random.integers(0, 256, (len(ids), 2, 2, 3), dtype=np.uint8)
        return Split(random.standard_normal((len(ids), VOXELS[name])).astype(np.float32), list(ids), images=pictures)

    return Subject(name, "arrays", "arrays:memory", {"train": split(trained), "test": split(tested)}, roi="all")


@pytest.fixture
def training(tmp_path):
    """``training(*subjects) -> Training``."""
    store = FeatureStore(tmp_path / "features")

    def of(*subjects):
        known = {one.name: one for one in subjects}

        def features(names, subject=None, by="columns"):
            train = (known[subject] if subject else subjects[0]).train
            table = store.encode(
                Eight(), train.images, train.stimulus_ids, dataset=subject or subjects[0].name, checkpoint="c"
            )
            return dict.fromkeys(names, table)

        return Training(known, features)

    of.store = store
    return of


def step(folds=(), **options):
    return Recall(Linear(), {"decoded": "likely"}, {"likely": SOURCE}, folds, **options)


def ran(own, rows, subject="subj01", names=None):
    items = [Item(subject, name) for name in names or [f"t{row}" for row in range(len(rows))]]
    return own.run(items, {"decoded": rows})["likely"]


def truth(training, name):
    return np.asarray(training.features(("likely",), subject=name)["likely"])


def test_predictions_get_the_mean_length_of_the_truth(training):
    given = training(a_subject("subj01"))
    own = step(share=0.0)
    own.fit(given, Workspace(None))
    rows = RANDOM.standard_normal((3, 8)).astype(np.float32)
    mean = np.linalg.norm(truth(given, "subj01"), axis=1).mean()
    found = ran(own, rows)
    np.testing.assert_allclose(found, rows / np.linalg.norm(rows, axis=1, keepdims=True) * mean, rtol=1e-5)
    as_they_are = step(share=0.0, lengths="as decoded")
    as_they_are.fit(given, Workspace(None))
    np.testing.assert_array_equal(ran(as_they_are, rows), rows)


def test_a_prediction_that_is_remembered_gives_the_truth_of_its_stimulus(training):
    both = training(a_subject("subj01"), a_subject("subj02"))
    own = step(share=1.0, n_neighbours=1)
    own.fit(both, Workspace(None))
    for name, subject in both.subjects.items():
        remembered = np.asarray(subject.train.patterns) @ WEIGHTS[name]
        found = ran(own, 2 * remembered, name, [f"new{row}" for row in range(20)])
        np.testing.assert_array_equal(found, truth(both, name))
    with pytest.raises(InputError, match="memories of subj01, subj02 but patterns of subj03"):
        ran(own, remembered, "subj03")
    with pytest.raises(InputError, match="a nameless subject"):
        ran(own, remembered, "")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_it_is_the_same_when_it_is_opened_again(training, tmp_path, dtype):
    both, folder = training(a_subject("subj01"), a_subject("subj02")), tmp_path / "memory"
    rows = RANDOM.standard_normal((3, 8)).astype(np.float32)
    own, found = step(dtype=dtype), []
    for kept in (None, folder):
        own.fit(both, Workspace(training.store, kept))
        own.save(folder)
        opened = step(dtype=dtype)
        opened.open(Workspace(training.store, folder, description=own.description()))
        for subject in VOXELS:
            np.testing.assert_array_equal(ran(opened, rows, subject), ran(own, rows, subject))
        found.append((folder / "subjects/subj01.safetensors").read_bytes())
    assert found[0] == found[1]
    assert own.summary() == [{"memory": "subj01", "stimuli": 20}, {"memory": "subj02", "stimuli": 20}]
    (folder / "subjects/subj02.safetensors").unlink()
    with pytest.raises(InputError, match="memory of subj02 is missing .*fit again"):
        step().open(Workspace(training.store, folder, description=own.description()))


def test_of_a_fold_what_learned_nothing_of_it_predicts(training):
    given = training(a_subject("subj01"))

    def even(ids):
        return np.array([int(one.rpartition("s")[2]) % 2 == 0 for one in ids])

    folds = [(even, Linear(10.0)), (lambda ids: ~even(ids), Linear(100.0))]
    own = step(folds)
    own.fit(given, Workspace(None))
    own_way = np.asarray(given.subject.train.patterns) @ WEIGHTS["subj01"]
    factors = np.where(np.arange(20) % 2, 100.0, 10.0)[:, None]
    np.testing.assert_allclose(own._keys["subj01"]["likely"], factors * own_way, rtol=1e-5, atol=1e-4)


# What a memory must not hold


def test_a_stimulus_that_is_remembered_is_not_decoded(training):
    own = step()
    own.fit(training(a_subject("subj01"), a_subject("subj02")), Workspace(None))
    rows = np.ones((2, 8), np.float32)
    with pytest.raises(InputError, match="1 stimuli of subj01 are in the memory .* is subj01-s3\\)"):
        ran(own, rows, "subj01", ["t0", "subj01-s3"])
    # Another subject may have learned from it: that memory is not read.
    assert ran(own, rows, "subj02", ["t0", "subj01-s3"]).shape == (2, 8)
    # Patterns without names are counted.
    assert ran(own, rows, "subj01", ["0", "1"]).shape == (2, 8)


def test_a_memory_is_not_made_of_stimuli_that_are_tested(training):
    leaking = a_subject("subj01")
    # What a reader of data would refuse.
    leaking.splits["test"].stimulus_ids = np.array(["t0", "subj01-s7"])
    with pytest.raises(InputError, match="1 stimuli of test of subj01 are in the memory .* is subj01-s7\\)"):
        step().fit(training(leaking), Workspace(None))


def test_people_are_told_what_is_mixed():
    told = step(share=0.25).told(frozenset())
    assert told == {
        "share of what is remembered": 0.25,
        "lengths": "of training",
        "neighbours": 5,
        "temperature": 0.005,
    }
    assert "neighbours" not in step(share=0.0).told(frozenset())
