"""Every damage of the folder that nilearn fetches, in one sentence."""

import nibabel
import numpy as np
import pytest
from damage import cut
from miyawaki_copies import AFFINE, check_one_sentence, write_labels, write_nifti


def cells_of(path):
    return [line.split(",") for line in path.read_text().split()]


def write_cells(path, rows):
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def volumes_of(path):
    return np.asanyarray(nibabel.load(path).dataobj).copy()


def no_folder(copy):
    return dict(path=copy.root / "absent")


def empty_folder(copy):
    (copy.root / "empty").mkdir()
    return dict(path=copy.root / "empty")


def other_file(copy):
    (copy.root / "data.npz").write_text("")
    return dict(path=copy.root / "data.npz")


def other_subject(copy):
    return dict(subject="subj02")


def unknown_roi(copy):
    return dict(roi="V1+V9")


def roi_without_voxels(copy):
    return dict(roi="VP")


def option_of_another_copy(copy):
    return dict(test_trials=[1])


def negative_shift(copy):
    return dict(shift=-1)


def shift_beyond_the_run(copy):
    return dict(shift=400)


def detrend_of_another_type(copy):
    return dict(detrend="linear")


def label_less(copy):
    write_cells(copy.label(), cells_of(copy.label())[:-1])


def run_without_labels(copy):
    copy.label("figure", 2).unlink()


def labels_without_run(copy):
    copy.func("random", 3).unlink()


def no_test_runs(copy):
    for number in (1, 2):
        copy.func("figure", number).unlink()


def only_rest(copy):
    for number in (1, 2):
        write_cells(copy.label("figure", number), [["-1"] * 100] * len(copy.runs["figure", number][1]))


def row_of_99(copy):
    write_cells(copy.label(), [row[:99] for row in cells_of(copy.label())])


def one_row_of_99(copy):
    rows = cells_of(copy.label())
    write_cells(copy.label(), [rows[0][:99], *rows[1:]])


def empty_labels(copy):
    copy.label().write_text("")


def label_of_two(copy):
    rows = cells_of(copy.label())
    rows[-4][7] = "2"
    write_cells(copy.label(), rows)


def label_half_at_rest(copy):
    rows = cells_of(copy.label())
    rows[-4][7] = "-1"
    write_cells(copy.label(), rows)


def label_of_words(copy):
    copy.label().write_text("cross,frame\n")


def truncated_run(copy):
    cut(copy.func("figure", 1))


def no_nifti(copy):
    copy.func("figure", 1).write_text("nothing")


def one_volume(copy):
    write_nifti(copy.func(), volumes_of(copy.func())[..., 0])


def run_on_another_grid(copy):
    write_nifti(copy.func(), volumes_of(copy.func())[:4])


def no_mask(copy):
    copy.mask_file().unlink()


def empty_mask(copy):
    write_nifti(copy.mask_file(), np.zeros(copy.mask.shape, np.uint8))


def mask_on_another_grid(copy):
    write_nifti(copy.mask_file("RHV1d"), np.ones((5, 4, 4), np.uint8))


def mask_elsewhere(copy):
    affine = AFFINE.copy()
    affine[0, 3] = 6
    write_nifti(copy.mask_file("RHV1d"), np.ones(copy.mask.shape, np.uint8), affine)


def nan_in_a_run(copy):
    volumes = volumes_of(copy.func())
    volumes[(*np.argwhere(copy.mask)[0], 3)] = np.nan
    write_nifti(copy.func(), volumes)


def a_random_pattern_as_figure(copy):
    shown = list(copy.runs["figure", 1][1])
    place = next(k for k, pattern in enumerate(shown) if pattern is not None)
    shown[place] = next(pattern for pattern in copy.runs["random", 2][1] if pattern is not None)
    write_labels(copy.label("figure", 1), shown)


NILEARN_CASES = {
    no_folder: "There is no .*absent; give a folder",
    empty_folder: r"func holds no data_random_run01\.nii\.gz or other random run to train on; fetch",
    other_file: r"data\.npz is neither a \.h5 nor a \.mat file",
    other_subject: "hold one subject, subj01, not subj02",
    unknown_roi: "has no roi 'V9'; it has .*V1d.*V1",
    roi_without_voxels: "The roi 'VP' of .* has no voxels; those that have some are ",
    option_of_another_copy: "'test_trials' does nothing for .*, which takes detrend, shift; leave it out",
    negative_shift: "shift is -1; expected a whole number of 0 or more: pass --option shift=2",
    shift_beyond_the_run: r"run01\.nii\.gz has \d+ volumes, so a shift of 400 leaves none",
    detrend_of_another_type: "detrend is 'linear'; expected one of True, False: pass --option detrend=True",
    label_less: r"random_run01_label\.csv labels (\d+) volumes but .*random_run01\.nii\.gz has \d+",
    run_without_labels: r"figure_run02\.nii\.gz is there but not .*figure_run02_label\.csv",
    labels_without_run: r"random_run03_label\.csv is there but not .*random_run03\.nii\.gz",
    no_test_runs: r"func holds no data_figure_run01\.nii\.gz or other figure run to test on",
    only_rest: "trials with a pattern but none to test on; fetch",
    row_of_99: r"run01_label\.csv gives 99 cells for a pattern; expected 100",
    one_row_of_99: r"run01_label\.csv cannot be read as rows of numbers \(.*99",
    empty_labels: r"run01_label\.csv cannot be read as rows of numbers",
    label_of_two: r"run01_label\.csv gives pattern \d+ of \d+ the values 0, 1, 2; expected 0 and 1 alone, or -1",
    label_half_at_rest: r"the values -1, 0, 1; expected 0 and 1 alone, or -1 in all cells for rest",
    label_of_words: r"run01_label\.csv cannot be read as rows of numbers",
    truncated_run: r"figure_run01\.nii\.gz cannot be read as NIfTI",
    no_nifti: r"figure_run01\.nii\.gz cannot be read as NIfTI",
    one_volume: r"random_run01\.nii\.gz is a volume of \(5, 4, 3\); expected a run",
    run_on_another_grid: r"mask\.nii\.gz has volumes of \(5, 4, 3\) but .*random_run01\.nii\.gz of \(4, 4, 3\)",
    no_mask: r"There is no .*mask\.nii\.gz; fetch",
    empty_mask: r"mask\.nii\.gz selects no voxel",
    mask_on_another_grid: r"RHV1d\.nii\.gz has volumes of \(5, 4, 4\) but .*mask\.nii\.gz of \(5, 4, 3\)",
    mask_elsewhere: r"RHV1d\.nii\.gz lies 6 mm beside .*mask\.nii\.gz, whose voxels have 3 mm",
    nan_in_a_run: r"1 of \d+ voxels hold NaN or infinite betas in .*random_run01\.nii\.gz",
    a_random_pattern_as_figure: "1 stimuli are in both train and test .the first is pattern-[0-9a-f]{25}",
}


@pytest.mark.parametrize("spoil", NILEARN_CASES, ids=lambda spoil: spoil.__name__)
def test_a_folder_of_nilearns_that_cannot_be_used(spoil, nilearn):
    asked = {"path": nilearn.root} | (spoil(nilearn) or {})
    check_one_sentence(NILEARN_CASES[spoil], **asked)
