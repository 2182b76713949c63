"""BOLD5000 against files that are written from its published description."""

import json

import numpy as np
import pytest
from bold5000_files import AFFINE, REGIONS, Bold5000

from brainrecon.datasets import load, subjects
from brainrecon.datasets.bold5000.names import named
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.noise_ceiling import measured_noise_ceiling
from stages.ground.errors import InputError

RELEASE_2 = ("lists", "repeated", "regions")


def write(folder, **options):
    return Bold5000(folder / "bold5000", **options)


def read(written, **options):
    return load(f"bold5000:{written.root}", **options)


def check_trials(subject, written, values, name=None, session=None):
    """Both splits hold what was written, trial by trial."""
    name = name or subject.name
    rows = written.shown[name]
    for split_name, split in subject.splits.items():
        places = written.expected(name, split_name, session)
        assert split.trial_stimulus_ids.tolist() == [written.id_of(rows[place][0]) for place in places]
        np.testing.assert_array_equal(split.betas[:], values[places].astype(np.float32))
        if split.sessions is not None:
            assert split.sessions.tolist() == [rows[place][1] for place in places]
        if split.runs is not None:
            assert split.runs.tolist() == [rows[place][2] for place in places]


# Trials


@pytest.mark.parametrize("seed", range(4))
def test_rows_are_those_of_the_lists(tmp_path, seed):
    """Random runs in a session, numbers of either byte order, with the list of repeated pictures or without."""
    rng = np.random.default_rng(seed)
    written = write(
        tmp_path,
        seed=seed,
        sessions={"CSI1": rng.integers(2, 5, 3).tolist(), "CSI2": rng.integers(2, 5, 2).tolist()},
        dtype=["<f4", ">f4", "<f8", ">f8"][seed],
        per_run=int(rng.integers(5, 8)),
        parts=RELEASE_2 if seed % 2 else ("lists", "regions"),
    )
    assert subjects(f"bold5000:{written.root}") == ["CSI1", "CSI2"]
    for name in written.sessions:
        subject = read(written, subject=name)
        check_trials(subject, written, written.all_values(name))
        assert set(subject.test.stimulus_ids) == {written.id_of(one) for one in written.repeated}
        assert (subject.train.repeats == 1).all() and subject.roi == "all"
        assert subject.train.sessions.max() == len(written.sessions[name])


def test_more_than_nine_runs_are_in_order(tmp_path):
    written = write(tmp_path, sessions={"CSI1": [11, 2]}, parts=RELEASE_2)
    check_trials(read(written), written, written.all_values("CSI1"))


@pytest.mark.parametrize("listed", ["events", "imgnames", "stim_lists"])
def test_other_lists_say_the_same(tmp_path, listed):
    """Lines of events end in CR LF; a single list tells no sessions, and may mark repeats."""
    written = write(tmp_path, parts=(listed, "repeated", "regions"))
    subject = read(written)
    check_trials(subject, written, written.all_values("CSI1"))
    assert (subject.train.runs is not None) == (subject.train.sessions is not None) == (listed == "events")
    if listed != "events":
        with pytest.raises(InputError, match="does not say of which session a trial is"):
            read(written, sessions=1)


def test_events_stand_in_for_lists_of_matlab(tmp_path):
    written = write(tmp_path, parts=("lists", "events", "repeated", "regions"))
    for place in written.stimuli.rglob("CSI_sess*.txt"):
        place.unlink()
    check_trials(read(written), written, written.all_values("CSI1"))


def test_older_events_have_no_column_of_files(tmp_path):
    written = write(tmp_path, parts=("events", "repeated", "regions"))
    for place in written.root.rglob("*5000scenes*_events.tsv"):
        lines = [line.rsplit(b"\t", 1)[0] for line in place.read_bytes().split(b"\r\n") if line]
        place.write_bytes(b"\n".join(lines))
    check_trials(read(written), written, written.all_values("CSI1"))


def test_files_may_lie_in_other_folders_of_the_archives(tmp_path):
    written = write(tmp_path, parts=RELEASE_2)
    folder = written.root / "BOLD5000_GLMsingle_ROI_betas"
    folder.rename(written.root / "inner")
    folder.mkdir()
    (written.root / "inner").rename(folder / "BOLD5000_GLMsingle_ROI_betas")
    (written.stimuli / "Stimuli_Presentation_Lists").rename(written.root / "Stimuli_Presentation_Lists")
    check_trials(read(written), written, written.all_values("CSI1"))


@pytest.mark.parametrize("order", ["lists", "events", "imgnames", "stim_lists"])
@pytest.mark.parametrize("listed", [True, False])
def test_the_fourth_saw_some_of_the_repeated_pictures_once_or_not(tmp_path, listed, order):
    """Without the list others' repeats tell which are tested."""
    parts = (order, "regions") + ("repeated",) * listed
    written = write(tmp_path, sessions={"CSI1": [3, 3], "CSI4": [2, 2]}, parts=parts)
    subject = read(written, subject="CSI4")
    check_trials(subject, written, written.all_values("CSI4"))
    assert subject.test.n_stimuli == 5 and sorted(subject.test.repeats) == [1, 2, 3, 3, 3]
    assert "1 of 6 repeated pictures were not shown to CSI4" in subject.notes
    assert "1 of 5 test pictures were shown once, and tell nothing of the noise" in subject.notes
    if not listed:
        assert any("2 of them to other subjects alone" in note for note in subject.notes)
        files = [str(file.path) for file in dataset_of("bold5000").files(written.root, "CSI4")]
        other = {
            "lists": "CSI1_sess02",
            "events": "sub-CSI1_ses-02",
            "imgnames": "CSI1_img",
            "stim_lists": "CSI01_stim",
        }
        assert any(other[order] in file for file in files)


def test_the_noise_ceiling_is_of_repeats_alone(tmp_path):
    """Formula of repeats: variance within pictures that were shown twice or more."""
    written = write(tmp_path, sessions={"CSI4": [4, 4]}, parts=RELEASE_2)
    subject = read(written)
    betas, ids = subject.test.betas[:].astype(float), subject.test.trial_stimulus_ids
    within = [betas[ids == one].var(axis=0, ddof=1) for one in subject.test.stimulus_ids if (ids == one).sum() > 1]
    noise, total = np.mean(within, axis=0), betas.var(axis=0, ddof=1)
    signal = np.maximum(total - noise, 0)
    expected = 100 * signal / (signal + noise * np.mean(1 / subject.test.repeats) + 1e-300)
    np.testing.assert_allclose(measured_noise_ceiling(subject), expected, rtol=1e-6, atol=1e-6)


def test_pictures_shown_again_that_are_not_listed_train(tmp_path):
    written = write(tmp_path, parts=RELEASE_2)
    place = written.stimuli / "Scene_Stimuli" / "repeated_stimuli_113_list.txt"
    place.write_text("\n".join(written.repeated[1:]))
    subject = read(written)
    assert written.id_of(written.repeated[0]) in subject.train.stimulus_ids and subject.train.repeats.max() > 1
    assert any("1 pictures that no list calls repeated were shown again" in note for note in subject.notes)


# Sessions, sources and scales


def test_some_sessions_and_one_source(tmp_path):
    written = write(tmp_path, parts=("lists", "repeated", "regions", "pictures"))
    subject = read(written, sessions="2", source="coco")
    assert set(subject.train.sessions) == set(subject.test.sessions) == {2}
    names = [row[0] for row in written.shown["CSI1"] if row[1] == 2 and row[0].startswith("COCO")]
    assert sum(split.n_trials for split in subject.splits.values()) == len(names)
    assert subject.details["sessions"] == [2] and subject.details["source"] == "coco"
    check_trials(read(written, sessions="3"), written, written.all_values("CSI1"), session=3)


def test_z_scores_are_by_training_trials_of_the_session(tmp_path):
    written = write(tmp_path, parts=RELEASE_2)
    values = written.all_values("CSI1").astype(np.float64)
    subject = read(written, scaling="session")
    assert subject.train.standardized == "training"
    for session in (1, 2, 3):
        own = values[written.expected("CSI1", "train", session)]
        for name, split in subject.splits.items():
            expected = (values[written.expected("CSI1", name, session)] - own.mean(0)) / own.std(0, ddof=1)
            np.testing.assert_allclose(split.betas[split.sessions == session], expected, rtol=2e-4, atol=2e-4)


def test_another_test_set_changes_no_training_response(tmp_path):
    """Spoilt test responses: training stays, as stored and z-scored; with scaling=global it does not, which is said."""
    written = write(tmp_path, parts=RELEASE_2)
    before = {scaling: read(written, scaling=scaling).train.betas[:] for scaling in (None, "session", "global")}
    for region in REGIONS:
        values = written.values["CSI1"][region].copy()
        values[written.expected("CSI1", "test")] += 1000
        np.save(written.region_file("CSI1", region), values)
    for scaling, old in before.items():
        subject = read(written, scaling=scaling)
        assert np.array_equal(subject.train.betas[:], old) == (scaling != "global")
        assert any("leaks" in note for note in subject.notes) == (scaling == "global")


def test_the_published_scale_is_of_the_whole_matrix(tmp_path):
    written = write(tmp_path, parts=RELEASE_2)
    values = written.all_values("CSI1").astype(np.float64)
    subject = read(written, scaling="global")
    scaled = (values - values.mean()) / values.std()
    for name, split in subject.splits.items():
        np.testing.assert_allclose(split.betas[:], scaled[written.expected("CSI1", name)], rtol=1e-4, atol=1e-5)
    assert subject.details["scaling"] == "global" and subject.train.standardized == "no"


# Regions and places


@pytest.mark.parametrize("name", ["CSI1", "CSI2", "CSI3"])
def test_regions_have_one_name_in_every_spelling(tmp_path, name):
    written = write(tmp_path, sessions={name: [3, 3]}, parts=(*RELEASE_2, "masks"))
    whole = read(written)
    assert set(whole.rois) == {*REGIONS, "EarlyVis", "LOC", "OPA", "PPA", "RSC"}
    trained = written.expected(name, "train")
    for asked, regions in {
        "LHLOC": ["LHLOC"],
        "LOC": ["LHLOC", "RHLOC"],
        "RSC": ["LHRSC", "RHRSC"],
        "LH*": REGIONS[::2],
        "EarlyVis + RHPPA": ["LHEarlyVis", "RHEarlyVis", "RHPPA"],
    }.items():
        expected = np.concatenate([written.values[name][region] for region in regions], axis=1)[trained]
        found = read(written, roi=asked)
        np.testing.assert_array_equal(found.train.betas[:], expected)
        assert found.fingerprint == whole.fingerprint and len(found.space) == found.n_voxels


@pytest.mark.parametrize("order", ["C", "F"])
def test_betas_of_the_whole_brain_settle_where_columns_are(tmp_path, order):
    written = write(tmp_path, order=order, parts=(*RELEASE_2, "brain", "masks"))
    subject = read(written)
    assert not any("order" in note for note in subject.notes)
    at = subject.space.indices
    for region in REGIONS:
        places = at[subject.rois[region]]
        mask = written.masks["CSI1"][region]
        assert len(places) == mask.sum() and mask[tuple(places.T)].all()
    volume = subject.to_nifti(subject.train.betas[0]).get_fdata()
    whole = read(written, betas="brain")
    brain = whole.to_nifti(whole.train.betas[0]).get_fdata()
    there = np.isfinite(volume)
    np.testing.assert_array_equal(volume[there], brain[there])
    np.testing.assert_array_equal(subject.to_nifti(subject.train.betas[0]).affine, AFFINE)
    with pytest.raises(InputError, match=f"shows that columns are in order {order}; leave voxel_order out"):
        read(written, voxel_order={"C": "F", "F": "C"}[order])


def test_without_them_the_order_is_assumed_and_said(tmp_path):
    written = write(tmp_path, order="F", parts=(*RELEASE_2, "masks"))
    assert any("C order, which is not established" in note for note in read(written).notes)
    told = read(written, voxel_order="F", roi="LHPPA")
    assert not any("established" in note for note in told.notes)
    places = np.argwhere(written.masks["CSI1"]["LHPPA"].T)[:, ::-1]
    np.testing.assert_array_equal(told.space.indices, places)


def test_masks_of_other_sizes_give_no_places(tmp_path):
    written = write(tmp_path, parts=(*RELEASE_2, "masks"))
    region = written.region_file("CSI1", "RHOPA")
    np.save(region, np.load(region)[:, :-1])
    subject = read(written)
    assert subject.space is None and any(
        "RHOPA has" in note and "its mask in sub-CSI1" in note for note in subject.notes
    )
    written.mask_file("CSI1", "LHEarlyVis").unlink()
    assert any("its mask in sub-CSI1 0 voxels" in note for note in read(written).notes)


def test_betas_that_are_those_of_no_volume_give_no_places(tmp_path):
    written = write(tmp_path, parts=(*RELEASE_2, "brain", "masks"))
    for region in REGIONS:
        place = written.region_file("CSI1", region)
        np.save(place, np.load(place) * 3)
    subject = read(written)
    assert subject.space is None and any("in no order those of" in note for note in subject.notes)


def test_a_region_that_is_not_there_is_said(tmp_path):
    written = write(tmp_path, parts=RELEASE_2)
    written.region_file("CSI1", "RHRSC").unlink()
    subject = read(written)
    assert "no RHRSC" in subject.notes and "RHRSC" not in subject.rois
    assert subject.rois["RSC"].sum() == written.values["CSI1"]["LHRSC"].shape[1]


def test_voxels_without_values_are_left_out_when_asked(tmp_path):
    written = write(tmp_path, parts=RELEASE_2)
    place = written.region_file("CSI1", "LHOPA")
    values = np.load(place)
    values[3, 1], values[7, 0] = np.nan, np.inf
    np.save(place, values)
    with pytest.raises(InputError, match=r"2 of \d+ voxels hold NaN .* --roi finite, or copy the file again\.$"):
        subject = read(written)
        subject.train.patterns, subject.test.patterns
    finite = read(written, roi="finite")
    assert finite.n_voxels == sum(one.shape[1] for one in written.values["CSI1"].values()) - 2
    assert np.isfinite(finite.train.patterns).all() and any(note.startswith("finite: 2 of") for note in finite.notes)


# The whole brain


def test_volumes_are_trials_of_the_whole_brain(tmp_path):
    written = write(tmp_path, parts=("lists", "repeated", "brain", "masks"))
    subject = read(written)
    assert subject.details["betas"].startswith("release 2, whole brain") and "LOC" in subject.roi
    union = np.any(list(written.masks["CSI1"].values()), axis=0)
    assert subject.n_voxels == union.sum()
    np.testing.assert_array_equal(subject.space.affine, AFFINE)
    assert any("the affine is that of the masks" in note for note in subject.notes)
    part = read(written, roi="RHPPA")
    mask = written.masks["CSI1"]["RHPPA"]
    places = np.argwhere(mask)
    np.testing.assert_array_equal(part.space.indices, places)
    check_trials(part, written, written.values["CSI1"]["RHPPA"])
    everything = read(written, roi="all")
    assert everything.n_voxels == np.prod(written.grid) - written.grid[2]


@pytest.mark.parametrize("listed", ["lists", "events", "imgnames"])
def test_sessions_of_the_whole_brain_may_be_some(tmp_path, listed):
    written = write(tmp_path, parts=(listed, "repeated", "brain", "masks"))
    check_trials(read(written, roi="LHPPA"), written, written.values["CSI1"]["LHPPA"])
    assert read(written).details["sessions"] == [1, 2, 3]
    written.session_file("CSI1", 2).unlink()
    if listed == "imgnames":
        with pytest.raises(InputError, match="add the lists of runs, or all sessions"):
            read(written)
        return
    subject = read(written, roi="LHPPA")
    assert set(subject.train.sessions) == {1, 3} and any("without 2" in note for note in subject.notes)
    check_trials(read(written, roi="LHPPA", sessions=3), written, written.values["CSI1"]["LHPPA"], session=3)
    with pytest.raises(InputError, match="lacks session 2"):
        read(written, sessions="1-3")


def test_only_sessions_that_are_asked_for_are_read(tmp_path):
    written = write(tmp_path, parts=("lists", "repeated", "brain", "masks"))
    written.session_file("CSI1", 2).write_bytes(b"no volume")
    assert read(written, sessions="1,3").train.patterns.shape[0] > 0
    listed = dataset_of("bold5000").files(written.root, "CSI1", betas="brain", sessions="1,3")
    assert [file.path.name for file in listed if "_ses-" in file.path.name and "nii" in file.path.name] == [
        written.session_file("CSI1", session).name for session in (1, 3)
    ]


def test_without_masks_all_voxels_with_a_value_are_used(tmp_path):
    written = write(tmp_path, parts=("lists", "repeated", "brain"))
    subject = read(written)
    assert subject.roi == "all" and subject.n_voxels == np.prod(written.grid) - written.grid[2] and not subject.rois
    assert any("no regions: derivatives/spm/sub-CSI1" in note for note in subject.notes)


def test_other_models_of_release_2(tmp_path):
    written = write(tmp_path, parts=("lists", "repeated", "brain", "masks", "regions"))
    for letter, model in {"B": "TYBEB-FITHRF", "A": "TYPEA-ASSUMEHRF"}.items():
        for session in (1, 2, 3):
            place = written.session_file("CSI1", session)
            written.session_file("CSI1", session, model).write_bytes(place.read_bytes())
        assert "TYPE" + letter in read(written, model=letter).details["betas"]
    with pytest.raises(InputError, match="no BOLD5000_GLMsingle_ROI_betas/py/CSI1_GLMbetas-TYPEC-"):
        read(written, model="C")


# Release 1


@pytest.mark.parametrize("kind", ["h5", "mat"])
@pytest.mark.parametrize("listed", ["stim_lists", "lists"])
def test_release_1_has_volumes_in_regions(tmp_path, kind, listed):
    written = write(tmp_path, sessions={"CSI2": [3, 3]}, parts=(listed, "repeated", "first"), first_kind=kind)
    subject = read(written)
    check_trials(subject, written, written.all_values("CSI2"))
    assert subject.details["betas"] == "release 1, regions, TR34" and set(REGIONS) <= set(subject.rois)
    assert any("its authors advise release 2" in note for note in subject.notes)
    assert (subject.train.sessions is None) == (listed == "stim_lists")
    place = written.first_file("CSI2")
    place.rename(place.with_name(place.name.replace("TR34", "TR4")))
    assert [read(written, betas=one).details["betas"][-3:] for one in (None, "TR4")] == ["TR4", "TR4"]


# Stimuli


def test_pictures_are_found_in_every_spelling(tmp_path):
    written = write(tmp_path, parts=(*RELEASE_2, "pictures", "labels"))
    subject = read(written)
    for split in subject.splits.values():
        for name, picture, categories in zip(split.stimulus_ids.tolist(), split.images[:], split.categories):
            assert np.abs(picture.astype(int) - written.pictures[name]).mean() < 12  # of JPEG
            source = written.source(name)
            assert categories[0] == source
            if source == "imagenet":
                assert categories[1:] == [name[:9], f"thing{name[7:9]}"]
            if source == "scenes":
                assert categories[1] in ("tailor", "coralreef", "bedroom") and len(categories) == 2
    moved = tmp_path / "elsewhere"
    written.picture_folder.rename(moved)
    assert read(written).test.images is None
    assert read(written, images=moved, image_size=8).test.images.shape[1:] == (8, 8, 3)
    moved.rename(written.picture_folder)
    assert read(written, pictures=False).train.images is None


def test_captions_and_objects_of_coco(tmp_path):
    written = write(tmp_path, parts=RELEASE_2)
    ids = {name: int(name[15:27]) for name in written.seen if name.startswith("COCO")}
    folder = written.root / "annotations"
    folder.mkdir()
    captions = [{"image_id": one, "caption": f"picture  {one}"} for one in ids.values()]
    (folder / "captions_train2014.json").write_text(json.dumps({"annotations": captions}))
    objects = [{"image_id": one, "category_id": 7} for one in ids.values()]
    kinds = {"annotations": objects, "categories": [{"id": 7, "name": "boat"}]}
    (folder / "instances_train2014.json").write_text(json.dumps(kinds))
    whole = read(written)
    assert whole.train.captions is None and any("no captions: those of COCO are there" in note for note in whole.notes)
    subject = read(written, source="coco")
    for split in subject.splits.values():
        assert split.captions == [[f"picture {int(name[15:])}"] for name in split.stimulus_ids.tolist()]
        assert split.categories == [["coco", "boat"]] * split.n_stimuli
    own = {written.id_of(name): ["mine"] for name in written.seen if name not in ids}
    (written.root / "captions.json").write_text(json.dumps(own))
    said = read(written)
    for name, texts in zip(said.train.stimulus_ids.tolist(), said.train.captions):
        assert texts == (["mine"] if name in own else [f"picture {int(name[15:])}"])
    (written.root / "captions.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="captions for .* stimuli, and none for"):
        read(written).train.captions


@pytest.mark.parametrize(
    ("name", "stimulus", "source"),
    [
        ("rep_n01930112_19568.JPEG", "n01930112_19568", "imagenet"),
        ("COCO_train2014_000000420713.jpg\r", "COCO_train2014_000000420713", "coco"),
        ("rep_COCO_train2014_000000420713.jpg", "COCO_train2014_000000420713", "coco"),
        ("000000420713.JPG", "COCO_train2014_000000420713", "coco"),
        ("COCO_val2014_000000000042.jpg", "COCO_val2014_000000000042", "coco"),
        ("tailor6.jpg", "tailor6", "scenes"),
        ("report.card2.jpg", "report.card2", "scenes"),
    ],
)
def test_a_name_is_one_picture(name, stimulus, source):
    found = named(name, "a list")
    assert (found.stimulus_id, found.source, found.is_repeat) == (stimulus, source, name.startswith("rep_"))


@pytest.mark.parametrize("asked", ["CSI2", "sub-CSI2", "csi2", "2", 2, "subj02"])
def test_a_subject_may_be_named_otherwise(tmp_path, asked):
    written = write(tmp_path, sessions={"CSI1": [2, 2], "CSI2": [2, 3]}, n_repeated=3, parts=RELEASE_2)
    assert read(written, subject=asked).name == "CSI2"


def test_files_without_data_are_those_to_fetch(tmp_path):
    missing = [file.path.name for file in dataset_of("bold5000").files(tmp_path) if not file.optional]
    assert missing == [
        "CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses_LHEarlyVis.npy",
        "sub-CSI1_ses-01_task-5000scenes_run-01_events.tsv",
    ]
