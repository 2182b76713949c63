"""Nulls of captions say what was said in training, and know no more."""

import numpy as np
import pytest
from chains import chain_of

from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.methods.most_frequent_caption import most_frequent
from stages.ground.errors import InputError

SAID = [["a dog runs", "an animal"], ["A bus."], ["a bus", "traffic"], ["a  Dog runs."], ["a dog runs"]]
N_TRAIN, N_TEST, N_VOXELS = len(SAID), 3, 30


def subject_with(captions):
    random = np.random.default_rng(3)
    responses = random.normal(size=(N_TRAIN + N_TEST, N_VOXELS)).astype(np.float32) * random.uniform(0.01, 10, N_VOXELS)
    names = np.array([f"s{row}" for row in range(len(responses))])
    train = Split(responses[:N_TRAIN], names[:N_TRAIN], captions=captions)
    return Subject(
        "subj01", "arrays", "arrays:x", {"train": train, "test": Split(responses[N_TRAIN:], names[N_TRAIN:])}, roi="all"
    )


@pytest.fixture(scope="module")
def subject():
    return subject_with(SAID)


def captions_of(chain, subject):
    return list(chain.run_from_patterns([str(one) for one in subject.test.stimulus_ids], subject.test.patterns, seed=0))


def test_the_most_frequent_caption_is_counted_over_all_of_them(subject):
    assert captions_of(chain_of("most-frequent-caption").fit_in_memory(subject), subject) == ["a dog runs"] * N_TEST
    assert most_frequent(["one", "two", "Two", "ONE."]) == "one"


def test_the_nearest_caption_vs_correlations_written_out(subject):
    said = captions_of(chain_of("nearest-training-caption").fit_in_memory(subject), subject)
    train = subject.train.patterns.astype(np.float64)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    for pattern, caption in zip(subject.test.patterns, said):
        likeness = [np.corrcoef((pattern - mean) / deviation, (one - mean) / deviation)[0, 1] for one in train]
        assert caption == SAID[int(np.argmax(likeness))][0]


@pytest.mark.parametrize("null", ["most-frequent-caption", "nearest-training-caption"])
def test_a_null_of_captions_survives_its_files(null, subject, tmp_path):
    chain = chain_of(null).fit_in_memory(subject)
    chain.save(tmp_path)
    assert captions_of(chain_of(null).open(tmp_path), subject) == captions_of(chain, subject)


@pytest.mark.parametrize("null", ["most-frequent-caption", "nearest-training-caption"])
def test_without_captions_it_says_what_to_give(null):
    with pytest.raises(InputError, match="has no captions to learn from; pass --captions FILE"):
        chain_of(null).fit_in_memory(subject_with(None))
