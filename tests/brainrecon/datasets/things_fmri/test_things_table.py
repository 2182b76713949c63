"""Tables of THINGS-data against files that are written from its published description."""

import nibabel
import numpy as np
import pytest
from things_fmri_files import AFFINE, ATLAS, Things

from brainrecon.datasets import load
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.own_mask import read_mask
from brainrecon.datasets.things_fmri import reader, voxel_rows
from stages.ground.errors import InputError


def loaded(things, **options):
    return load(f"things-fmri:{things.root}", **options)


def check_trials(split, expected):
    """Ids, sessions, runs, concepts and responses of a split are those that were shown, in their order."""
    ids, sessions, runs, concepts, responses = zip(*expected)
    assert split.trial_stimulus_ids.tolist() == list(ids)
    assert split.sessions.tolist() == list(sessions) and split.runs.tolist() == list(runs)
    assert split.categories == [[concept] for concept in dict(zip(ids, concepts)).values()]
    assert split.betas.dtype == np.float32 and split.standardized == "no"
    np.testing.assert_allclose(split.betas[:], responses, rtol=1e-6)


@pytest.mark.parametrize(("seed", "dtype"), enumerate(["<f8", ">f8", "<f4", ">f4"]))
def test_what_was_written_is_read(tmp_path, seed, dtype):
    sizes = np.random.default_rng(seed)
    things = Things(
        tmp_path / "things",
        seed=seed,
        number=seed + 1,
        n_concepts=int(sizes.integers(5, 10)),
        per_concept=int(sizes.integers(2, 5)),
        n_sessions=int(sizes.integers(2, 4)),
        grid=tuple(sizes.integers(4, 7, 3).tolist()),
        lost=[(1, 2)] if seed == 1 else [],
        dtype=dtype,
        forms=("table",),
    )
    subject = loaded(things)
    assert subject.name == f"sub-{seed + 1:02d}" and subject.roi == "visual" and subject.details["form"] == "table"
    for kind in ("train", "test"):
        check_trials(subject.splits[kind], things.shown(kind, things.visual))
    np.testing.assert_allclose(subject.noise_ceiling, things.ceiling[things.visual], rtol=1e-6)
    np.testing.assert_array_equal(subject.grid.indices, things.places[things.visual])
    np.testing.assert_allclose(subject.grid.affine, AFFINE, rtol=1e-6)


def test_a_map_of_the_voxels_is_where_they_are(things):
    subject = loaded(things, roi="all")
    np.testing.assert_allclose(
        subject.to_nifti(subject.noise_ceiling, outside=0).get_fdata()[things.brain], things.ceiling, rtol=1e-6
    )


def test_pictures_are_those_of_the_stimuli(things):
    for split in loaded(things).splits.values():
        for name, picture in zip(split.stimulus_ids, split.images[:]):
            assert np.abs(picture.astype(int) - things.pictures[f"{name}.jpg"]).mean() < 12  # of JPEG


def test_regions_have_names_that_can_be_typed(things):
    subject = loaded(things, roi="all")
    names = {name: name.replace("glasser-", "glasser_") for name in things.regions} | {
        "LO1 (prf)": "LO1",
        "glasser-p9-\n46v": "glasser_p9-46v",
    }
    for column, name in names.items():
        np.testing.assert_array_equal(subject.rois[name], things.regions[column])
    np.testing.assert_array_equal(subject.rois["FFA"], things.regions["lFFA"] | things.regions["rFFA"])
    np.testing.assert_array_equal(subject.rois["EBA"], things.regions["lEBA"])
    np.testing.assert_array_equal(subject.rois["visual"], things.visual)
    assert set(subject.rois) == {*names.values(), "FFA", "EBA", "visual"}


@pytest.mark.parametrize(
    ("roi", "columns"),
    [
        ("LO1", ["LO1 (prf)"]),
        ("glasser_LO1", ["glasser-LO1"]),
        ("glasser_p9-46v", ["glasser-p9-\n46v"]),
        ("V1 + FFA", ["V1", "lFFA", "rFFA"]),
        ("V3*", ["V3a", "V3b"]),
        ("glasser_*", ATLAS),
    ],
)
def test_a_roi_is_its_own_rows(things, roi, columns):
    inside = np.any([things.regions[name] for name in columns], axis=0)
    check_trials(loaded(things, roi=roi).test, things.shown("test", inside))


def test_a_minus_takes_an_area_of_the_atlas_away(things):
    inside = np.any([things.regions[name] for name in ATLAS], axis=0) & ~things.regions["glasser-46"]
    check_trials(loaded(things, roi="glasser_* - glasser_46").test, things.shown("test", inside))


def test_a_mask_in_the_volume_is_looked_up(things, tmp_path):
    inside = things.brain & (np.random.default_rng(5).random(things.brain.shape) < 0.5)
    nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), AFFINE), tmp_path / "own.nii.gz")
    subject = loaded(things, mask=tmp_path / "own.nii.gz")
    np.testing.assert_array_equal(subject.grid.indices, np.argwhere(inside))
    check_trials(subject.train, things.shown("train", inside[things.brain]))
    assert read_mask(tmp_path / "own.nii.gz").values.sum() == subject.n_voxels


def test_messages_leave_the_atlas_out_and_suggest_of_it(things):
    with pytest.raises(InputError, match="has no roi 'glasser-LO1'; it has .*visual.*'glasser_LO1'") as caught:
        loaded(things, roi="glasser-LO1")
    assert "glasser_46" not in str(caught.value)


def test_no_tested_concept_is_trained_on(things):
    usual, subject = loaded(things), loaded(things, zero_shot=True)
    tested = {concept for concept, _ in things.test}
    check_trials(subject.train, [row for row in things.shown("train", things.visual) if row[3] not in tested])
    check_trials(subject.test, things.shown("test", things.visual))
    assert not tested & {concept for (concept,) in subject.train.categories}
    assert subject.details["zero_shot"] and subject.fingerprint != usual.fingerprint
    assert any("12 training trials of 4 concepts" in note for note in subject.notes)
    assert any("4 of 5 tested concepts have training pictures too" in note for note in usual.notes)


def test_trials_may_lie_in_several_blocks(things):
    things.write_table(n_blocks=3)
    subject = loaded(things, roi="all")
    check_trials(subject.train, things.shown("train"))
    check_trials(subject.test, things.shown("test"))


@pytest.mark.parametrize("kept", [0, 2**30])
def test_kept_or_not_responses_are_the_same(things, monkeypatch, kept):
    monkeypatch.setattr(voxel_rows.VoxelRows.__init__, "__defaults__", (kept,))
    monkeypatch.setattr(voxel_rows, "BLOCK_BYTES", 500)
    subject = loaded(things)
    check_trials(subject.train, things.shown("train", things.visual))
    some = np.array([5, 0, 7, 7])
    expected = np.array([row[-1] for row in things.shown("train", things.visual)])
    np.testing.assert_allclose(subject.train.betas[some], expected[some], rtol=1e-6)
    np.testing.assert_allclose(subject.train.betas.columns([3, 1])[some], expected[some][:, [3, 1]], rtol=1e-6)
    assert any("more than are kept in memory" in note for note in subject.notes) == (kept == 0)


def test_nothing_is_read_until_it_is_asked_for_and_then_once(things, monkeypatch):
    read = []
    original = voxel_rows.VoxelRows._rows_of
    monkeypatch.setattr(voxel_rows.VoxelRows, "_rows_of", lambda self, *rest: read.append(1) or original(self, *rest))
    subject = loaded(things, roi="V1")
    assert not read
    subject.train.betas[:2], subject.test.patterns, subject.train.betas[:]
    assert len(read) == 1


def test_only_rows_of_the_roi_are_read(things, monkeypatch):
    """Of a file whose rows are the voxels in order, no row is touched that lies further than a few from those wanted."""
    things.write_table(order=np.arange(things.n_voxels))
    asked = []
    original = voxel_rows.dataset

    class Watched:
        def __init__(self, stored):
            self.stored, self.dtype = stored, stored.dtype

        def __getitem__(self, index):
            asked.extend(range(*index[0].indices(len(self.stored))))
            return self.stored[index]

    monkeypatch.setattr(voxel_rows, "dataset", lambda *rest: Watched(original(*rest)))
    subject = loaded(things, roi="V1")
    subject.train.betas[0]
    wanted = np.flatnonzero(things.regions["V1"])
    assert set(wanted) <= set(asked) and len(asked) < things.n_voxels
    assert all(np.abs(wanted - row).min() <= voxel_rows.ROWS_READ_OVER for row in asked)


def test_a_voxel_without_a_value_is_said_where_it_is_used(things):
    place = int(np.flatnonzero(things.regions["V1"])[0])
    things.table[place, 3] = np.nan
    things.write_table()
    subject = loaded(things, roi="V1")
    with pytest.raises(
        InputError, match=r"1 of \d+ voxels hold NaN or infinite betas in .*ResponseData.h5; leave those"
    ):
        subject.train.betas[0]
    outside = loaded(things, mask=~things.regions["V1"])
    assert np.isfinite(outside.train.betas[:]).all()


def test_a_ceiling_that_is_not_there_is_zero_and_told(things):
    things.ceiling[:2] = np.nan, np.nan
    things.write_voxels(lambda head, rows: (head, [["" if cell != cell else cell for cell in row] for row in rows]))
    subject = loaded(things, roi="all")
    assert subject.noise_ceiling[:2].tolist() == [0, 0] and any(
        "2 voxels have no noise ceiling" in n for n in subject.notes
    )


def test_without_a_brain_mask_there_is_no_volume(things):
    next(things.masks.glob("*")).unlink()
    subject = loaded(things)
    assert subject.space is None and any("no sub-01_space-T1w_brainmask.nii.gz" in note for note in subject.notes)


def test_without_regions_of_the_study_all_voxels_are_used(things):
    own = [name for name in things.regions if name not in ATLAS]
    for name in own:
        things.regions[name][:] = False
    things.write_voxels()
    subject = loaded(things)
    assert subject.roi == "all" and subject.n_voxels == things.n_voxels and "V1" not in subject.rois


def test_the_folder_of_the_tables_may_be_given_itself(things):
    subject = load(f"things-fmri:{things.csv}")
    check_trials(subject.train, things.shown("train", things.visual))


@pytest.mark.parametrize("folder", ["object_images", "_images"])
def test_pictures_may_lie_where_their_archive_puts_them(things, folder):
    (things.root / "images").rename(things.root / folder)
    assert loaded(things).train.images.shape == (24, 24, 24, 3)


def test_pictures_of_several_sizes_are_brought_to_one(things):
    things.write_pictures(sides=[20, 24])
    with pytest.raises(InputError, match=r"is \d\d x \d\d pixels but .* pass image_size=20"):
        loaded(things)
    images = loaded(things, image_size=16).train.images
    assert images.shape == (24, 16, 16, 3) and images[:].dtype == np.uint8


def test_without_pictures_a_note_says_where_they_go(tmp_path):
    things = Things(tmp_path / "things", pictures=False)
    subject = loaded(things)
    assert subject.train.images is None
    assert any("no pictures: THINGS' own" in note and str(things.root / "images") in note for note in subject.notes)


def test_several_subjects_are_found_and_named_otherwise(things):
    second = Things(things.root, seed=9, number=2, forms=("table",), pictures=False)
    assert dataset_of("things-fmri").subjects(things.root) == ["sub-01", "sub-02"]
    second.write_pictures()
    check_trials(loaded(things, subject="subj02").train, second.shown("train", second.visual))


def test_files_without_data_are_those_to_fetch(tmp_path):
    missing = reader.files(tmp_path)
    assert [file.path.name for file in missing if not file.optional] == [
        "sub-01_ResponseData.h5",
        "sub-01_StimulusMetadata.csv",
        "sub-01_VoxelMetadata.csv",
    ]
    assert all(file.address.startswith("https://doi.org/10.25452/figshare.plus.") for file in missing[:4])
