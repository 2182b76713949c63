"""What a published encoding model is held against: padded averages in the units that it learned, and regions."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import zscore

from brainrecon.datasets.responses import ResponsesOf
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.evaluation.brain.published_encoding import measured, number_of, regions_of

N_VOXELS = 12


def subject(standardized="no"):
    random = np.random.default_rng(0)
    train = (random.normal(size=(20, N_VOXELS)) * np.arange(1, N_VOXELS + 1) + 5).astype(np.float32)
    train[:, 3] = 2
    test = (random.normal(size=(5, N_VOXELS)) * np.arange(1, N_VOXELS + 1) + 5).astype(np.float32)
    splits = {
        "train": Split(ResponsesOf(train, standardized), [f"t{row // 2}" for row in range(20)]),
        "test": Split(ResponsesOf(test, standardized), ["a", "b", "a", "c", "c"]),
    }
    return (
        Subject("subj01", "nsd", "nsd:memory", splits, "nsdgeneral"),
        train.astype(np.float64),
        test.astype(np.float64),
    )


def test_responses_are_z_scored_by_training_trials_and_padded():
    one, train, test = subject()
    found = measured(one)
    mean, std = train.mean(0), train.std(0)
    std[3] = np.inf
    standard = (test - mean) / std
    expected = [standard[[0, 2, 0]].mean(0), standard[1], standard[[3, 4, 3]].mean(0)]
    np.testing.assert_allclose(found.patterns, expected, atol=1e-5)
    assert found.patterns.dtype == np.float32 and np.isnan(found.reliability[1]) and np.isfinite(found.reliability[0])
    np.testing.assert_allclose(((train - mean) / std)[:, 0], zscore(train[:, 0]))


def test_responses_that_are_z_scored_already_stay_as_they_are():
    one, _, test = subject("session")
    expected = [test[[0, 2, 0]].mean(0), test[1], test[[3, 4, 3]].mean(0)]
    np.testing.assert_allclose(measured(one).patterns, expected, atol=1e-5)


def test_some_pictures_of_it():
    one, _, _ = subject()
    whole = measured(one)
    part = whole.of_rows(np.array([2, 0]))
    np.testing.assert_array_equal(part.patterns, whole.patterns[[2, 0]])
    np.testing.assert_array_equal(part.reliability, whole.reliability[[2, 0]])


def test_the_higher_visual_cortex_is_what_the_four_areas_leave():
    masks = {
        name: np.isin(np.arange(N_VOXELS), own)
        for name, own in {"V1": [0, 1], "V2": [2], "V3": [3], "hV4": [5]}.items()
    }
    found = regions_of(SimpleNamespace(rois=masks | {"FFA": np.ones(N_VOXELS, bool)}))
    assert list(found) == ["V1", "V2", "V3", "V4", "higher_vis"]
    assert found["higher_vis"].nonzero()[0].tolist() == [4, 6, 7, 8, 9, 10, 11]
    assert np.sum(list(found.values()), axis=0).tolist() == [1] * N_VOXELS
    without = regions_of(SimpleNamespace(rois={name: mask for name, mask in masks.items() if name != "V3"}))
    assert list(without) == ["V1", "V2", "V4"]
    assert regions_of(SimpleNamespace(rois={})) == {}


@pytest.mark.parametrize(("name", "number"), [("subj01", 1), ("subj08", 8), ("sub-xp1", None), ("VanRullen", None)])
def test_numbers_of_subjects(name, number):
    assert number_of(name) == number
