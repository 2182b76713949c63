"""Responses of other stimuli: everybody has somebody else's, in every fold the same, and pictures stay where they are."""

import numpy as np
import pytest

from brainrecon.datasets.folds import in_fold
from brainrecon.datasets.shuffled import partners, with_shuffled_responses
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError


def made_up(n_train=5, n_test=2, repeats=3, seed=0):
    """Trials whose first voxel says which stimulus was shown."""
    random, splits, start = np.random.default_rng(seed), {}, 0
    for name, n in (("train", n_train), ("test", n_test)):
        shown = random.permutation(np.repeat(np.arange(start, start + n), repeats))
        betas = np.column_stack([shown, random.normal(size=(len(shown), 3))]).astype(np.float32)
        ids = np.array([f"s{one}" for one in shown])
        order = [int(one[1:]) for one in Split(betas, ids).stimulus_ids]
        images = np.stack([np.full((4, 4, 3), one, np.uint8) for one in order])
        captions = [[f"caption {one}"] for one in order]
        splits[name] = Split(betas, ids, runs=np.arange(len(ids)) // 4 + 1, images=images, captions=captions)
        start += n
    return Subject("subj01", "arrays", "arrays:x", splits, roi="all")


def lenders(subject):
    """Stimulus -> whose responses it has, over all splits."""
    found = {}
    for split in subject.splits.values():
        for name, pattern, row in zip(split.stimulus_ids, split.patterns, range(split.n_stimuli)):
            own = np.asarray(split.betas[:])[split.positions == row, 0]
            assert len(set(own)) == 1 and pattern[0] == own[0]
            found[str(name)] = f"s{int(own[0])}"
    return found


def test_everybody_has_the_responses_of_another_and_everybodys_are_used_once():
    subject = made_up()
    found = lenders(with_shuffled_responses(subject, 0))
    assert sorted(found) == sorted(found.values()) == [f"s{one}" for one in range(7)]
    assert all(name != lender for name, lender in found.items())
    assert lenders(with_shuffled_responses(subject, 1)) != found


def test_pictures_and_captions_stay_with_their_stimuli():
    subject = made_up()
    shuffled = with_shuffled_responses(subject, 0)
    for name, split in shuffled.splits.items():
        before = subject.splits[name]
        assert split.stimulus_ids.tolist() == before.stimulus_ids.tolist()
        np.testing.assert_array_equal(split.images, before.images)
        assert split.captions == before.captions and split.n_trials == before.n_trials
    assert shuffled.details["responses"] == "shuffled among stimuli, seed 0" and subject.details == {}


@pytest.mark.parametrize("n_folds", [3, 7])
def test_it_is_the_same_in_every_fold(n_folds):
    subject = made_up()
    found = [lenders(with_shuffled_responses(in_fold(subject, (k, n_folds)), 4)) for k in range(n_folds)]
    assert all(one == found[0] for one in found)


def test_partners_are_one_cycle():
    for n in (2, 3, 10):
        found, seen, row = partners(n, 5), set(), 0
        while row not in seen:
            seen.add(row)
            row = int(found[row])
        assert len(seen) == n


def test_one_stimulus_has_nobody():
    split = Split(np.ones((2, 3), np.float32), ["a", "a"])
    subject = Subject(
        "subj01", "arrays", "arrays:x", {"train": split, "test": Split(np.ones((0, 3), np.float32), [])}, "all"
    )
    with pytest.raises(InputError, match="need 2 stimuli but there is 1"):
        with_shuffled_responses(subject, 0)
