"""What banded ridge refuses, in one sentence."""

import numpy as np
import pytest
from banded_voxels import simulated, without_himalaya

from stages.decoders.ridge.banded_ridge import BandedRidgeDecoder
from stages.ground.errors import InputError


def test_without_himalaya_it_says_how_to_install_it(monkeypatch):
    without_himalaya(monkeypatch)
    with pytest.raises(InputError, match=r"not installed here; install it with `pip install 'brainrecon\[banded\]'`"):
        BandedRidgeDecoder().fit(*simulated(30, 20))


def mask(*voxels, n_voxels=20):
    return np.isin(np.arange(n_voxels), voxels)


def spoiled(array, value):
    array = array.copy()
    array[3, 5] = value
    return array


X, Y = simulated(30, 20)
HOSTILE = {
    "overlapping bands": ({"bands": {"V1": mask(1, 2), "V2": mask(2, 3)}}, {}, "'V1' and 'V2' share 1 voxels"),
    "mask of another length": ({"bands": {"V1": mask(1, n_voxels=19)}}, {}, r"'V1' .* shape \(19,\).* 20 voxels"),
    "indices in place of a mask": ({"bands": {"V1": np.array([1, 2])}}, {}, "'V1' is an array of int64"),
    "an empty band": ({"bands": {"V1": mask()}}, {}, "'V1' holds none of the 20 voxels"),
    "no bands": ({"bands": {}}, {}, "bands is empty; expected names and masks"),
    "bands without names": ({"bands": [mask(1)]}, {}, "bands is a list; expected names and masks"),
    "a rest beside the rest": ({"bands": {"rest": mask(1)}}, {}, "'rest' is given but 19 of 20"),
    "negative penalty": ({"alphas": [1.0, -1.0]}, {}, r"\[1.0, -1.0\]; expected one or more numbers above 0"),
    "negative penalties": ({"alphas": -np.logspace(0, 7, 22)}, {}, "one or more numbers above 0"),
    "no penalty": ({"alphas": []}, {}, "one or more numbers above 0"),
    "infinite penalty": ({"alphas": np.inf}, {}, "one or more numbers above 0"),
    "penalties by target": ({"alphas": {"a": 1.0}}, {}, "one or more numbers above 0"),
    "unknown rescaling": ({"rescale": "transductive"}, {}, "'transductive'; expected one of 'held_out', 'none'"),
    "no weighting": ({"n_iter": 0}, {}, "n_iter is 0"),
    "one fold": ({"folds": 1}, {}, "folds is 1"),
    "no seed": ({"seed": None}, {}, "seed is None"),
    "fewer stimuli than folds": ({"folds": 31}, {}, "30 stimuli for 31 folds"),
    "few stimuli of many trials": ({}, {"stimuli": np.arange(30) % 4}, "4 stimuli for 5 folds; pass folds=4"),
    "NaN in the voxels": ({}, {"X": spoiled(X, np.nan)}, "X hold NaN .* 1 of 20 voxels, .* number 5"),
    "infinity in the targets": ({}, {"y": spoiled(Y, np.inf)}, "y hold NaN .* 1 of 7 columns"),
    "fewer targets than trials": ({}, {"y": Y[:29]}, "30 trials but 29 rows"),
    "stimuli of another length": ({}, {"stimuli": np.arange(29)}, r"shape \(29,\) for 30 trials"),
    "stimuli that are no numbers": ({}, {"stimuli": np.arange(30.0)}, "array of float64"),
    "stimuli beyond the targets": ({}, {"stimuli": np.arange(30) + 1}, "from 1 to 30 but y has 30 rows"),
    "groups of other widths": ({}, {"groups": {"a": 3, "b": 3}}, "Groups hold 3, 3 columns but the targets have 7"),
    "an empty group": ({}, {"groups": {"a": 7, "b": 0}}, "Groups hold 7, 0 columns"),
    "no groups": ({}, {"groups": {}}, "Groups hold no columns"),
}


@pytest.mark.parametrize("parameters, arguments, message", HOSTILE.values(), ids=HOSTILE)
def test_what_is_refused(parameters, arguments, message):
    with pytest.raises(InputError, match=message) as raised:
        BandedRidgeDecoder(**parameters).fit(**({"X": X, "y": Y} | arguments))
    assert "\n" not in str(raised.value)


def test_patterns_of_another_subject_are_refused(himalaya):
    decoder = BandedRidgeDecoder(alphas=5.0).fit(X, Y)
    with pytest.raises(InputError, match="19 voxels .* fitted on 20"):
        decoder.predict(X[:, :19])
    with pytest.raises(InputError, match="patterns hold NaN"):
        decoder.predict(spoiled(X, np.nan))
