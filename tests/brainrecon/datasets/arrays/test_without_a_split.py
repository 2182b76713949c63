"""One's own data that do not say what is for testing: every stimulus is tested once, in folds."""

import csv

import numpy as np
import pytest
from array_files import content
from bids_study import Study

from brainrecon.datasets import load
from brainrecon.runs.config import RunConfig
from brainrecon.runs.record import load_in_folds, resolved
from brainrecon.studies.plan import make_plan
from stages.ground.errors import InputError


@pytest.fixture
def one_file(tmp_path):
    arrays = content(1)
    del arrays["split"]
    np.savez(tmp_path / "mine.npz", **arrays)
    return f"arrays:{tmp_path / 'mine.npz'}", arrays


def test_a_file_without_a_split_is_tested_in_folds(one_file):
    source, arrays = one_file
    with pytest.raises(InputError, match="no array 'split'; .* or test every stimulus once, as with --folds 10"):
        load(source)
    tested = []
    for k in range(3):
        subject = load(source, fold=(k, 3))
        tested += subject.test.stimulus_ids.tolist()
        assert sum(split.n_trials for split in subject.splits.values()) == len(arrays["betas"])
        for split in subject.splits.values():
            for name, pattern in zip(split.stimulus_ids, split.patterns):
                own = arrays["betas"][arrays["stimulus_ids"] == name].mean(axis=0)
                np.testing.assert_allclose(pattern, own, atol=1e-5)
    assert sorted(tested) == sorted(set(arrays["stimulus_ids"].tolist()))


def test_one_left_out_at_a_time_needs_no_split(one_file):
    source, arrays = one_file
    config = RunConfig.from_dict({"method": "mean-image", "data": {"source": source, "folds": "stimuli"}})
    settled, cohort = resolved(config)
    (subject,) = cohort.values()
    assert (
        settled.data.folds == len(set(arrays["stimulus_ids"].tolist()))
        and subject.train.n_stimuli == settled.data.folds - 1
    )


def test_a_benchmark_in_folds_needs_no_split(one_file):
    source, arrays = one_file
    n_stimuli = len(set(arrays["stimulus_ids"].tolist()))
    assert len(load_in_folds(source, "stimuli")) == n_stimuli
    for folds in (3, "stimuli"):
        assert make_plan(source, ["mean-image"], folds=folds, heldout="").folds == folds
    with pytest.raises(InputError, match="no array 'split'"):
        make_plan(source, ["mean-image"], folds=3, heldout="clusters:2")
    with pytest.raises(InputError, match="no array 'split'"):
        make_plan(source, ["mean-image"], heldout="")


def test_a_folder_with_train_alone(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "train").mkdir()
    (tmp_path / "subject.json").write_text("{}")
    np.save(tmp_path / "train" / "betas.npy", rng.normal(size=(6, 4)))
    with open(tmp_path / "train" / "trials.csv", "w", newline="") as file:
        csv.writer(file).writerows([["stimulus_id"], *([name] for name in "abcabc")])
    with pytest.raises(InputError, match="train/betas.npy alone with --folds 10"):
        load(f"arrays:{tmp_path}")
    assert load(f"arrays:{tmp_path}", fold=(0, 3)).test.n_trials == 2


def test_a_bids_folder_that_names_no_test_stimuli(tmp_path):
    study = Study(tmp_path, 0, split=None)
    with pytest.raises(InputError, match="does not say which trials are for testing.* --folds 10"):
        load(f"arrays:{study.root}")
    subject = load(f"arrays:{study.root}", fold=(0, 2))
    assert abs(subject.train.n_stimuli - subject.test.n_stimuli) <= 1


def test_a_fold_that_is_none_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="There is no fold 5 of 5"):
        load(f"arrays:{tmp_path / 'absent'}", fold=(5, 5))
