"""What a teacher gives: features of its own network for a sample of the class, of nobody and nothing that is forbidden."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from brainrecon.assembly.class_teacher import ClassTeacher
from brainrecon.assembly.values import Training
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.decoders.trained import TrainedDecoder
from stages.decoders.trained import Training as DecoderTraining
from stages.ground.errors import InputError
from stages.networks.mindshot import MindShotNetwork
from stages.training.recipe import Recipe

KINDS = ("dog", "cat", "cup")
VOXELS = {"subj01": 6, "subj02": 5, "new": 7}


def subject(name, ids, tested):
    """Stimuli are called by their class and a number: dog3."""
    random = np.random.default_rng(VOXELS[name])
    splits = {
        which: Split(
            random.standard_normal((len(own), VOXELS[name])).astype(np.float32),
            own,
            categories=[[one[:3]] for one in own],
        )
        for which, own in {"train": ids, "test": tested}.items()
    }
    return Subject(name, "arrays", "arrays:memory", splits, roi="all")


class Table:
    """Vectors that tell classes apart, and what must not be looked at behind them."""

    def __init__(self, ids):
        at = np.eye(4, dtype=np.float32)[[KINDS.index(one[:3]) for one in ids]]
        noise = np.random.default_rng(0).normal(0, 0.05, at.shape)
        self.values = np.concatenate([3 * (at + noise), np.full((len(at), 6), np.nan)], axis=1)

    def columns(self, start, stop):
        return self.values[:, start:stop]


BEFORE = {
    "subj01": subject("subj01", ["dog1", "cat2", "dog3", "cup4"], ["cup9"]),
    "subj02": subject("subj02", ["cat5", "dog6", "cup7"], ["cup9"]),
}
NEW = subject("new", ["cup1", "dog8", "cat8", "dog9", "cup8"], ["cup4", "dog6"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a decoder of both."""
    place = tmp_path_factory.mktemp("before")
    training = DecoderTraining(
        {name: one.train.patterns for name, one in BEFORE.items()},
        {"subj01": np.arange(4), "subj02": np.arange(4, 7)},
        {"image": np.random.default_rng(5).standard_normal((7, 4)).astype(np.float32)},
    )
    arguments = {"hidden": 8, "n_blocks": 1, "reads": "own layer", "adapter": "none"}
    TrainedDecoder(MindShotNetwork, Recipe(steps=3, batch_size=2), arguments=arguments).fit(training).save_pretrained(
        place
    )
    return place


def training_of(new=NEW, before=BEFORE):
    def features(names, subject=None, by="columns"):
        return {name: Table({**before, new.name: new}[subject or new.name].train.stimulus_ids) for name in names}

    return Training({new.name: new}, features, pretraining=before)


def teacher(**settings):
    return ClassTeacher((8,), "image", lambda: 4, **{"classes": "categories"} | settings)


def candidates(folder):
    """Features of every sample that may teach, by its class, found one by one."""
    network, found = TrainedDecoder.from_pretrained(folder).network, {}
    for name, one in BEFORE.items():
        for stimulus, pattern in zip(one.train.stimulus_ids, np.asarray(one.train.patterns)):
            if stimulus not in NEW.test.stimulus_ids:
                values = network.of_subject(torch.from_numpy(pattern[None]), name)["trunk_features"]
                found.setdefault(stimulus[:3], []).append(values[0].detach().numpy())
    return found


@pytest.mark.parametrize("settings", [{}, {"classes": "clusters", "n_clusters": 3}])
def test_every_stimulus_is_taught_by_its_class_and_by_nothing_that_is_tested(folder, settings):
    allowed = candidates(folder)
    assert {name: len(own) for name, own in allowed.items()} == {"dog": 2, "cat": 2, "cup": 1}
    drawn = {name: set() for name in KINDS}
    for seed in range(8):
        found = teacher(seed=seed, **settings)(training_of(), folder)
        assert found.shape == (5, 8) and found.dtype == np.float32
        for stimulus, row in zip(NEW.train.stimulus_ids, found):
            kind = stimulus[:3]
            (place,) = [n for n, one in enumerate(allowed[kind]) if np.allclose(row, one, atol=1e-5)]
            drawn[kind].add(place)
    # All that may teach do.
    assert drawn == {"dog": {0, 1}, "cat": {0, 1}, "cup": {0}}


def test_without_subjects_before_there_is_no_teacher():
    assert teacher()(training_of(), None) is None


def test_a_decoder_without_its_data_cannot_teach(folder):
    with pytest.raises(
        InputError, match="only their decoder is there; name them with --subjects, or pass --set distillation"
    ):
        teacher()(training_of(before={}), folder)


def test_the_new_subject_is_never_its_own_teacher(folder):
    with pytest.raises(InputError, match="subj01 is to be taught by subj01, subj02, one of whom it is itself"):
        teacher()(training_of(new=BEFORE["subj01"]), folder)


def test_classes_that_nobody_before_saw(folder):
    train = Split(NEW.train.betas, NEW.train.stimulus_ids, categories=[["owl"]] * 5)
    new = replace(NEW, splits=NEW.splits | {"train": train})
    with pytest.raises(InputError, match="5 of 5 stimuli of new are of classes that subj01, subj02 saw nothing of"):
        teacher()(training_of(new=new), folder)


def test_what_is_tested_makes_no_clusters(folder):
    """With as many clusters as pictures, each picture of the new subject goes to one that may teach it."""
    found = teacher(classes="clusters", n_clusters=40)(training_of(), folder)
    allowed = np.concatenate(list(map(np.stack, candidates(folder).values())))
    assert all(np.abs(allowed - row).max(axis=1).min() < 1e-5 for row in found)
