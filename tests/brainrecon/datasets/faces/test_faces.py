"""Faces of ds001761 against files that are written from its published description."""

import h5py
import nibabel
import numpy as np
import pytest
from faces_files import AFFINE, Faces, save_mat

from brainrecon.datasets import load
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.faces.derivatives import read_results
from brainrecon.runs.record import in_split, response_digest
from stages.ground.errors import InputError


@pytest.fixture
def study(tmp_path):
    return Faces(tmp_path / "ds001761")


def published(study, **options):
    return load(f"faces:{study.root}", responses="published", **options)


def shown(study, kind):
    """Names of what was shown for the first time, trial by trial."""
    return [row[3] for _, rows in study.events for row in rows if row[0] == kind and row[2] == "0"]


# The authors' results


@pytest.mark.parametrize("version", ["7.3", "5"])
def test_results_are_read_in_either_version(tmp_path, version):
    study = Faces(tmp_path / "ds001761", betas=False, version=version)
    subject = load(f"faces:{study.root}")
    assert subject.name == "sub-01" and subject.roi == "vaegan" and subject.details == {"responses": "published"}
    assert subject.test.stimulus_ids.tolist() == study.test
    np.testing.assert_allclose(subject.test.patterns, study.patterns, rtol=1e-6)
    np.testing.assert_allclose(subject.encoding_models["face_latents"], study.weights, rtol=1e-6)
    assert subject.splits["imagery"].stimulus_ids.tolist() == [study.test[study.imagined]]
    np.testing.assert_allclose(subject.splits["imagery"].patterns, study.patterns[2:3] / 2, rtol=1e-6)
    assert np.flatnonzero(subject.rois["vaegan_occipital"]).tolist() == list(range(0, 18, 3))
    assert subject.rois["vaegan"].all()


def test_training_faces_are_there_and_their_responses_are_not(study):
    train = published(study).train
    assert train.trial_stimulus_ids.tolist() == shown(study, "train_face") and set(study.train) == set(
        train.stimulus_ids
    )
    assert not train.has_responses and train.betas.shape == (24, 18)
    assert [genders == [study.genders[name]] for name, genders in zip(train.stimulus_ids, train.categories)] == [
        True
    ] * 24
    for read in (lambda: train.betas[0], lambda: train.patterns, lambda: train.betas.columns([1])[:2]):
        with pytest.raises(InputError, match="single training faces were not published"):
            read()


def test_pictures_and_genders_are_those_of_the_faces(study):
    for subject in (published(study), load(f"faces:{study.root}")):
        for split in subject.splits.values():
            assert [genders[0] for genders in split.categories] == [study.genders[name] for name in split.stimulus_ids]
            for name, picture in zip(split.stimulus_ids, split.images[:]):
                assert np.abs(picture.astype(int) - study.pictures[name]).mean() < 12  # of JPEG


def test_a_region_is_its_own_columns(study):
    part = published(study, roi="vaegan_occipital")
    np.testing.assert_allclose(part.encoding_models["face_latents"], study.weights[:, ::3], rtol=1e-6)
    np.testing.assert_allclose(part.test.patterns, study.patterns[:, ::3], rtol=1e-6)
    own = published(study, mask=np.arange(18) % 2 == 0)
    np.testing.assert_allclose(own.encoding_models["face_latents"], study.weights[:, ::2], rtol=1e-6)


def test_the_authors_decoding_of_their_files(study):
    """y W' times their inverse, the last value dropped: what their script does with these files."""
    subject = published(study)
    with h5py.File(study.root / "derivatives" / "sub-01" / "ROI_VAEGAN.mat") as file:
        inverse = file["invcovW"][()].T
    weights = subject.encoding_models["face_latents"].astype(np.float64)
    decoded = (subject.test.patterns @ weights.T @ inverse)[:, :-1]
    np.testing.assert_allclose(decoded, study.latents, atol=1e-4)


def test_responses_that_are_not_finite_are_taken_for_zero(study):
    place = study.root / "derivatives" / "sub-01" / "test_patterns.mat"
    with h5py.File(place, "r+") as file:
        file["vol"][study.whole[4], 1] = np.nan
    subject = published(study)
    assert subject.test.patterns[1, 4] == 0
    assert any("1 of 18 voxels lack a response" in note for note in subject.notes)


def test_the_order_of_test_faces_may_be_told(study, tmp_path):
    (tmp_path / "order.txt").write_text("\n".join(["F0003.jpg", *study.test[:3], *study.test_files[4:]]) + "\n")
    told = published(study, order=tmp_path / "order.txt").test
    assert told.stimulus_ids.tolist() == [study.test[row] for row in (3, 0, 1, 2, 4, 5)]
    np.testing.assert_allclose(told.patterns, study.patterns, rtol=1e-6)
    (tmp_path / "order.txt").write_text("M0000\n")
    with pytest.raises(InputError, match="1 names for 6 test faces"):
        published(study, order=tmp_path / "order.txt")
    (tmp_path / "order.txt").write_text("M00007\n")
    with pytest.raises(InputError, match="M00007, which is no test face"):
        published(study, order=tmp_path / "order.txt")


def test_imagery_is_tested_in_place_of_the_test_faces(study):
    subject = in_split(published(study), "imagery")
    assert subject.test.stimulus_ids.tolist() == [study.test[2]] and len(subject.encoding_models) == 1
    assert len(response_digest(subject)) == 64
    # What is dealt anew may test what the encoding model has learned from.
    assert not published(study, fold=(0, 2)).encoding_models


# Betas of one's own


def test_own_betas_are_trials_of_new_faces(study):
    subject = load(f"faces:{study.root}")
    assert set(subject.splits) == {"train", "test"} and subject.details["responses"] == "own"
    assert subject.train.trial_stimulus_ids.tolist() == shown(study, "train_face")
    assert subject.test.trial_stimulus_ids.tolist() == shown(study, "test_face")
    for split, kind in ((subject.train, "train_face"), (subject.test, "test_face")):
        expected = [
            volumes[..., row][study.brain]
            for rows, volumes in study.betas
            for row, one in enumerate(rows)
            if one[0] == kind and one[2] == "0"
        ]
        np.testing.assert_array_equal(split.betas[:], expected)
        runs = [
            [number] * len([row for row in rows if row[0] == kind and row[2] == "0"])
            for number, (_, rows) in enumerate(study.events, 1)
        ]
        assert split.runs.tolist() == sum(runs, [])
    assert (subject.test.repeats == 3).all() and subject.rois["early"].sum() == study.early.sum()


# Damage


def spoil_names(study):
    (study.root / "stimuli" / "ImageNames2Celeba.txt").write_text("nothing\n")


def drop_a_name(study):
    place = study.root / "stimuli" / "ImageNames2Celeba.txt"
    place.write_text("".join(place.read_text().splitlines(keepends=True)[1:]))


def drop_a_column(study):
    place = study.events[1][0]
    place.write_text(place.read_text().replace("oneback", "twoback"))


def no_events(study):
    for place, _ in study.events:
        place.unlink()


def change(name, values, file="ROI_VAEGAN.mat"):
    def spoil(study):
        with h5py.File(study.root / "derivatives" / "sub-01" / file, "r+") as content:
            del content[name]
            if values is not None:
                content[name] = values

    return spoil


def no_regions(study):
    for place in (study.root / "derivatives" / "sub-01").glob("ROI_*"):
        place.unlink()


def another_face(study):
    place = study.root / "derivatives" / "sub-01" / "img_image.mat"
    save_mat(place, {"z": -study.latents[2:3]}, "7.3")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_names, "names no pictures"),
        (drop_a_name, "does not name"),
        (drop_a_column, "has no column oneback"),
        (no_events, "has no events of faces"),
        (no_regions, r"has no ROI_VAEGAN\*\.mat"),
        (another_face, "is none of those of"),
        (change("W", None), "has no matrix W"),
        (change("W", np.ones((17, 6))), r"W in .* is \(6, 17\) for 18 voxels"),
        (change("W", np.full((18, 6), np.nan)), "not finite"),
        (change("W", np.ones((18, 9))), r"have \[6, 9\] rows"),
        (change("validindices", np.zeros((1, 18))), "no numbers of voxels"),
        (change("validindices", np.arange(30.0, 48)[None]), "have 40 voxels but the regions name voxel 47"),
        (change("vol", np.ones((40, 5)), "test_patterns.mat"), "6 test faces but has 5 patterns"),
    ],
)
def test_damage_is_one_sentence(study, spoil, said):
    spoil(study)
    with pytest.raises(InputError, match=said) as caught:
        published(study)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_betas_of_another_length_are_refused(study):
    place = study.events[1][0]
    place.write_text("".join(place.read_text().splitlines(keepends=True)[:-6]))
    with pytest.raises(InputError, match=r"run-02_betas.nii.gz has \d+ volumes but its runs have .* rows"):
        load(f"faces:{study.root}")


@pytest.mark.parametrize("kept", ["all", "faces", "new"])
def test_betas_may_be_of_all_rows_or_of_faces(study, kept):
    """Each run's betas anew, of other rows: its trials come out the same."""
    for run, (_, rows) in enumerate(study.events, start=1):
        wanted = {
            "all": rows,
            "faces": [row for row in rows if "face" in row[0]],
            "new": [row for row in rows if "face" in row[0] and row[2] == "0"],
        }[kept]
        volumes = np.zeros((4, 3, 3, len(wanted)), np.float32)
        for number, row in enumerate(wanted):
            volumes[..., number] = int(row[3] or -1)
        file = study.root / "betas" / "sub-01" / f"sub-01_ses-01_task-faces_run-{run:02d}_betas.nii.gz"
        nibabel.save(nibabel.Nifti1Image(volumes, AFFINE), file)
    for split in load(f"faces:{study.root}").splits.values():
        assert split.betas[:, 0].astype(int).tolist() == [int(name) for name in split.trial_stimulus_ids]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"responses": "mine"}, "'mine'; expected own or published"),
        ({"order": "names.txt"}, "betas of .* are your own"),
        ({"subject": "sub-07"}, "no subject 'sub-07'; it has sub-01"),
    ],
)
def test_options_are_checked(study, options, said):
    with pytest.raises(InputError, match=said):
        load(f"faces:{study.root}", **options)


def test_own_betas_have_to_be_there(tmp_path):
    study = Faces(tmp_path / "ds001761", betas=False)
    with pytest.raises(InputError, match="betas/sub-01 is no folder; put betas of your own there"):
        load(f"faces:{study.root}", responses="own")


def test_a_subject_may_be_named_otherwise(study):
    assert load(f"faces:{study.root}", subject="subj01").name == "sub-01"


def test_files_without_data_are_those_to_fetch(tmp_path):
    missing = [file.path.name for file in dataset_of("faces").files(tmp_path) if not file.optional]
    assert missing[:2] == ["ImageNames2Celeba.txt", "sub-01_ses-01_task-faces_run-01_events.tsv"]
    assert {"ROI_VAEGAN.mat", "test_patterns.mat"} <= set(missing)


def test_weights_of_the_whole_region_count_where_two_have_a_voxel(study):
    change("W", np.zeros((6, 6)), "ROI_VAEGAN_occipital.mat")(study)
    np.testing.assert_allclose(read_results(study.root, "sub-01").weights, study.weights, rtol=1e-6)
