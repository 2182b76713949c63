"""Raw runs of one's own: nilearn's steps written out, trials of blocks and of volumes, and what cannot be read."""

import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.datasets.arrays.raw_runs import Cleaning
from stages.ground.errors import InputError

N_VOXELS = 5
# Two runs: rest, blocks of three volumes, and a block that the second run cuts off.
LABELS = ["", "a", "a", "a", "", "b", "b", "b", "c", "c", "c", "", "", "a", "a", "a", "rest", "d", "d", "d"]
RUNS = [1] * 12 + [4] * 8


def volumes(seed=0):
    """Drifting volumes in a unit of each voxel's own; the last voxel is the same throughout."""
    rng = np.random.default_rng(seed)
    time = np.arange(len(LABELS))[:, None]
    values = rng.normal(size=(len(LABELS), N_VOXELS)) * 10 ** rng.uniform(-2, 3, N_VOXELS) + time * rng.normal(
        size=N_VOXELS
    )
    values[:, -1] = 7
    return values


def write(path, **changes):
    arrays = {"volumes": volumes(), "stimulus_ids": np.array(LABELS), "runs": np.array(RUNS)}
    arrays["split"] = np.array(["test" if label == "d" else "train" for label in LABELS])
    arrays |= changes
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    return f"arrays:{path}"


def cleaned(run, detrend=True, zscore=True):
    """By least squares and the definition of a z-score."""
    values = volumes()[np.array(RUNS) == run]
    if detrend:
        line = np.c_[np.ones(len(values)), np.arange(len(values))]
        values = values - line @ np.linalg.lstsq(line, values, rcond=None)[0]
    if zscore:
        values = values - values.mean(axis=0)
        spread = np.sqrt((values**2).sum(axis=0) / (len(values) - 1))
        values = values / np.where(spread < 1e-9, np.inf, spread)
    return values


def trials(subject):
    """Responses by stimulus, trials in order."""
    found = {}
    for split in subject.splits.values():
        for name, response in zip(split.trial_stimulus_ids, np.asarray(split.betas[:])):
            found.setdefault(str(name), []).append(response)
    return {name: np.array(rows) for name, rows in found.items()}


def test_blocks_are_averaged_behind_their_lag(tmp_path):
    subject = load(write(tmp_path / "mine.npz"))
    one, four = cleaned(1), cleaned(4)
    expected = {
        "a": [one[3:6].mean(axis=0), four[3:6].mean(axis=0)],
        "b": [one[7:10].mean(axis=0)],
        # Two volumes of c and one of d are left: the run ends before the responses to the others.
        "c": [one[10:12].mean(axis=0)],
        "d": [four[7]],
    }
    found = trials(subject)
    assert set(found) == set(expected)
    for name, rows in expected.items():
        np.testing.assert_allclose(found[name], rows, atol=1e-5)
    assert subject.details == {"n_trials": 5, "shift": 2, "detrend": True, "zscore": True, "blocks": "average"}
    assert subject.train.runs.tolist() == [1, 1, 1, 4] and subject.train.standardized == "session"
    assert subject.notes[0].startswith(
        "raw runs: a straight line taken out of each voxel in each run, z-scored within each run"
    )
    assert "3 labelled volumes at the end of runs have no response 2 volumes later" in subject.notes


@pytest.mark.parametrize("detrend", [True, False])
@pytest.mark.parametrize("zscore", [True, False])
def test_volumes_are_those_of_nilearns_example(tmp_path, detrend, zscore):
    """Its shift is ``X = x[2:]`` and ``y = y[:-2]`` in each run, rest taken out."""
    subject = load(write(tmp_path / "mine.npz"), detrend=detrend, zscore=zscore, blocks="volumes")
    labels, runs, found = np.array(LABELS), np.array(RUNS), trials(subject)
    expected = {}
    for run in (1, 4):
        for label, response in zip(labels[runs == run][:-2], cleaned(run, detrend, zscore)[2:]):
            expected.setdefault(label, []).append(response)
    for name in "abcd":
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4)
    assert subject.train.standardized == ("session" if zscore else "no")


def test_cleaning_is_nilearns():
    signal = pytest.importorskip("nilearn.signal")
    by_run = signal.clean(volumes(), runs=np.array(RUNS), detrend=True, standardize="zscore_sample")
    np.testing.assert_allclose(np.concatenate([cleaned(1), cleaned(4)])[:, :-1], by_run[:, :-1], atol=1e-6)


def test_rows_and_columns_alone_are_those_of_all(tmp_path):
    rois = {"roi_V1": np.array([1, 0, 1, 0, 0]), "noise_ceiling": np.arange(5.0)}
    source = write(tmp_path / "mine.npz", **rois)
    whole, part = load(source), load(source, roi="V1")
    every = np.asarray(whole.train.betas[:])
    np.testing.assert_array_equal(part.train.betas[:], every[:, [0, 2]])
    for row in range(whole.train.n_trials):
        np.testing.assert_array_equal(whole.train.betas[row], every[row])
    np.testing.assert_array_equal(whole.train.betas[[3, 0, 3]], every[[3, 0, 3]])


def test_a_run_is_cleaned_when_it_is_asked_for_and_once(tmp_path, monkeypatch):
    cleaned_runs, clean = [], Cleaning.clean
    monkeypatch.setattr(Cleaning, "clean", lambda self, values: cleaned_runs.append(len(values)) or clean(self, values))
    subject = load(write(tmp_path / "mine.npz"))
    assert cleaned_runs == []
    subject.train.patterns
    assert cleaned_runs == [12, 8]


def test_in_folds_without_a_split(tmp_path):
    source = write(tmp_path / "mine.npz", split=None)
    subject = load(source, fold=(0, 4), shift=1)
    assert subject.train.n_stimuli == 3 and subject.test.n_stimuli == 1


def damaged():
    values = volumes()
    values[3, 1] = np.nan
    return values


@pytest.mark.parametrize(
    ("changes", "options", "told"),
    [
        ({"runs": None}, {}, "holds volumes but no runs; add the number of the run of each volume"),
        ({"runs": np.tile([1, 2], 10)}, {}, "volumes of run 1 in two places; give each run its volumes together"),
        (
            {"stimulus_ids": np.array(["rest"] * 20)},
            {},
            "labels no volume with a stimulus; expected ids, and rest, -1, n/a",
        ),
        ({"stimulus_ids": np.full(20, -1)}, {}, "labels no volume with a stimulus"),
        ({"stimulus_ids": np.array(LABELS[1:])}, {}, "'stimulus_ids' has 19 entries; give one entry per row"),
        ({"betas": volumes()}, {}, "holds both betas and volumes; keep betas only"),
        ({}, {"shift": 8}, "Run 4 of .* has 8 volumes, so a shift of 8 leaves none; pass less"),
        ({}, {"shift": -1}, "shift is -1; expected a whole number of 0 or more: pass --option shift=2"),
        ({}, {"detrend": "linear"}, "detrend is 'linear'; expected one of True, False"),
        ({}, {"blocks": "mean"}, "blocks is 'mean'; expected one of 'average', 'volumes'"),
        ({"volumes": damaged()}, {}, "1 of 5 voxels hold NaN"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, changes, options, told):
    source = write(tmp_path / "mine.npz", **changes)
    with pytest.raises(InputError, match=told) as caught:
        load(source, **options).train.patterns
    assert "\n" not in str(caught.value)


def test_options_of_raw_runs_do_nothing_for_responses(tmp_path):
    source = write(
        tmp_path / "mine.npz", volumes=None, betas=volumes(), stimulus_ids=np.array([label or "x" for label in LABELS])
    )
    with pytest.raises(
        InputError, match="'shift' does nothing for .*, which holds no volumes of raw runs; leave it out"
    ):
        load(source, shift=2)
