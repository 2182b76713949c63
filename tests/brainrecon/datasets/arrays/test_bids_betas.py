"""BIDS folders of single-trial betas: every volume goes to the picture that its event names."""

import gzip

import h5py
import nibabel
import numpy as np
import pytest
from bids_study import AFFINE, Study, save, save_events
from damage import cut
from PIL import Image

from brainrecon.datasets import load, subjects
from brainrecon.datasets.arrays import voxel_store
from brainrecon.datasets.arrays.bids_events import entities, in_order, picture_id
from brainrecon.datasets.inventory import files
from stages.ground.errors import InputError


def check(subject, study):
    for label, split in subject.splits.items():
        trials = [trial for trial in study.trials() if (trial[0] in study.test) == (label == "test")]
        assert split.trial_stimulus_ids.tolist() == [trial[0] for trial in trials]
        np.testing.assert_array_equal(split.betas[:], [trial[1] for trial in trials])
        np.testing.assert_array_equal(split.betas[[2, 0]], [trials[2][1], trials[0][1]])
        assert split.sessions.tolist() == [trial[2] for trial in trials]
        assert split.runs.tolist() == [trial[3] for trial in trials]
        np.testing.assert_array_equal(split.images[:], [study.pictures[name] for name in split.stimulus_ids])
        mean = np.mean([trial[1] for trial in trials if trial[0] == split.stimulus_ids[0]], axis=0)
        np.testing.assert_allclose(split.patterns[0], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(subject.rois["V1"], study.v1[study.brain])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
@pytest.mark.parametrize("column, split", [("stimulus_id", "column"), ("stim_file", "txt"), ("trial_type", "tsv")])
def test_every_trial_keeps_its_response_and_its_picture(tmp_path, seed, suffix, column, split):
    study = Study(tmp_path, seed, column, split, suffix=suffix)
    subject = load(study.source)
    assert (subject.name, subject.dataset, subject.roi) == ("sub-01", "arrays", "all")
    assert list(subject.splits) == ["train", "test"] and subject.notes == []
    check(subject, study)
    v1 = load(study.source, roi="V1")
    np.testing.assert_array_equal(v1.test.patterns, subject.test.patterns[:, subject.rois["V1"]])
    assert v1.fingerprint == subject.fingerprint and list(v1.rois) == ["V1"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("slab_bytes", [1, 10**8])
def test_glmsingle_hdf5_holds_all_runs(tmp_path, monkeypatch, seed, slab_bytes):
    monkeypatch.setattr(voxel_store, "SLAB_BYTES", slab_bytes)
    study = Study(tmp_path, seed, glmsingle=True)
    for mask in study.folder.glob("*MNI152*"):
        mask.unlink()
    check(load(study.source), study)


def test_glmsingle_alone_in_a_folder_with_chosen_voxels_only(tmp_path):
    rng = np.random.default_rng(0)
    betas = rng.normal(size=(30, 1, 1, 8)).astype(np.float32)
    with h5py.File(tmp_path / "TYPED_FITHRF_GLMDENOISE_RR.hdf5", "w") as file:
        file["betasmd"] = betas
    save_events(tmp_path / "events.tsv", [(f"p{k}", "test" if k < 3 else "train") for k in range(8)])
    subject = load(f"arrays:{tmp_path}")
    np.testing.assert_array_equal(subject.test.betas[:], betas[:, 0, 0, :3].T)
    assert subject.name == "subj01" and subject.test.images is None
    assert subject.notes == ["no folder stimuli/, so there are no pictures"]


def test_a_file_is_read_when_its_first_trial_is_asked_for_and_kept(tmp_path, monkeypatch):
    study = Study(tmp_path, 0)
    read, original = [], voxel_store.read_session
    monkeypatch.setattr(voxel_store, "read_session", lambda file, mask: read.append(file) or original(file, mask))
    subject = load(study.source)
    assert read == []
    subject.train.betas[:], subject.test.betas[:]
    assert sorted(read) == study.betas
    small = voxel_store.VoxelStore(study.betas, study.brain, cache_bytes=1)
    for number in (0, 0, 1, 1):
        small.rows(number, [0])
    assert len(read) == 6


def test_scaled_integers_and_events_without_a_picture(tmp_path):
    study = Study(tmp_path, 1)
    image = nibabel.Nifti1Image(np.round(study.volumes[0] * 100).astype(np.int16), AFFINE)
    image.header.set_slope_inter(0.01, 0)
    nibabel.save(image, study.betas[0])
    rows = [(name, "test" if name in study.test else "train") for name in study.runs[0]]
    save_events(study.events[0], [("n/a", "n/a"), *rows, ("n/a", "n/a")])
    stored = nibabel.load(study.betas[0]).get_fdata(dtype=np.float32)
    study.volumes[0] = stored
    check(load(study.source), study)
    # A volume of each event, also of those without a picture.
    save(study.betas[0], np.concatenate([stored[..., :1] + 5, stored, stored[..., :1]], axis=3))
    check(load(study.source), study)


def test_several_subjects_raw_events_and_a_subjects_own_folder(tmp_path):
    root = tmp_path / "raw" / "derivatives" / "glmsingle"
    root.mkdir(parents=True)
    study = Study(root, 2)
    for events in study.events:
        raw = tmp_path / "raw" / events.relative_to(root)
        raw.parent.mkdir(parents=True, exist_ok=True)
        events.rename(raw)
    (root / "stimuli").rename(tmp_path / "raw" / "stimuli")
    (root / "sub-02").mkdir()
    assert subjects(study.source) == ["sub-01", "sub-02"]
    check(load(study.source, subject="sub-01"), study)
    with pytest.raises(InputError, match="no subject sub-09; it has sub-01, sub-02"):
        load(study.source, subject="sub-09")
    with pytest.raises(InputError, match="sub-02 has no betas"):
        load(study.source, subject="sub-02")


def test_a_subjects_own_folder(tmp_path):
    study = Study(tmp_path, 2)
    subject = load(f"arrays:{study.folder}")
    assert subject.name == "sub-01"
    check(subject, study)


def test_any_path_also_read_only(tmp_path):
    root = tmp_path / "meine Daten äß 研究"
    root.mkdir()
    study = Study(root, 0)
    places = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for place in places:
        place.chmod(0o555)
    try:
        check(load(study.source), study)
    finally:
        for place in places:
            place.chmod(0o755)


def test_files_lists_what_is_there(tmp_path):
    study = Study(tmp_path, 0)
    rows = files("arrays", tmp_path)
    assert {str(path) for path in (*study.betas, *study.events, study.mask)} <= {row["path"] for row in rows}
    assert all(row["present"] for row in rows)
    study.mask.unlink()
    for mask in study.folder.glob("*_mask.nii.gz"):
        mask.unlink()
    assert [row["what"] for row in files("arrays", tmp_path) if not row["present"]] == ["mask"]


def test_regions_are_told_by_their_names(tmp_path):
    study = Study(tmp_path, 3)
    empty = np.zeros(study.grid, np.uint8)
    left, right = empty.copy(), empty.copy()
    left[study.brain], right[~study.brain] = 1, 1
    save(study.folder / "sub-01_hemi-L_label-V2_mask.nii.gz", left)
    save(study.folder / "sub-01_hemi-R_label-V2_mask.nii.gz", right)
    save(study.folder / "sub-01_desc-FFA_mask.nii.gz", study.v1.astype(np.float32))
    save(study.folder / "V4_mask.nii", study.v1.astype(np.int16))
    subject = load(study.source)
    assert set(subject.rois) == {"V4", "FFA", "V2", "V1"}
    assert subject.rois["V2"].all() and subject.n_voxels == study.brain.sum()
    assert subject.notes == ["V2: voxels outside the brain mask are left out"]


@pytest.mark.parametrize(
    "name, expected",
    [
        ("a.png", "a"),
        ("cats/a.JPEG", "cats_a"),
        ("stimuli/cats/a.b.png", "cats_a.b"),
        ("../stimuli/a.png", "a"),
        ("dir\\a.jpg", "dir_a"),
        ("img.1", "img.1"),
    ],
)
def test_ids_of_pictures(name, expected):
    assert picture_id(name) == expected


def test_runs_are_in_order_of_their_numbers(tmp_path):
    names = [tmp_path / f"sub-01_ses-1_run-{run}_betas.nii" for run in (10, 2, 1)]
    assert in_order(names) == names[::-1]
    assert entities(tmp_path / "ses-2" / "func" / "sub-01_run-3_events.tsv") == {"ses": "2", "sub": "01", "run": "3"}


# What is wrong, one at a time.


def edit_events(study, change):
    for events in study.events:
        events.write_text(change(events.read_text()))


def more_volumes(study):
    save(study.betas[1], np.concatenate([study.volumes[1]] * 2, axis=3))


def another_grid(study):
    save(study.betas[2], np.zeros((2, 2, 2, len(study.runs[2])), np.float32))


def not_a_number(study):
    study.volumes[0][0, 0, 0, 0] = np.nan
    save(study.betas[0], study.volumes[0])


def pickled(study):
    for betas in study.betas:
        betas.unlink()
    np.save(study.folder / "TYPED_FITHRF_GLMDENOISE_RR.npy", {"betasmd": np.zeros(3)}, allow_pickle=True)


def other_hdf5(study):
    for betas in study.betas:
        betas.unlink()
    with h5py.File(study.folder / "TYPED_FITHRF_GLMDENOISE_RR.hdf5", "w") as file:
        file["R2"] = np.zeros(3)


def in_both(study):
    events = study.events[0]
    first = study.runs[0][0]
    for path in study.events[1:]:
        path.write_text(path.read_text().replace(f"{first}\ttest", "p9\ttrain"))
    events.write_text(events.read_text().replace("\ttrain", "\ttest"))
    later = study.events[1]
    lines = later.read_text().splitlines()
    lines[1] = "\t".join([*lines[1].split("\t")[:2], first, "train"])
    later.write_text("\n".join(lines) + "\n")


def no_split(study):
    edit_events(study, lambda text: text.replace("split", "other"))


def wrong_list(study):
    no_split(study)
    (study.root / "test_stimuli.txt").write_text("p0\np77\n")


def short_split_table(study):
    no_split(study)
    (study.root / "split.tsv").write_text("stimulus_id\tsplit\np0\ttest\n")


def other_size(study):
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(study.root / "stimuli" / "p4.png")


def two_pictures(study):
    Image.fromarray(study.pictures["p4"]).save(study.root / "stimuli" / "p4.jpg")


def two_betas(study):
    save(study.folder / "ses-01" / "func" / "sub-01_ses-01_task-see_run-1_desc-typeb_betas.nii.gz", study.volumes[0])


def brain_without_voxels(study):
    save(study.mask, np.zeros(study.grid, np.uint8))


def clashing_names(study):
    edit_events(study, lambda text: text.replace("stimulus_id", "stim_file"))
    text = study.events[0].read_text().splitlines()
    names = iter(["c/a.png", "c_a.png"])
    study.events[0].write_text(
        "\n".join([text[0], *("\t".join([*line.split("\t")[:2], next(names, "p9"), "train"]) for line in text[1:])])
    )


HOSTILE = {
    "no betas": (lambda s: [path.unlink() for path in s.betas], "has no betas; save"),
    "a pickle": (pickled, "pickled dict.*\\['betasmd'\\].*wanthdf5=1"),
    "hdf5 without betasmd": (other_hdf5, "has no dataset 'betasmd' but R2"),
    "truncated betas": (lambda s: cut(s.betas[0]), "cannot be read"),
    "no NIfTI at all": (lambda s: s.betas[0].write_bytes(gzip.compress(b"x" * 999)), "cannot be read as NIfTI"),
    "one volume": (lambda s: save(s.betas[0], s.volumes[0][..., 0]), "expected single-trial betas"),
    "more volumes than events": (more_volumes, "has 8 volumes but .*run-2_events.tsv 4 rows.*one row per volume"),
    "runs on two grids": (another_grid, "is on a grid of \\(2, 2, 2\\)"),
    "nan": (not_a_number, "1 of .* voxels hold NaN .*run-1"),
    "no events": (lambda s: [path.unlink() for path in s.events], "has no events; save a row per trial"),
    "a run without events": (lambda s: s.events[1].unlink(), "has no events of ses-01, task-see, run-2"),
    "no column of ids": (
        lambda s: edit_events(s, lambda t: t.replace("stimulus_id", "x")),
        "stim_file, trial_type; add",
    ),
    "events in UTF-16": (lambda s: s.events[0].write_bytes(b"\xff\xfe\x00o"), "no text in UTF-8"),
    "slash in id": (lambda s: edit_events(s, lambda t: t.replace("p9", "a/b")), "'a/b', which cannot be a file name"),
    "no split": (no_split, "does not say which trials .*test_stimuli.txt"),
    "all train": (lambda s: edit_events(s, lambda t: t.replace("test", "train")), "are all for train; write"),
    "split with holes": (lambda s: edit_events(s, lambda t: t.replace("\ttest", "\t")), "is empty for stimulus p"),
    "unknown test stimulus": (wrong_list, "names p77, which no trial shows"),
    "split.tsv of one": (short_split_table, "split.tsv does not name stimulus p"),
    "in both splits": (in_both, "events in .*sub-.* in both train and test"),
    "no mask": (lambda s: s.mask.unlink(), "has no brain mask; save one"),
    "empty mask": (brain_without_voxels, "holds no voxel"),
    "mask on another grid": (lambda s: save(s.mask, np.ones((2, 3, 4), np.uint8)), "grid of \\(2, 3, 4\\) voxels but"),
    "mask elsewhere": (lambda s: save(s.mask, s.brain.astype(np.uint8), AFFINE * 1.5), "different affines"),
    "mask of fractions": (lambda s: save(s.mask, np.full(s.grid, 0.5, np.float32)), "holds 0.5 beside 0 and 1"),
    "mask of several volumes": (lambda s: save(s.mask, np.ones((*s.grid, 2), np.uint8)), "as one volume"),
    "a picture is absent": (lambda s: (s.root / "stimuli" / "p4.png").unlink(), "no picture for 1 of 8 .* p4"),
    "a picture of another size": (other_size, "save all pictures in one size"),
    "no picture file": (lambda s: (s.root / "stimuli" / "p4.png").write_text("x"), "cannot be read as a picture"),
    "two pictures of a name": (two_pictures, "are both named p4"),
    "two files of a run": (two_betas, "hold betas of the same trials"),
    "names that become one": (clashing_names, "c/a.png and c_a.png, which would both have the id c_a"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_wrong_is_one_sentence(tmp_path, name):
    change, told = HOSTILE[name]
    study = Study(tmp_path, 4)
    change(study)
    with pytest.raises(InputError, match=told) as caught:
        subject = load(study.source)
        [split.patterns for split in subject.splits.values()]
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_unknown_roi(tmp_path):
    with pytest.raises(InputError, match="no roi 'V9'; it has V1"):
        load(Study(tmp_path, 0).source, roi="V9")


def test_a_file_of_glmsingle_by_itself(tmp_path):
    with h5py.File(tmp_path / "TYPED_FITHRF_GLMDENOISE_RR.hdf5", "w") as file:
        file["betasmd"] = np.zeros((2, 2, 2, 3))
    with pytest.raises(InputError, match="not what was shown; put it into a folder"):
        load(f"arrays:{tmp_path / 'TYPED_FITHRF_GLMDENOISE_RR.hdf5'}")
    np.save(tmp_path / "TYPED_FITHRF_GLMDENOISE_RR.npy", {}, allow_pickle=True)
    with pytest.raises(InputError, match="pickled dict"):
        load(f"arrays:{tmp_path / 'TYPED_FITHRF_GLMDENOISE_RR.npy'}")
