"""Several subjects: what they share, and that none learns from what one is tested on."""

import numpy as np
import pytest

from brainrecon.datasets.cohort import Cohort, there_of
from brainrecon.datasets.fewer_trials import first_sessions, some_stimuli, without_stimuli
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError


def subject_of(name, train, test, n_voxels=4, dataset="arrays", sessions=None):
    """A subject who saw some stimuli, once each; the picture of a stimulus is its letter's number."""

    def split(ids):
        betas = np.random.default_rng(len(ids)).standard_normal((len(ids), n_voxels)).astype(np.float32)
        known = sorted(set(ids), key=ids.index)
        pictures = np.stack([np.full((4, 4, 3), ord(one[0]), np.uint8) for one in known])
        return Split(betas, ids, images=pictures, captions=[[f"a {one}"] for one in known])

    splits = {"train": split(train), "test": split(test)}
    if sessions is not None:
        splits["train"].sessions = np.asarray(sessions)
    return Subject(name, dataset, f"{dataset}:memory", splits, roi="all", fingerprint=name)


@pytest.fixture
def three():
    return Cohort(
        [
            subject_of("subj01", ["a", "b", "c"], ["x", "y"]),
            subject_of("subj02", ["x", "d"], ["y", "e"], n_voxels=7),
            subject_of("subj03", ["f", "x"], ["g", "y", "a"]),
        ]
    )


def test_shared_and_own_stimuli(three):
    assert three.shared_ids.tolist() == ["x", "y"]
    assert three.own_ids("subj01").tolist() == ["b", "c"] and three.own_ids("subj02").tolist() == ["d", "e"]
    assert three.n_voxels == {"subj01": 4, "subj02": 7, "subj03": 4}
    assert Cohort([three["subj01"]]).own_ids("subj01").tolist() == ["a", "b", "c", "x", "y"]


def test_nobody_learns_from_what_somebody_is_tested_on(three):
    apart = three.apart()
    assert {name: one.train.stimulus_ids.tolist() for name, one in apart.items()} == {
        "subj01": ["b", "c"],
        "subj02": ["d"],
        "subj03": ["f"],
    }
    for name, one in apart.items():
        assert one.test is three[name].test
        assert not np.isin(one.train.stimulus_ids, apart.tested_ids).any()
    # What belongs to a stimulus stays with it.
    train = apart["subj01"].train
    assert train.captions == [["a b"], ["a c"]] and [image[0, 0, 0] for image in train.images[:]] == [
        ord("b"),
        ord("c"),
    ]
    np.testing.assert_array_equal(train.betas[:], three["subj01"].train.betas[1:])
    assert any("1 of 3 training stimuli" in note for note in apart["subj01"].notes)
    # Who loses nothing is the same object: what was computed for it is found.
    assert three.apart(["nobody saw this"])["subj02"] is three["subj02"]


def test_a_subject_that_would_have_nothing_to_learn_from(three):
    with pytest.raises(InputError, match="All 2 training stimuli of subj02 .* leave subj02 out"):
        three.apart(["x", "d"])


@pytest.mark.parametrize(
    "subjects, message",
    [
        ([], "has 0 subjects"),
        ([subject_of("subj01", ["a"], ["b"])] * 2, "subj01 is twice in the cohort"),
        ([subject_of("s1", ["a"], ["b"]), subject_of("s2", ["a"], ["b"], dataset="nsd")], "s1 of arrays and s2 of nsd"),
    ],
)
def test_what_is_no_cohort(subjects, message):
    with pytest.raises(InputError, match=message):
        Cohort(subjects)


def test_names_as_people_write_them(cohort):
    assert there_of(f"nsd:{cohort}", ["1"]) == ("subj01",)
    with pytest.raises(InputError, match="no subject 'subj07' at nsd:.*; there are subj01"):
        there_of(f"nsd:{cohort}", ["7"])


def test_first_sessions():
    # "b" comes first of all, and again where "a" is.
    whole = subject_of("subj01", ["b", "c", "a", "b", "d"], ["x"], sessions=[4, 4, 2, 2, 7])
    few = first_sessions(whole, 1)
    assert few.train.trial_stimulus_ids.tolist() == ["a", "b"] and few.train.stimulus_ids.tolist() == ["a", "b"]
    assert [image[0, 0, 0] for image in few.train.images[:]] == [ord("a"), ord("b")]
    np.testing.assert_array_equal(few.train.betas[:], whole.train.betas[2:4])
    assert few.details["training sessions"] == 1 and few.fingerprint == whole.fingerprint and few.test is whole.test
    assert first_sessions(whole, 3).train.stimulus_ids.tolist() == ["b", "c", "a", "d"]


def test_sessions_that_are_not_there():
    whole = subject_of("subj01", ["a", "b"], ["x"], sessions=[1, 2])
    for wrong in (0, 3):
        with pytest.raises(InputError, match=f"first {wrong} sessions .* has training trials in 2; pass --sessions"):
            first_sessions(whole, wrong)
    with pytest.raises(InputError, match="does not say in which session .*; leave --sessions out"):
        first_sessions(subject_of("subj01", ["a"], ["x"]), 1)


def test_stimuli_left_out_keep_all_repeats_of_the_others():
    whole = subject_of("subj01", ["a", "b", "a", "c", "b"], ["x"])
    fewer = without_stimuli(whole, ["a", "x", "z"], "that are left out here")
    assert fewer.train.trial_stimulus_ids.tolist() == ["b", "c", "b"] and fewer.train.positions.tolist() == [0, 1, 0]


def test_some_stimuli():
    whole = subject_of("subj01", ["b", "c", "a", "b", "d", "c"], ["x"])
    drawn = {}
    for seed in range(20):
        few, more = some_stimuli(whole, 2, seed), some_stimuli(whole, 3, seed)
        kept = set(few.train.stimulus_ids.tolist())
        assert len(kept) == 2 and kept < set(more.train.stimulus_ids.tolist()) <= set("abcd") and few.test is whole.test
        # All trials of each, in their order.
        trials = [row for row, name in enumerate(whole.train.trial_stimulus_ids) if name in kept]
        np.testing.assert_array_equal(few.train.betas[:], whole.train.betas[trials])
        assert few.details["training stimuli"] == [2, seed]
        drawn[seed] = frozenset(kept)
    # All of the six pairs come up, and a seed gives the same ones again.
    assert len(set(drawn.values())) == 6 and drawn[3] == set(some_stimuli(whole, 2, 3).train.stimulus_ids.tolist())


@pytest.mark.parametrize(("n", "advised"), [(0, 1), (5, 4)])
def test_as_many_stimuli_as_there_are_not(n, advised):
    with pytest.raises(InputError, match=f"{n} training stimuli .* has 4; pass --training-stimuli {advised}"):
        some_stimuli(subject_of("subj01", ["b", "c", "a", "d"], ["x"]), n)
