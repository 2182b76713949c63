"""The files of a small cohort, read back with the libraries that other people use."""

import gzip
import json

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat

from brainrecon.datasets.noise_ceiling import noise_ceiling
from brainrecon.simulation.brain.anatomy import ATLASES
from brainrecon.simulation.files.nsd_files import coco_ids, coco_splits, write_volume

BETAS = "nsddata_betas/ppdata/{}/func1pt8mm/betas_fithrf_GLMdenoise_RR"


@pytest.fixture(scope="module")
def root(cohort):
    return cohort.directory


@pytest.fixture(scope="module")
def design(root):
    return loadmat(root / "nsddata/experiments/nsd/nsd_expdesign.mat")


@pytest.fixture(scope="module")
def table(root):
    return pd.read_csv(root / "nsddata/experiments/nsd/nsd_stim_info_merged.csv")


@pytest.fixture(scope="module")
def responses(root):
    return pd.read_csv(root / "nsddata/ppdata/subj02/behav/responses.tsv", sep="\t")


def volume(path):
    return np.asanyarray(nibabel.load(path).dataobj)


def test_the_design_counts_from_one_and_shares_the_first_stimuli(design):
    ordering, numbers = design["masterordering"], design["subjectim"].astype(int)
    assert ordering.shape == (1, 216) and numbers.shape == (8, 72) and design["sharedix"].shape == (1, 24)
    assert (np.bincount(ordering[0].astype(int))[1:] == 3).all() and ordering.min() == 1 and ordering.max() == 72
    assert (numbers[0, :24] == numbers[1, :24]).all() and (numbers[0, :24] == design["sharedix"][0]).all()
    assert not set(numbers[0, 24:]) & set(numbers[1, 24:])
    assert sorted({*numbers[0], *numbers[1]}) == list(range(1, 121))
    assert not numbers[2:].any()
    assert design["stimpattern"].shape == (2, 12, 75) and (design["stimpattern"].sum((1, 2)) == 108).all()
    assert design["basiccnt"].shape == (3, 2) and (design["basiccnt"].sum(1) == 72).all()


def test_the_design_does_not_tell_the_time(root):
    header = (root / "nsddata/experiments/nsd/nsd_expdesign.mat").read_bytes()[:128]
    assert header.startswith(b"MATLAB 5.0") and b"Created" not in header


def test_the_stimulus_table_has_the_originals_columns(table):
    assert table.columns[:9].tolist() == [
        "Unnamed: 0", "cocoId", "cocoSplit", "cropBox", "loss", "nsdId", "flagged", "BOLD5000", "shared1000",
    ]  # fmt: skip
    assert table.columns[9:17].tolist() == [f"subject{k}" for k in range(1, 9)]
    assert table.columns[17:].tolist() == [f"subject{k}_rep{r}" for k in range(1, 9) for r in range(3)]
    assert (table["nsdId"] == np.arange(120)).all() and (table.iloc[:, 0] == np.arange(120)).all()
    assert table["cocoId"].is_unique and set(table["cocoSplit"]) == {"train2017", "val2017"}


@pytest.mark.parametrize("subject", [1, 2])
def test_repetition_columns_point_at_the_trials_of_the_design(table, design, subject):
    order = design["masterordering"][0].astype(int)
    by_trial = design["subjectim"][subject - 1].astype(int)[order - 1] - 1
    columns = table[[f"subject{subject}_rep{r}" for r in range(3)]].to_numpy()
    shown = table[f"subject{subject}"] == 1
    assert shown.sum() == 72 and (columns[~shown] == 0).all()
    for number, trials in zip(table["nsdId"][shown], columns[shown], strict=True):
        assert (np.flatnonzero(by_trial == number) + 1).tolist() == trials.tolist()


def test_absent_subjects_saw_nothing_and_the_shared_are_marked(table, design):
    assert (table.filter(regex="^subject[3-8]") == 0).all(axis=None)
    assert set(table["nsdId"][table["shared1000"]] + 1) == set(design["sharedix"][0].astype(int))
    assert (table[["subject1", "subject2"]].sum(axis=1) == 1 + table["shared1000"]).all()


def test_responses_follow_the_design(responses, design):
    order = design["masterordering"][0].astype(int)
    assert (
        responses.columns.tolist()
        == (
            "SUBJECT SESSION RUN TRIAL 73KID 10KID TIME ISOLD ISCORRECT RT CHANGEMIND MEMORYRECENT MEMORYFIRST "
            "ISOLDCURRENT ISCORRECTCURRENT TOTAL1 TOTAL2 BUTTON MISSINGDATA"
        ).split()
    )
    assert (responses["10KID"] == order).all() and (responses["SUBJECT"] == 2).all()
    assert (responses["73KID"] == design["subjectim"][1].astype(int)[order - 1]).all()
    assert responses.groupby(["SESSION", "RUN"]).size().tolist() == [9] * 24
    assert (responses.groupby(["SESSION", "RUN"])["TRIAL"].first() == 1).all()


@pytest.mark.parametrize("subject", ["subj01", "subj02"])
@pytest.mark.parametrize("session", [1, 2])
def test_hdf5_and_nifti_hold_the_same_betas_in_their_axis_orders(root, subject, session):
    folder = root / BETAS.format(subject)
    x, y, z = volume(root / f"nsddata/ppdata/{subject}/func1pt8mm/brainmask.nii.gz").shape
    image = nibabel.load(folder / f"betas_session{session:02d}.nii.gz")
    nifti = np.asanyarray(image.dataobj)
    with h5py.File(folder / f"betas_session{session:02d}.hdf5") as file:
        hdf5 = file["betas"][:]
        assert file["betas"].chunks == (108, 1, 1, 1)
    assert nifti.shape == (x, y, z, 108) and hdf5.shape == (108, z, y, x) and len({x, y, z}) == 3
    assert nifti.dtype == hdf5.dtype == np.int16 and image.get_data_dtype() == np.int16
    np.testing.assert_array_equal(hdf5.transpose(3, 2, 1, 0), nifti)
    mean = volume(folder / f"meanbeta_session{session:02d}.nii.gz")
    assert np.abs(mean - nifti.mean(-1)).max() <= 0.5


@pytest.mark.parametrize("subject", ["subj01", "subj02"])
def test_betas_are_realistic_percent_times_300_and_zero_outside_the_brain(root, subject):
    brain = volume(root / f"nsddata/ppdata/{subject}/func1pt8mm/brainmask.nii.gz") > 0
    general = volume(root / f"nsddata/ppdata/{subject}/func1pt8mm/roi/nsdgeneral.nii.gz") > 0
    betas = volume(root / BETAS.format(subject) / "betas_session01.nii.gz")
    assert not betas[~brain].any() and (betas[brain].std(-1) > 0).all()
    percent = betas[general] / 300
    low, high = np.percentile(percent, [1, 99])
    assert -6 < low < -2 and 3 < high < 9
    assert 0.3 < np.median(percent) < 2


def test_responses_in_the_files_belong_to_the_pictures_of_the_design(root, design):
    """The mean over repeats must agree between repeats: wrong trials, axes or index bases would leave nothing."""
    general = volume(root / "nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz") > 0
    folder = root / BETAS.format("subj01")
    betas = np.concatenate([volume(folder / f"betas_session{s:02d}.nii.gz")[general].T for s in (1, 2)]) / 300.0
    order = design["masterordering"][0].astype(int)
    trials = np.stack([np.flatnonzero(order == k) for k in range(1, 73)])
    one, other = betas[trials[:, 0]], betas[trials[:, 1]]
    same = np.corrcoef(one - one.mean(0), other - other.mean(0))[:72, 72:]
    assert np.diag(same).mean() > 0.1
    assert abs(same[~np.eye(72, dtype=bool)].mean()) < 0.03


@pytest.mark.parametrize("subject", ["subj01", "subj02"])
def test_atlases_have_outside_unlabelled_and_every_label(root, subject):
    folder = root / f"nsddata/ppdata/{subject}/func1pt8mm"
    general = volume(folder / "roi/nsdgeneral.nii.gz")
    assert (general == 1).sum() == 200
    for atlas, names in ATLASES.items():
        both, left, right = (volume(folder / f"roi/{side}{atlas}.nii.gz") for side in ("", "lh.", "rh."))
        assert np.unique(both).tolist() == list(range(-1, len(names) + 1))
        assert ((both == -1) == (general == -1)).all(), "the same ribbon in every atlas"
        assert not ((left >= 0) & (right >= 0)).any()
        np.testing.assert_array_equal(np.maximum(left, right), both)
        middle = both.shape[0] // 2
        assert (left[middle:] == -1).all() and (right[:middle] == -1).all(), "x grows to the right"
        for value in range(1, len(names) + 1):
            assert ((both == value) & (general == 1)).any()
        lines = (root / f"nsddata/freesurfer/{subject}/label/{atlas}.mgz.ctab").read_text().splitlines()
        assert lines == [f"{value} {name}" for value, name in enumerate(("Unknown", *names))]
    brain = volume(folder / "brainmask.nii.gz")
    assert (brain[general >= 0] == 1).all() and (brain == 0).any()


def test_volumes_have_their_origin_at_the_centre(root):
    image = nibabel.load(root / "nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz")
    centre = image.affine @ [*((np.array(image.shape) - 1) / 2), 1]
    np.testing.assert_allclose(centre[:3], 0, atol=1e-5)
    np.testing.assert_allclose(image.header.get_zooms(), 1.8)


def test_receptive_field_maps_cover_the_cortex(root):
    folder = root / "nsddata/ppdata/subj01/func1pt8mm"
    cortex = volume(folder / "roi/streams.nii.gz") >= 0
    for name in ("angle", "eccentricity", "size"):
        assert (np.isfinite(volume(folder / f"prf_{name}.nii.gz")) == cortex).all()


def test_ncsnr_by_brute_force_and_as_reported(root, cohort, design):
    order = design["masterordering"][0].astype(int)
    for subject, report in zip(("subj01", "subj02"), cohort.subjects, strict=True):
        general = volume(root / f"nsddata/ppdata/{subject}/func1pt8mm/roi/nsdgeneral.nii.gz") > 0
        folder = root / BETAS.format(subject)
        scored = []
        for session in (1, 2):
            betas = volume(folder / f"betas_session{session:02d}.nii.gz")[general].T.astype(float)
            scored.append((betas - betas.mean(0)) / betas.std(0))
        scored = np.concatenate(scored)
        noise = np.mean([scored[order == k].var(0, ddof=1) for k in range(1, 73)], axis=0)
        expected = np.sqrt(np.maximum(1 - noise, 0) / noise)
        stored = volume(folder / "ncsnr.nii.gz")
        np.testing.assert_allclose(stored[general], expected, rtol=1e-3, atol=1e-3)
        assert report.noise_ceiling_estimated == pytest.approx(np.median(noise_ceiling(expected, [3])), abs=0.05)
        assert 25 < report.noise_ceiling_known < 45


def test_every_picture_is_in_the_brick_and_has_five_captions_and_a_category(root, table):
    with h5py.File(root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5") as file:
        brick = file["imgBrick"][:]
    assert brick.shape == (120, 64, 64, 3) and brick.dtype == np.uint8
    assert (brick.reshape(120, -1).std(1) > 1).all() and len(np.unique(brick.reshape(120, -1), axis=0)) == 120
    for split in ("train2017", "val2017"):
        ids = set(table["cocoId"][table["cocoSplit"] == split])
        folder = root / "nsddata_stimuli/stimuli/nsd/annotations"
        captions = json.loads((folder / f"captions_{split}.json").read_text())
        instances = json.loads((folder / f"instances_{split}.json").read_text())
        for content in (captions, instances):
            assert {image["id"] for image in content["images"]} == ids
            assert {one["image_id"] for one in content["annotations"]} == ids
            assert len({one["id"] for one in content["annotations"]}) == len(content["annotations"])
        assert len(captions["annotations"]) == 5 * len(ids)
        assert {one["category_id"] for one in instances["annotations"]} <= {c["id"] for c in instances["categories"]}


def test_captions_describe_the_picture_of_their_number(root, table):
    """A picture's category, through its COCO id, is a word of its captions."""
    folder = root / "nsddata_stimuli/stimuli/nsd/annotations"
    for split in ("train2017", "val2017"):
        captions = json.loads((folder / f"captions_{split}.json").read_text())["annotations"]
        instances = json.loads((folder / f"instances_{split}.json").read_text())
        names = {one["id"]: one["name"] for one in instances["categories"]}
        category = {one["image_id"]: names[one["category_id"]] for one in instances["annotations"]}
        for one in captions:
            if category[one["image_id"]] not in ("digit", "pattern"):
                assert category[one["image_id"]] in one["caption"].split()


def test_coco_ids_are_unique_and_do_not_move():
    assert len(set(coco_ids(73000))) == 73000
    assert (coco_ids(100) == coco_ids(1000)[:100]).all()
    assert 0.05 < (coco_splits(coco_ids(5000)) == "val2017").mean() < 0.15


def test_compressed_volumes_do_not_tell_the_time_or_their_name(tmp_path):
    data = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    write_volume(tmp_path / "a.nii.gz", data)
    write_volume(tmp_path / "b.nii.gz", data)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "a.nii.gz").read_bytes()[4:8] == bytes(4)
    with gzip.open(tmp_path / "a.nii.gz") as file:
        assert len(file.read()) == 352 + data.nbytes
    np.testing.assert_array_equal(volume(tmp_path / "a.nii.gz"), data)
