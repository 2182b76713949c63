"""Splitting anew moves trials and stimuli as they are: compared with what was written."""

import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write
from brainrecon.datasets.resplit import resplit
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError


@pytest.fixture
def subject(nsd):
    return load(f"nsd:{nsd.root}")


@pytest.mark.parametrize("seed", range(4))
def test_every_trial_stays_with_its_picture(nsd, subject, seed):
    random = np.random.default_rng(seed)
    everything = np.concatenate([subject.train.stimulus_ids, subject.test.stimulus_ids])
    wanted = set(random.choice(everything, random.integers(1, len(everything)), replace=False).tolist())
    anew = resplit(subject, wanted, "by lot")
    assert set(anew.test.stimulus_ids) == wanted and set(anew.train.stimulus_ids) == set(everything) - wanted
    mask = nsd.rois["subj01"]["nsdgeneral"] > 0
    for split in anew.splits.values():
        pictures = [int(name.removeprefix("nsd")) for name in split.stimulus_ids]
        np.testing.assert_array_equal(np.asarray(split.images), nsd.images[pictures])
        assert len(split.captions) == len(split.categories) == split.n_stimuli
        by_trial = zip(split.trial_stimulus_ids, split.sessions, np.asarray(split.betas))
        left = {
            (session, f"nsd{picture:05d}", tuple(np.float32(response) / np.float32(300)))
            for session, shown in nsd.shown["subj01"].items()
            for picture, response in zip(shown, nsd.stored["subj01"][session][mask].T)
            if f"nsd{picture:05d}" in set(split.stimulus_ids)
        }
        assert {(session, str(name), tuple(response)) for name, session, response in by_trial} == left
        assert len(split.trial_stimulus_ids) == len(left)
    captions = dict(zip(anew.train.stimulus_ids, anew.train.captions))
    for split in subject.splits.values():
        for name, own in zip(split.stimulus_ids, split.captions):
            assert captions.get(name, own) == own


def test_what_changes_and_what_does_not(subject):
    anew = resplit(subject, subject.train.stimulus_ids[:2], "two")
    assert anew.fingerprint != subject.fingerprint and anew.noise_ceiling is None
    assert anew.details["split"] == "two" and "split anew: two, 2 of 9 stimuli" in anew.notes[-1]
    assert anew.fingerprint == resplit(subject, subject.train.stimulus_ids[:2], "two").fingerprint


def test_nothing_or_everything_held_out_is_refused(subject):
    for ids in ([], ["nsd99999"], [*subject.train.stimulus_ids, *subject.test.stimulus_ids]):
        with pytest.raises(InputError, match="stimuli .by lot.; choose one that leaves some"):
            resplit(subject, ids, "by lot")


def test_pictures_of_two_sizes_are_not_split_anew():
    random = np.random.default_rng(0)
    splits = {
        name: Split(
            random.random((2, 3), dtype=np.float32),
            [f"{name}1", f"{name}2"],
            images=random.integers(0, 256, (2, size, size, 3), dtype=np.uint8),
        )
        for name, size in (("train", 4), ("test", 5))
    }
    with pytest.raises(InputError, match="of one size"):
        resplit(Subject("subj01", "test", "test:here", splits, "all"), ["train1"], "one")


def test_what_was_split_can_be_split_again(nsd):
    """Z-scores are then taken over what is trained on at last."""
    once = load(f"nsd:{nsd.root}", zscore=True)
    everything = np.concatenate([once.train.stimulus_ids, once.test.stimulus_ids])
    twice = resplit(resplit(once, everything[2:4], "two"), everything[:2], "two others")
    directly = resplit(once, everything[:2], "two others")
    for name, split in directly.splits.items():
        found = dict(zip(twice.splits[name].stimulus_ids, twice.splits[name].patterns))
        assert split.standardized == twice.splits[name].standardized == "training"
        for stimulus, pattern in zip(split.stimulus_ids, split.patterns):
            np.testing.assert_allclose(found[stimulus], pattern, atol=1e-5)


def test_z_scores_are_taken_anew_over_what_is_trained_on(nsd, subject):
    """The formula written out: no trial of a stimulus that is now tested enters the mean and the deviation."""
    scored = load(f"nsd:{nsd.root}", zscore=True)
    held_out = [*subject.train.stimulus_ids[:2], subject.test.stimulus_ids[0]]
    anew, plain = (resplit(each, held_out, "by lot") for each in (scored, subject))
    for name in ("train", "test"):
        found, before = np.asarray(anew.splits[name].betas), np.asarray(plain.splits[name].betas, dtype=float)
        for session in np.unique(plain.splits[name].sessions):
            trained = np.asarray(plain.train.betas, dtype=float)[plain.train.sessions == session]
            rows = plain.splits[name].sessions == session
            expected = (before[rows] - trained.mean(axis=0)) / trained.std(axis=0, ddof=1)
            np.testing.assert_allclose(found[rows], expected, atol=1e-4)
    assert "z-scored before" not in anew.notes[-1]
    # The subject that was split keeps its own.
    again = load(f"nsd:{nsd.root}", zscore=True)
    np.testing.assert_array_equal(np.asarray(scored.train.betas), np.asarray(again.train.betas))
    everything = [*subject.train.stimulus_ids, *subject.test.stimulus_ids]
    with pytest.raises(InputError, match="training trials after the split; z-scoring .* leave zscore out"):
        resplit(scored, everything[1:], "all but one")


def test_stored_z_scores_are_told(nsd, tmp_path):
    write(load(f"nsd:{nsd.root}", zscore=True), tmp_path / "out")
    stored = load(f"arrays:{tmp_path / 'out'}")
    assert (
        "z-scored before, by trials of which some may be tested now"
        in resplit(stored, stored.train.stimulus_ids[:2], "two").notes[-1]
    )
