"""Voxels without values: counted, and left out when asked."""

import h5py
import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write_template
from brainrecon.datasets.inventory import describe, summary
from stages.ground.errors import InputError
from tests.support.bids_study import Study, save

BAD, CONSTANT = [3, 41], [7]


def damaged(folder):
    """The template with two voxels without a value, one of them on one test trial alone, and one that is constant in training."""
    write_template(folder)
    for name in ("train", "test"):
        betas = np.load(folder / name / "betas.npy")
        betas[:, BAD[0]] = np.nan
        if name == "train":
            betas[:, CONSTANT] = 2.5
        else:
            betas[5, BAD[1]] = np.inf
        np.save(folder / name / "betas.npy", betas)
    return folder


def in_one_file(path, folder, prefixed):
    parts = {}
    for name in ("train", "test"):
        ids = load(f"arrays:{folder}").splits[name].trial_stimulus_ids
        parts[name] = {
            "betas": np.load(folder / name / "betas.npy"),
            "stimulus_ids": ids,
            "split": np.full(len(ids), name),
        }
    if prefixed:
        arrays = {
            f"{name}_{key}": values for name, part in parts.items() for key, values in part.items() if key != "split"
        }
    else:
        arrays = {key: np.concatenate([part[key] for part in parts.values()]) for key in parts["train"]}
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("form", ["folder", "one file", "a file of two groups"])
def test_finite_leaves_out_what_has_no_value_or_never_differs_and_says_how_many(form, tmp_path):
    path = damaged(tmp_path / "mine")
    if form != "folder":
        path = in_one_file(tmp_path / "mine.npz", path, prefixed="two" in form)
    with pytest.raises(InputError, match="leave those voxels out with --roi finite"):
        load(f"arrays:{path}").train.patterns
    found = load(f"arrays:{path}", roi="finite")
    kept = np.setdiff1d(np.arange(50), [*BAD, *CONSTANT])
    np.testing.assert_array_equal(found.test.betas[:], np.load(tmp_path / "mine" / "test" / "betas.npy")[:, kept])
    note = "finite: 3 of 50 voxels left out, 2 with NaN or infinite betas and 1 constant in training"
    assert note in found.notes and np.isfinite(found.train.patterns).all()
    assert not [note for note in load(f"arrays:{path}").notes if "finite:" in note]
    if form == "folder":
        assert load(f"arrays:{path}", roi="early & finite").n_voxels == 18


@pytest.mark.parametrize("glmsingle", [False, True])
def test_finite_of_a_bids_folder(glmsingle, tmp_path):
    study = Study(tmp_path, 5, glmsingle=glmsingle)
    if glmsingle:
        for mask in study.folder.glob("*MNI152*"):
            mask.unlink()
        with h5py.File(study.betas[0], "r+") as file:
            file["betasmd"][0, 0, 0, 2] = np.nan
    else:
        study.volumes[1][0, 0, 0, 2] = np.nan
        save(study.betas[1], study.volumes[1])
    n_voxels = int(study.brain.sum())
    found = load(f"arrays:{tmp_path}", roi="finite")
    assert found.n_voxels == n_voxels - 1 and np.isfinite(found.train.patterns).all()
    facts = describe(load(f"arrays:{tmp_path}"))
    assert facts["voxels_without_values"] == 1


def test_data_info_counts_voxels_without_values(tmp_path):
    facts = describe(load(f"arrays:{damaged(tmp_path / 'mine')}"))
    assert facts["voxels_without_values"] == 2
    told = [line for line in summary(facts) if "without" in line or "NaN" in line]
    assert told[0].startswith("note: 2 of 50 voxels hold NaN or infinite betas") and told[0].endswith(
        "with --roi finite"
    )
    write_template(tmp_path / "sound")
    assert describe(load(f"arrays:{tmp_path / 'sound'}"))["voxels_without_values"] == 0
