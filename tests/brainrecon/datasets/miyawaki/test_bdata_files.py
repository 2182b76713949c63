"""BData files: every trial against what was written, and every damage in one sentence."""

import numpy as np
import pytest
from miyawaki_copies import SEEDS, check_one_sentence, check_split, draw_bdata, write_bdata

from brainrecon.datasets.miyawaki import reader as miyawaki


def rows_of(columns, chosen):
    return {key: value[chosen] for key, value in columns.items()}


@pytest.mark.parametrize("name", ("visrecon.h5", "visrecon_s1.mat", "fmri"))
@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_bdata_are_trials(tmp_path, seed, name):
    shown, columns, regions, extra = draw_bdata(seed)
    types = columns["StimulusType"][:, 0]
    path, apart = tmp_path / name, name == "fmri"
    if apart:
        write_bdata(path / "visrecon_s1_random.h5", rows_of(columns, types == 1), regions, extra)
        write_bdata(path / "visrecon_s1_test.h5", rows_of(columns, types > 1), regions, extra)
    else:
        write_bdata(path, columns, regions, extra)
    subject = miyawaki.load(path)
    for split, chosen in ((subject.train, types == 1), (subject.test, types > 1)):
        run, values = columns["Run"][:, 0], columns["VoxelData"]
        check_split(split, [(run[k], shown[k], values[k]) for k in np.flatnonzero(chosen)])
    kinds = {2: "geometric", 3: "thin alphabet", 4: "long alphabet", 5: "alphabet"}
    assert subject.train.categories == [["random"]] * 9
    assert subject.test.categories == [[kinds[kind]] for kind in dict.fromkeys(types[types > 1])]
    both = regions["L_V3A"] | regions["R_V3A"]
    expected = {"V1": regions["ROI_V1"], "V2": regions["ROI_V2"], "V3A": both, "L_V3A": regions["L_V3A"]}
    for name, mask in expected.items():
        if mask.any():
            np.testing.assert_array_equal(subject.rois[name], mask)
    assert "voxel_x" not in subject.rois
    part = miyawaki.load(path, roi="V1+V2")
    np.testing.assert_array_equal(part.test.betas, subject.test.betas[:, regions["ROI_V1"] | regions["ROI_V2"]])
    assert len(miyawaki.files(path)) == 1 + apart


def without(key):
    def change(columns):
        del columns[key]

    return change


def other_kind(columns):
    columns["StimulusType"][4] = 7


def no_figures(columns):
    columns["StimulusType"][columns["StimulusType"] > 1] = -1


def cells_of_99(columns):
    columns["Image"] = columns["Image"][:, :99]


def grey_cell(columns):
    columns["Image"][np.flatnonzero(columns["StimulusType"] == 1)[2], 5] = 0.5


def nan_in_a_row(columns):
    columns["VoxelData"][np.flatnonzero(columns["StimulusType"] == 1)[2], 5] = np.nan


@pytest.mark.parametrize(
    "change, asked, told",
    [
        (without("VoxelData"), {}, r"visrecon\.h5 has no VoxelData but Run, StimulusType, Image"),
        (without("Image"), {}, r"visrecon\.h5 has no Image but"),
        (other_kind, {}, r"visrecon\.h5 has the StimulusType 7; expected 1"),
        (no_figures, {}, "has 9 trials with a pattern but none to test on; give a file with both, or a folder"),
        (cells_of_99, {}, r"Image of .*visrecon\.h5 gives 99 cells"),
        (
            grey_cell,
            {},
            r"Image of .*visrecon\.h5 gives pattern \d+ of 21 the values 0, 0.5, 1; expected 0 and 1 alone:",
        ),
        (nan_in_a_row, {}, r"1 of 8 voxels hold NaN or infinite betas in .*visrecon\.h5"),
        (lambda columns: None, dict(roi="V8"), "has no roi 'V8'; it has V1, V2"),
        (lambda columns: None, dict(shift=1), "'shift' does nothing for .*, which takes no such option"),
    ],
)
def test_bdata_that_cannot_be_used(tmp_path, change, asked, told):
    _, columns, regions, extra = draw_bdata()
    change(columns)
    has_voxels = "VoxelData" in columns
    write_bdata(tmp_path / "visrecon.h5", columns, regions if has_voxels else {}, extra if has_voxels else {})
    check_one_sentence(told, tmp_path / "visrecon.h5", **asked)


def test_a_folder_of_two_subjects(tmp_path):
    for name, n_voxels in (("s1", 8), ("s2", 9)):
        _, columns, regions, extra = draw_bdata(n_voxels=n_voxels)
        write_bdata(tmp_path / f"{name}.h5", columns, regions, extra)
    check_one_sentence(r"s2\.h5 has 9 voxels in 4 regions, other ones than the 8 in 4 of .*s1\.h5", tmp_path)


def test_no_bdata(tmp_path):
    (tmp_path / "data.h5").write_text("no HDF5 at all")
    check_one_sentence(r"data\.h5", tmp_path / "data.h5")
