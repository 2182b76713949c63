"""Splitting anew moves trials and stimuli as they are: compared with what was written."""

import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write
from brainrecon.datasets.resplit import Stacked, resplit
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


def test_stacked_rows_index_like_an_array():
    random = np.random.default_rng(0)
    parts, rows = [random.random((6, 4)), random.random((9, 4))], [np.array([1, 3]), np.array([0, 2, 8])]
    whole = np.concatenate([part[chosen] for part, chosen in zip(parts, rows)])
    stacked = Stacked(parts, rows)
    assert stacked.shape == whole.shape and stacked.dtype == float
    for index in (0, -1, slice(1, 4), [4, 0, 0], np.array([True, False, True, True, False]), []):
        index = np.array(index, dtype=int) if isinstance(index, list) else index
        np.testing.assert_array_equal(stacked[index], whole[index])
    np.testing.assert_array_equal(stacked[1:3, 2:], whole[1:3, 2:])
    np.testing.assert_array_equal(np.asarray(stacked), whole)
    with pytest.raises(InputError, match="of one size"):
        Stacked([random.random((2, 3)), random.random((2, 4))], rows)


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
