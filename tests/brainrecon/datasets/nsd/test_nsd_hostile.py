"""Whatever is wrong with the files is one sentence that names the file and says what to do."""

import re

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from damage import cut

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from stages.ground.errors import InputError


def spoil_mat(nsd, **changes):
    content = {name: value for name, value in scipy.io.loadmat(nsd.design).items() if name[0] != "_"}
    content |= changes
    scipy.io.savemat(nsd.design, {name: value for name, value in content.items() if value is not None})


def no_folder(nsd, **_):
    return dict(source=f"nsd:{nsd.root}/absent")


def empty_folder(nsd, **_):
    (nsd.root / "empty").mkdir()
    return dict(source=f"nsd:{nsd.root}/empty")


def no_subject(nsd, **_):
    return dict(subject="subj09")


def no_space(nsd, **_):
    return dict(space="func1mm")


def no_version(nsd, **_):
    return dict(betas="b2")


def unknown_format(nsd, **_):
    return dict(format="mgh")


def no_format(nsd, **_):
    return dict(format="nifti")


def unknown_option(nsd, **_):
    return dict(beta="b3")


def no_sessions(nsd, **_):
    for session in (1, 2, 3):
        nsd.session(session).unlink()


def no_design(nsd, **_):
    nsd.design.unlink()


def damaged_design(nsd, **_):
    nsd.design.write_bytes(b"no MATLAB file at all" * 20)


def design_without_field(nsd, **_):
    spoil_mat(nsd, sharedix=None)


def design_from_zero(nsd, **_):
    spoil_mat(nsd, masterordering=scipy.io.loadmat(nsd.design)["masterordering"] - 1)


def design_without_pictures(nsd, **_):
    pictures = scipy.io.loadmat(nsd.design)["subjectim"]
    pictures[0] = 0
    spoil_mat(nsd, subjectim=pictures)


def design_of_one_subject(nsd, **_):
    spoil_mat(nsd, subjectim=scipy.io.loadmat(nsd.design)["subjectim"][:1])
    return dict(subject="subj02")


def stimpattern_of_other_length(nsd, **_):
    spoil_mat(nsd, stimpattern=np.ones((2, 2, 2)))


def truncated_hdf5(nsd, **_):
    cut(nsd.session(2), 0.9)


def no_hdf5(nsd, **_):
    nsd.session(2).write_bytes(b"")


def hdf5_of_other_content(nsd, **_):
    with h5py.File(nsd.session(2), "w") as file:
        file["data"] = np.zeros(3)


def truncated_nifti(nsd_writer, **_):
    nsd = nsd_writer("nifti", formats=("nifti",))
    cut(nsd.session(2, suffix=".nii.gz"), 0.6)
    return dict(source=f"nsd:{nsd.root}")


def no_nifti(nsd_writer, **_):
    nsd = nsd_writer("nifti", formats=("nifti",))
    nsd.session(2, suffix=".nii.gz").write_bytes(b"nothing")
    return dict(source=f"nsd:{nsd.root}")


def other_number_of_trials(nsd, betas_writer, **_):
    betas_writer(nsd.session(2), nsd.stored["subj01"][2][..., :-1])


def session_beyond_the_design(nsd, **_):
    nsd.session(3).rename(nsd.session(7))


def other_volume(nsd, betas_writer, **_):
    betas_writer(nsd.session(2), nsd.stored["subj01"][2][:-1])


def swapped_axes(nsd, betas_writer, **_):
    betas_writer(nsd.session(2), nsd.stored["subj01"][2].transpose(2, 1, 0, 3))


def roi_on_another_grid(nsd, volume_writer, **_):
    volume_writer(nsd.roi_file("floc-faces"), np.ones((7, 5, 5), np.int16))


def no_rois(nsd, **_):
    for path in nsd.roi_file("nsdgeneral").parent.iterdir():
        path.unlink()


def damaged_roi(nsd, **_):
    cut(nsd.roi_file("nsdgeneral"))


def empty_roi(nsd, volume_writer, **_):
    volume_writer(nsd.roi_file("nsdgeneral"), np.zeros(nsd.shape, np.int16))


def ncsnr_on_another_grid(nsd, volume_writer, **_):
    volume_writer(nsd.betas_folder() / "ncsnr.nii.gz", np.ones((7, 5, 5), np.float32))


def nan_in_betas(nsd, betas_writer, **_):
    values = nsd.stored["subj01"][2].astype(np.float32)
    inside = np.argwhere(nsd.rois["subj01"]["nsdgeneral"] == 1)
    values[(*inside[0], 3)] = np.nan
    values[(*inside[1], 4)] = np.inf
    betas_writer(nsd.session(2), values)


def responses_of_other_pictures(nsd, **_):
    text = nsd.responses().read_text().splitlines()
    text[3] = "1\t1\t1\t3\t999\t1"
    nsd.responses().write_text("\n".join(text))


def responses_without_a_session(nsd, **_):
    text = nsd.responses().read_text().splitlines()
    nsd.responses().write_text("\n".join(text[:-1]))


def responses_without_a_column(nsd, **_):
    nsd.responses().write_text("SUBJECT\tSESSION\n1\t1\n")


def truncated_pictures(nsd, **_):
    cut(nsd.stimuli)


def fewer_pictures(nsd, **_):
    with h5py.File(nsd.stimuli, "w") as file:
        file["imgBrick"] = nsd.images[:2]


def pictures_of_other_layout(nsd, **_):
    with h5py.File(nsd.stimuli, "w") as file:
        file["imgBrick"] = nsd.images.astype(np.float32)


def pictures_under_another_name(nsd, **_):
    with h5py.File(nsd.stimuli, "w") as file:
        file["images"] = nsd.images


def table_without_a_picture(nsd, **_):
    path = nsd.design.parent / "nsd_stim_info_merged.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:4]))


def table_without_a_column(nsd, **_):
    (nsd.design.parent / "nsd_stim_info_merged.csv").write_text("cocoId,nsdId\n1,2\n")


def table_with_a_row_twice(nsd, **_):
    path = nsd.design.parent / "nsd_stim_info_merged.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, rows[0], *rows]))


def table_with_a_picture_twice(nsd, **_):
    path = nsd.design.parent / "nsd_stim_info_merged.csv"
    table = pd.read_csv(path)
    table.loc[1, "cocoId"] = table.loc[0, "cocoId"]
    table.to_csv(path, index=False)


def damaged_captions(nsd, **_):
    cut(nsd.annotations / "captions_train2017.json")


def captions_of_other_format(nsd, **_):
    (nsd.annotations / "captions_train2017.json").write_text("[1, 2]")


def only_shared_pictures(nsd_writer, **_):
    nsd = nsd_writer("shared", n_pictures=4, n_shared=4)
    return dict(source=f"nsd:{nsd.root}")


def a_picture_in_both_splits(nsd, **_):
    pictures = scipy.io.loadmat(nsd.design)["subjectim"]
    pictures[0, -1] = pictures[0, 0]
    spoil_mat(nsd, subjectim=pictures)
    nsd.responses().unlink()


def unknown_roi(nsd, **_):
    return dict(roi="V9")


def roi_without_voxels(nsd, **_):
    return dict(roi="FFA-2")


def roi_that_takes_all_away(nsd, **_):
    return dict(roi="V1-prf-visualrois")


def hemisphere_without_a_file(nsd, **_):
    return dict(roi="lh.V1")


def hemisphere_on_another_grid(nsd, volume_writer, **_):
    volume_writer(nsd.roi_file("lh.prf-visualrois"), np.ones((7, 5, 5), np.int16))
    return dict(roi="lh.V1")


def roi_in_four_dimensions(nsd, volume_writer, **_):
    volume_writer(nsd.roi_file("nsdgeneral"), np.ones((*nsd.shape, 2), np.int16))


def labels_that_are_no_text(nsd, **_):
    (nsd.root / "nsddata/freesurfer/subj01/label/floc-faces.mgz.ctab").write_bytes(bytes(range(256)))


def design_in_matlab_7_3(nsd, **_):
    with h5py.File(nsd.design, "w", userblock_size=512) as file:
        file["masterordering"] = np.ones((27, 1))
    with open(nsd.design, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def design_beyond_the_pictures(nsd, **_):
    spoil_mat(nsd, masterordering=scipy.io.loadmat(nsd.design)["masterordering"] + 3)


def design_without_shared_pictures(nsd, **_):
    spoil_mat(nsd, sharedix=np.zeros((1, 0)))


def design_that_is_a_folder(nsd, **_):
    nsd.design.unlink()
    nsd.design.mkdir()


def betas_in_three_dimensions(nsd, **_):
    with h5py.File(nsd.session(2), "w") as file:
        file["betas"] = np.zeros((9, 4, 5), np.int16)


def betas_of_text(nsd, **_):
    with h5py.File(nsd.session(2), "w") as file:
        file["betas"] = np.full((9, *nsd.shape[::-1]), b"x")


def no_pictures_in_the_file(nsd, **_):
    with h5py.File(nsd.stimuli, "w") as file:
        file["imgBrick"] = nsd.images[:0]


def grey_pictures(nsd, **_):
    with h5py.File(nsd.stimuli, "w") as file:
        file["imgBrick"] = nsd.images[..., 0]


def damaged_categories(nsd, **_):
    cut(nsd.annotations / "instances_train2017.json")


def responses_with_words(nsd, **_):
    text = nsd.responses().read_text().replace("\t1\t", "\tone\t")
    nsd.responses().write_text(text)


def z_scores_of_a_word(nsd, **_):
    return dict(zscore="maybe")


def z_scores_without_training_trials(nsd_writer, **_):
    nsd = nsd_writer("tests", trials_per_run=(1, 1), n_sessions=5, n_pictures=6, n_shared=4)
    return dict(source=f"nsd:{nsd.root}", zscore=True)


def damaged_marker(nsd, **_):
    (nsd.root / "simulated.json").write_text("{")


CASES = {
    unknown_roi: "has no roi 'V9'; it has nsdgeneral",
    roi_without_voxels: "'FFA-2' of subj01 below .* has no voxels",
    roi_that_takes_all_away: "'V1-prf-visualrois' of .* leaves no voxel; take less away",
    hemisphere_without_a_file: r"There is no .*lh\.prf-visualrois\.nii\.gz; copy it",
    hemisphere_on_another_grid: r"lh\.prf-visualrois\.nii\.gz has shape \(7, 5, 5\) but",
    roi_in_four_dimensions: r"nsdgeneral\.nii\.gz has shape \(7, 5, 4, 2\); expected \(x, y, z\)",
    labels_that_are_no_text: r"floc-faces\.mgz\.ctab is no text",
    design_in_matlab_7_3: "nsd_expdesign.mat cannot be read as a MATLAB file .*7.3",
    design_beyond_the_pictures: "masterordering runs from 4 to 12, but it counts from 1 and there are 9",
    design_without_shared_pictures: "sessions found of subj01 hold no test trial",
    design_that_is_a_folder: "There is no .*nsd_expdesign.mat",
    betas_in_three_dimensions: r"betas_session02\.hdf5 holds betas \(9, 4, 5\); expected",
    betas_of_text: r"betas_session02\.hdf5 holds betas of \|S1; expected numbers",
    no_pictures_in_the_file: r"nsd_stimuli\.hdf5 holds 0",
    grey_pictures: r"'imgBrick' in .*nsd_stimuli\.hdf5 is uint8",
    damaged_categories: r"instances_train2017\.json cannot be read as JSON",
    responses_with_words: r"responses\.tsv holds 'one'|responses\.tsv",
    z_scores_of_a_word: "zscore is 'maybe'; expected one of True, False",
    z_scores_without_training_trials: "training trials; z-scoring within sessions needs 2 or more",
    damaged_marker: "simulated.json cannot be read as JSON",
    no_folder: "There is no folder .*absent",
    empty_folder: "empty holds no subject.* brainrecon data files",
    no_subject: r"holds no subj09 but subj01, subj02 \(did you mean 'subj02'\?\); pass one",
    no_space: "holds no betas in func1mm; it has func1pt8mm",
    no_version: r"holds no betas b2; it has b3 \(betas_fithrf_GLMdenoise_RR\)",
    unknown_format: "'mgh' is no format of betas in func1pt8mm; allowed values are hdf5, nifti",
    no_format: r"holds no session; expected betas_session01\.nii\.gz",
    unknown_option: "'beta' is no option of nsd data; it takes betas, space, format",
    no_sessions: "holds no session; expected betas_session01.hdf5 or",
    no_design: "There is no .*nsd_expdesign.mat",
    damaged_design: "nsd_expdesign.mat cannot be read as a MATLAB file",
    design_without_field: "nsd_expdesign.mat has no sharedix",
    design_from_zero: "masterordering runs from 0 to 8, but it counts from 1",
    design_without_pictures: "The design shows subj01 picture 0, but its pictures count from 1",
    design_of_one_subject: "lists 1 subjects, so none is subj02",
    stimpattern_of_other_length: "stimpattern has 8 trials but masterordering 27",
    truncated_hdf5: r"betas_session02\.hdf5 cannot be read as HDF5 .*truncated.*copy the file again",
    no_hdf5: r"betas_session02\.hdf5 cannot be read as HDF5",
    hdf5_of_other_content: r"betas_session02\.hdf5 has no dataset 'betas' but data",
    truncated_nifti: r"betas_session02\.nii\.gz cannot be read as NIfTI",
    no_nifti: r"betas_session02\.nii\.gz cannot be read as NIfTI",
    other_number_of_trials: r"betas_session02\.hdf5 has 8 trials but the design gives session 2 9",
    session_beyond_the_design: r"betas_session07\.hdf5 has 9 trials but the design gives session 7 0",
    other_volume: r"betas_session02\.hdf5 has volumes of \(6, 5, 4\) .* has \(7, 5, 4\)",
    swapped_axes: r"betas_session02\.hdf5 has volumes of \(4, 5, 7\) .* has \(7, 5, 4\)",
    roi_on_another_grid: r"floc-faces\.nii\.gz has volumes of \(7, 5, 5\) .* has \(7, 5, 4\)",
    no_rois: "roi holds no ROI volume; expected nsdgeneral",
    damaged_roi: r"nsdgeneral\.nii\.gz cannot be read as NIfTI",
    empty_roi: "'nsdgeneral' of .* has no voxels",
    ncsnr_on_another_grid: r"ncsnr\.nii\.gz has shape \(7, 5, 5\) but the ROI volumes have \(7, 5, 4\)",
    nan_in_betas: r"2 of \d+ voxels hold NaN or infinite betas in session 2 \(.*betas_session02\.hdf5\)",
    responses_of_other_pictures: r"responses\.tsv shows picture 998 on trial 3 of session 1 but the design",
    responses_without_a_session: r"responses\.tsv has 8 trials of session 3 but its betas have 9",
    responses_without_a_column: r"responses\.tsv cannot be read as a table with SESSION, RUN and 73KID",
    truncated_pictures: r"nsd_stimuli\.hdf5 cannot be read as HDF5",
    fewer_pictures: r"design shows picture \d+ .* nsd_stimuli\.hdf5 holds 2|nsd_stimuli\.hdf5 holds 2",
    pictures_of_other_layout: r"'imgBrick' in .*nsd_stimuli\.hdf5 is float32",
    pictures_under_another_name: r"nsd_stimuli\.hdf5 has no dataset 'imgBrick' but images",
    table_without_a_picture: r"nsd_stim_info_merged\.csv lists 3 pictures but not picture",
    table_without_a_column: r"nsd_stim_info_merged\.csv cannot be read as a table with cocoId",
    table_with_a_row_twice: r"nsd_stim_info_merged\.csv has nsdId 0 in two rows",
    table_with_a_picture_twice: r"nsd_stim_info_merged\.csv has cocoId \d+ in two rows",
    damaged_captions: r"captions_train2017\.json cannot be read as JSON",
    captions_of_other_format: r"captions_train2017\.json has no 'annotations'",
    only_shared_pictures: "sessions found of subj01 hold no train trial",
    a_picture_in_both_splits: "1 stimuli are in both train and test",
}


@pytest.mark.parametrize("spoil", CASES, ids=lambda spoil: spoil.__name__)
def test_one_sentence(spoil, nsd, nsd_writer, betas_writer, volume_writer):
    asked = {"source": f"nsd:{nsd.root}"}
    asked |= spoil(nsd=nsd, nsd_writer=nsd_writer, betas_writer=betas_writer, volume_writer=volume_writer) or {}
    with pytest.raises(InputError, match=CASES[spoil]) as caught:
        subject = load(asked.pop("source"), **asked)
        for name in ("captions", "categories", "patterns"):
            getattr(subject.train, name)
        np.asarray(subject.test.patterns)
    message = str(caught.value)
    assert "\n" not in message and (message.endswith(".") or "brainrecon data files nsd:" in message)


@pytest.mark.parametrize("spoil", CASES, ids=lambda spoil: spoil.__name__)
def test_the_command_line_refuses_and_writes_nothing(
    spoil, capsys, tmp_path, nsd, nsd_writer, betas_writer, volume_writer
):
    asked = {"source": f"nsd:{nsd.root}"}
    asked |= spoil(nsd=nsd, nsd_writer=nsd_writer, betas_writer=betas_writer, volume_writer=volume_writer) or {}
    line = ["data", "prepare", asked.pop("source"), "--out", str(tmp_path / "prepared")]
    for name in ("subject", "roi"):
        line += [f"--{name}", asked.pop(name)] if name in asked else []
    for name, value in asked.items():
        line += ["--option", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    before = sorted(nsd.root.rglob("*"))
    assert run_command(line) == 2
    told = [text for text in capsys.readouterr().err.splitlines() if not re.search(r": \d+/\d+ \(\d+ %\)", text)]
    assert len(told) == 1 and re.search(CASES[spoil], told[0])
    assert not (tmp_path / "prepared").exists() and sorted(nsd.root.rglob("*")) == before


def test_there_are_enough_cases():
    assert len(CASES) >= 60
