"""MATLAB files: every trial against what was written, and every damage in one sentence."""

import numpy as np
import pytest
from damage import cut
from miyawaki_copies import SEEDS, check_one_sentence, check_split, draw_mat, write_mat

from brainrecon.datasets.miyawaki import reader as miyawaki


@pytest.mark.parametrize("version", (5, 7.3))
@pytest.mark.parametrize("seed", SEEDS)
def test_a_mat_with_types(tmp_path, seed, version):
    shown, content = draw_mat(seed)
    order = np.random.default_rng(seed).permutation(21)
    rest = order[:4]
    content["stim"][:, rest] = -1
    content["trial_type"][0, rest] = -2
    content = {name: value[:, order] for name, value in content.items()}
    content |= {"run": np.arange(21)[None] // 5 + 1, "names": np.arange(3)[None]}
    path = tmp_path / "data.mat"
    write_mat(path, content, version)
    subject = miyawaki.load(path)
    for split, low, high in ((subject.train, 0, 12), (subject.test, 12, 21)):
        places = [k for k, trial in enumerate(order) if low <= trial < high and trial not in rest]
        check_split(split, [(k // 5 + 1, shown[order[k]], content["fmri"][:, k]) for k in places])


@pytest.mark.parametrize("version", (5, 7.3))
@pytest.mark.parametrize("n_test", (9, 12))
def test_a_mat_with_pairs(tmp_path, version, n_test):
    shown, content = draw_mat(1, n_test=n_test)
    parts = {"Random": slice(0, 12), "figure": slice(12, None)}
    pairs = {f"x{part}": content["fmri"][:, own] for part, own in parts.items()}
    pairs |= {f"y_{part}": content["stim"][:, own].astype(np.uint8) for part, own in parts.items()}
    write_mat(tmp_path / "data.mat", pairs, version)
    subject = miyawaki.load(tmp_path / "data.mat")
    for split, own in ((subject.train, parts["Random"]), (subject.test, parts["figure"])):
        check_split(split, [(None, *trial) for trial in zip(shown[own], content["fmri"][:, own].T)])
    assert subject.details["variables"] == {"responses": ["xRandom", "xfigure"], "patterns": ["y_Random", "y_figure"]}


@pytest.mark.parametrize("turned", (False, True))
def test_a_mat_whose_variables_are_named(tmp_path, turned):
    shown, content = draw_mat(2)
    content = {"a": content["fmri"], "b": content["fmri"] * 2, "c": content["stim"], "d": 1 - content["stim"]}
    write_mat(tmp_path / "data.mat", {name: value.T if turned else value for name, value in content.items()})
    numbers = list(range(13, 22))
    subject = miyawaki.load(tmp_path / "data.mat", responses="b", patterns="c", test_trials=numbers)
    check_split(subject.train, [(None, *trial) for trial in zip(shown[:12], content["b"].T[:12])])
    check_split(subject.test, [(None, *trial) for trial in zip(shown[12:], content["b"].T[12:])])


def test_fields_of_a_struct_are_variables(tmp_path):
    shown, content = draw_mat()
    write_mat(tmp_path / "data.mat", {"D": {"data": content["fmri"], "label": content["stim"], "name": "s1"}})
    subject = miyawaki.load(tmp_path / "data.mat", test_trials="13-21")
    check_split(subject.test, [(None, *trial) for trial in zip(shown[12:], content["fmri"].T[12:])])
    # A single number is one that may be passed.
    told = [np.asarray(pattern).tobytes() for pattern in shown]
    once = next(number for number, pattern in enumerate(told, 1) if told.count(pattern) == 1)
    assert miyawaki.load(tmp_path / "data.mat", test_trials=once).test.n_trials == 1


def test_flags_of_test_trials(tmp_path):
    shown, content = draw_mat()
    flags = (content.pop("trial_type") > 1).astype(np.uint8).T
    write_mat(tmp_path / "data.mat", content | {"isTest": flags})
    check_split(
        miyawaki.load(tmp_path / "data.mat").test,
        [(None, *trial) for trial in zip(shown[12:], content["fmri"].T[12:])],
    )


def changed(**changes):
    """A change of a MATLAB file's content: other values, or None to take a variable away."""
    return lambda content: {k: v for k, v in (content | changes).items() if v is not None}


@pytest.mark.parametrize("version", (5, 7.3))
@pytest.mark.parametrize(
    "change, asked, told",
    [
        (changed(trial_type=None), {}, r"nothing tells which of its 21 trials test; pass test_trials"),
        (changed(trial_type=np.ones((1, 21))), {}, "nothing tells which of its 21 trials test"),
        (changed(), dict(test_trials=[0, 1]), "test_trials does not fit .*; pass numbers from 1 to 21"),
        (changed(), dict(test_trials="last"), "test_trials does not fit"),
        (changed(), dict(test_trials="13-22"), "test_trials does not fit"),
        (changed(), dict(responses=3), "responses is 3; pass the name of one variable, or of two"),
        (
            changed(),
            dict(test_trials=range(1, 22)),
            "has 21 trials with a pattern but none to train on; pass test_trials",
        ),
        (changed(stim=None), {}, r"holds fmri \(7, 21\), trial_type \(1, 21\); expected one matrix of 100 x trials"),
        (changed(zebra=np.ones((100, 21))), {}, r"holds .*zebra \(100, 21\); expected one matrix of 100 x trials"),
        (changed(more=np.ones((6, 21))), {}, "holds fmri, more with the 21 trials of stim.*pass responses=NAME"),
        (changed(fmri=np.ones((7, 20))), {}, "holds no matrix with the 21 trials of stim"),
        (changed(fmri=np.ones((7, 20))), dict(responses="fmri"), "has 20 trials in fmri but 21 in stim"),
        (changed(), dict(responses="bold"), r"has no variable 'bold' of two axes; it has fmri \(7, 21\)"),
        (changed(), dict(patterns="fmri"), "has 7 rows in fmri; expected 100"),
        (changed(), dict(patterns=["a", "b", "c"]), "patterns is .*; pass the name of one variable, or of two"),
        (changed(), dict(responses="fmri,fmri"), r"2 responses \(fmri, fmri\) go with 1 patterns \(stim\)"),
        (changed(), dict(roi="V1"), "has no roi 'V1'; it has all"),
        (changed(), dict(detrend=False), "'detrend' does nothing for .*, which takes responses, patterns, test_trials"),
        (changed(fmri=np.full((7, 21), np.nan)), {}, "7 of 7 voxels hold NaN"),
        (lambda content: {"a": np.zeros((2, 2))}, {}, r"holds a \(2, 2\); expected one matrix of 100 x trials"),
    ],
)
def test_a_mat_that_cannot_be_used(tmp_path, version, change, asked, told):
    path = tmp_path / "data.mat"
    write_mat(path, change(draw_mat()[1]), version)
    check_one_sentence(told, path, **asked)


def test_a_mat_with_values_that_are_no_pattern(tmp_path):
    content = draw_mat()[1]
    content["stim"][3, 4] = 0.5
    write_mat(tmp_path / "data.mat", content)
    told = r"data\.mat \(stim\) gives pattern 5 of 21 the values 0, 0.5, 1; expected 0 and 1"
    check_one_sentence(told, tmp_path / "data.mat", patterns="stim")


def test_pairs_of_other_voxels(tmp_path):
    shown, content = draw_mat()
    pairs = {f"{name}_train": content[name][:, :12] for name in ("fmri", "stim")}
    pairs |= {"stim_test": content["stim"][:, 12:], "fmri_test": content["fmri"][:6, 12:]}
    write_mat(tmp_path / "data.mat", pairs)
    check_one_sentence("has 7 voxels in fmri_train but 6 in fmri_test", tmp_path / "data.mat")


@pytest.mark.parametrize("version", (5, 7.3))
def test_no_mat(tmp_path, version):
    check_one_sentence("There is no .*absent.mat", tmp_path / "absent.mat")
    path = tmp_path / "data.mat"
    path.write_text("no MATLAB file at all" * 20)
    check_one_sentence(r"data\.mat cannot be read as a MATLAB file", path)
    write_mat(path, draw_mat()[1], version)
    cut(path)
    check_one_sentence(r"data\.mat cannot be read as (a MATLAB file|HDF5)", path)
