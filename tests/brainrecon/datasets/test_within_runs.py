"""Z-scores within runs: a run's own mean and deviation, nothing of another run, and the published file's grouping."""

import numpy as np
import pytest
from kamitani_files import Dir, God
from sklearn.preprocessing import scale

from brainrecon.datasets.kamitani import deep_image_reconstruction, god
from brainrecon.datasets.within_runs import ZScoredWithinRuns
from stages.ground.errors import InputError

DRAWS = np.random.default_rng(0)
BETAS = (DRAWS.normal(size=(30, 6)) * 7 + 100).astype(np.float32)
BETAS[:, 4] = 3.3
RUNS = DRAWS.permutation(np.repeat([1, 2, 5], 10))


def test_each_run_is_what_scikit_learn_makes_of_it():
    found = ZScoredWithinRuns(BETAS, RUNS)
    for run in (1, 2, 5):
        own = found[RUNS == run]
        np.testing.assert_allclose(own, scale(BETAS[RUNS == run].astype(np.float64)), atol=1e-5)
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(own.std(axis=0), [1, 1, 1, 1, 0, 1], atol=1e-6)
    assert found.standardized == "session" and np.isfinite(found[:]).all()


def test_a_run_that_is_taken_away_changes_no_other():
    whole, rest = ZScoredWithinRuns(BETAS, RUNS)[RUNS != 2], ZScoredWithinRuns(BETAS[RUNS != 2], RUNS[RUNS != 2])[:]
    np.testing.assert_array_equal(whole, rest)


def test_columns_and_rows_are_those_of_the_whole():
    found = ZScoredWithinRuns(BETAS, RUNS)
    whole = found[:]
    np.testing.assert_array_equal(found.columns([5, 0])[[3, 1]], whole[[3, 1]][:, [5, 0]])
    np.testing.assert_array_equal(found.take([7, 2])[:], whole[[7, 2]])


def test_runs_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="30 trials but 29 runs"):
        ZScoredWithinRuns(BETAS, RUNS[:29])
    with pytest.raises(InputError, match="Run 9 has 1 trial"):
        ZScoredWithinRuns(BETAS, np.r_[RUNS[:29], 9])


def test_runs_of_a_published_file_are_told_apart_by_split_too(tmp_path):
    written = God(tmp_path, n_train=16, repeats=4)
    types, runs = np.array(written.types[1]), written.runs[1] % 2
    written.runs[1] = runs
    written.write(1)
    plain, found = god.load(tmp_path), god.load(tmp_path, zscore=True)
    for split, number in {"train": 1, "test": 2, "imagery": 3}.items():
        own = runs[types == number]
        betas = plain.splits[split].betas[:].astype(np.float64)
        expected = np.empty_like(betas)
        for run in np.unique(own):
            expected[own == run] = scale(betas[own == run])
        np.testing.assert_allclose(found.splits[split].betas[:], expected, atol=1e-5)
        # Averages are not scaled again.
        part, first = found.splits[split], plain.splits[split].stimulus_ids[0]
        shown = part.trial_stimulus_ids == first
        np.testing.assert_allclose(part.patterns[0], expected[shown].mean(axis=0), atol=1e-5)
    assert found.details["units"] == "z-scores within runs" and found.fingerprint == plain.fingerprint


def test_sessions_tell_runs_apart_too(tmp_path):
    Dir(tmp_path)
    plain, found = (deep_image_reconstruction.load(tmp_path, zscore=zscore) for zscore in (False, True))
    for split, part in plain.splits.items():
        whole = ZScoredWithinRuns(part.betas, np.stack([part.sessions, part.runs], axis=1))[:]
        np.testing.assert_array_equal(found.splits[split].betas[:], whole)
    betas, runs = DRAWS.normal(size=(8, 2)), np.array([1, 1, 2, 2, 1, 1, 2, 2])
    sessions = np.repeat([1, 2], 4)
    apart = ZScoredWithinRuns(betas, np.stack([sessions, runs], axis=1))[:]
    np.testing.assert_allclose(np.abs(apart), 1, rtol=1e-6)
    assert not np.allclose(np.abs(ZScoredWithinRuns(betas, runs)[:]), 1)


def test_a_file_without_runs_says_so(tmp_path):
    written = God(tmp_path)
    written.write(1, drop=("Run",))
    with pytest.raises(InputError, match="does not tell the runs of its samples"):
        god.load(tmp_path, zscore=True)
    with pytest.raises(InputError, match="zscore is 'run'"):
        god.load(tmp_path, zscore="run")
