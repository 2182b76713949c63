"""vim-1 against files that are written from its published descriptions."""

import hashlib

import nibabel
import numpy as np
import pytest
from vim1_files import AREAS, VOLUME, Kay

from brainrecon.datasets import load
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.inventory import describe, summary
from brainrecon.datasets.vim1 import crcns
from stages.ground.errors import InputError


def responses(person, split, kept):
    return (person.train if split == "train" else person.val)[:, kept]


FORMS = [("7.3", "<"), ("7.3", ">"), ("5", "<")]
"""Version of MATLAB's files, and the order of bytes."""
in_every_form = pytest.mark.parametrize("kay", FORMS, ids=lambda value: " ".join(value), indirect=True)


@pytest.fixture
def kay(request, tmp_path):
    version, order = getattr(request, "param", FORMS[0])
    seed = int(hashlib.sha256(f"{version}{order}".encode()).hexdigest(), 16) % 1000
    rng = np.random.default_rng(seed)
    return Kay(
        tmp_path / "vim1",
        seed,
        n_train=int(rng.integers(20, 40)),
        n_test=int(rng.integers(5, 12)),
        side=tuple(rng.integers(16, 30, 2)),
        version=version,
        order=order,
        n_voxels=tuple(rng.integers(60, 100, 2)),
    )


# CRCNS


@in_every_form
@pytest.mark.parametrize("number", [1, 2])
def test_responses_and_areas_are_those_that_were_written(kay, number):
    kay.write_crcns()
    person = kay.people[number - 1]
    subject = load(f"vim1:{kay.root}", subject=f"S{number}", roi="all")
    assert subject.name == f"subj0{number}"
    for split in ("train", "test"):
        expected = responses(person, split, ~person.without)
        np.testing.assert_array_equal(subject.splits[split].betas[:], expected)
        assert (subject.splits[split].repeats == 1).all() and subject.splits[split].runs is None
    codes = person.codes[~person.without]
    assert set(subject.rois) == {AREAS[code] for code in codes} | {"visual"}
    for name, mask in subject.rois.items():
        np.testing.assert_array_equal(mask, codes > 0 if name == "visual" else codes == AREAS.index(name))
    assert f"{person.without.sum()} of {len(codes) + person.without.sum()} voxels left out" in " ".join(subject.notes)
    assert subject.noise_ceiling is None and describe(subject)["noise_ceiling_median"] is None


@in_every_form
def test_areas_are_loaded_by_default(kay):
    kay.write_crcns()
    person = kay.people[0]
    subject = load(f"vim1:{kay.root}")
    assert subject.name == "subj01" and subject.roi == "visual"
    chosen = ~person.without & (person.codes > 0)
    np.testing.assert_array_equal(subject.test.betas[:], person.val[:, chosen])
    part = load(f"vim1:{kay.root}", roi="V3A + LatOcc")
    np.testing.assert_array_equal(part.train.betas[:], person.train[:, ~person.without & np.isin(person.codes, (4, 7))])


@in_every_form
def test_voxels_lie_where_the_numbers_say(kay):
    """The n-th place of a volume that is filled column by column, from 1."""
    kay.write_crcns()
    person = kay.people[1]
    subject = load(f"vim1:{kay.root}", subject="subj02", roi="V1 + V2 + V4")
    chosen = ~person.without & np.isin(person.codes, (1, 2, 6))
    counted = {}
    number = 0
    for z in range(VOLUME[2]):
        for y in range(VOLUME[1]):
            for x in range(VOLUME[0]):
                number += 1
                counted[number] = [x, y, z]
    assert subject.grid.indices.tolist() == [counted[place] for place in person.places[chosen]]
    assert subject.grid.shape == VOLUME and np.diag(subject.grid.affine).tolist() == [2, 2, 2.5, 1]
    volume = subject.to_nifti(np.arange(subject.n_voxels)).get_fdata()
    x, y, z = counted[person.places[chosen][5]]
    assert volume[x, y, z] == 5
    assert any("origin and directions are in no file" in note for note in subject.notes)


def test_a_volume_is_taken_as_a_mask(kay, tmp_path):
    kay.write_crcns()
    whole = load(f"vim1:{kay.root}", roi="all")
    volume = np.zeros(VOLUME, np.uint8)
    volume[tuple(whole.grid.indices[::4].T)] = 1
    nibabel.save(nibabel.Nifti1Image(volume, whole.grid.affine), tmp_path / "mine.nii.gz")
    own = load(f"vim1:{kay.root}", mask=tmp_path / "mine.nii.gz")
    np.testing.assert_array_equal(own.test.betas[:], whole.test.betas[:][:, ::4])
    np.testing.assert_array_equal(own.grid.indices, whole.grid.indices[::4])


# Pictures


@in_every_form
@pytest.mark.parametrize("resolution", [None, "small", "full"])
def test_pictures_are_grey_by_one_range_for_all(kay, resolution):
    kay.write_crcns(full=True, n_files=int(kay.rng.integers(1, 6)))
    subject = load(f"vim1:{kay.root}", resolution=resolution)
    which = resolution or "small"
    for split, name in (("train", "Trn"), ("test", "Val")):
        expected = kay.grey(name, which)
        pictures = subject.splits[split].images
        assert pictures.shape == (*expected.shape, 3) and pictures.dtype == np.uint8
        np.testing.assert_array_equal(pictures[:], expected[..., None].repeat(3, -1))
        np.testing.assert_array_equal(pictures[[-1, 2]], pictures[:][[-1, 2]])
    # A picture of low contrast keeps it: it does not go from black to white.
    spans = np.ptp(subject.train.images[:].reshape(len(subject.train.images), -1).astype(int), axis=1)
    assert spans.min() < 150 and max(subject.train.images[:].max(), subject.test.images[:].max()) == 255
    assert subject.details["range"] == pytest.approx(kay.range(which), rel=1e-5)


def test_full_resolution_is_taken_if_it_is_all_there_is(kay):
    kay.write_crcns(small=False, full=True)
    subject = load(f"vim1:{kay.root}")
    assert subject.details["resolution"] == "full"
    np.testing.assert_array_equal(subject.test.images[:][..., 1], kay.grey("Val", "full"))


@pytest.mark.parametrize("given", ["-0.75,0.75", [-0.75, 0.75], (-0.75, 0.75), "[-0.75, 0.75]"])
def test_a_range_may_be_declared(kay, given):
    kay.write_crcns(small=False, full=True)
    kay.small["Trn"][0, 0, 0], kay.small["Val"][1, 2, 3] = 0.49, -0.5
    kay.write_small("5")
    for resolution in ("small", "full"):
        subject = load(f"vim1:{kay.root}", range=given, resolution=resolution)
        np.testing.assert_array_equal(subject.train.images[:][..., 2], kay.grey("Trn", resolution, (-0.75, 0.75)))
        assert subject.details["range"] == [-0.75, 0.75]


@pytest.mark.parametrize("resolution", ["small", "full"])
def test_pictures_beside_a_declared_range_are_refused(kay, resolution):
    kay.write_crcns(full=True)
    with pytest.raises(InputError, match=r"run from -\d.* to 0\.\d+ but range is -0.1 to 0.1; name values"):
        load(f"vim1:{kay.root}", resolution=resolution, range="-0.1,0.1").train.images[:]


def test_without_pictures_responses_are_loaded(kay):
    kay.write_crcns(small=False)
    subject = load(f"vim1:{kay.root}")
    assert subject.train.images is None and any("put Stimuli.mat of CRCNS into" in note for note in subject.notes)
    for resolution in ("small", "full"):
        with pytest.raises(InputError, match=f"has no {resolution} pictures, Stimuli"):
            load(f"vim1:{kay.root}", resolution=resolution)


# The open copy


@in_every_form
def test_the_open_copy_is_the_first_subject_s_areas(kay, tmp_path):
    kay.write_crcns()
    there = load(f"vim1:{kay.root}")
    kay.root = tmp_path / "open"
    kay.write_osf()
    copy = load(f"vim1:{kay.root}")
    assert copy.name == "subj01" and copy.roi == "visual" and copy.space is None
    for name, split in there.splits.items():
        other = copy.splits[name]
        assert split.trial_stimulus_ids.tolist() == other.trial_stimulus_ids.tolist()
        assert split.standardized == other.standardized == "session"
        np.testing.assert_array_equal(split.betas[:], other.betas[:])
        np.testing.assert_array_equal(split.images[:], other.images[:])
    assert there.rois.keys() == copy.rois.keys()
    for name, mask in there.rois.items():
        np.testing.assert_array_equal(copy.rois[name], mask)


def test_ids_are_the_places_of_pictures_from_1(kay):
    kay.write_osf()
    subject = load(f"vim1:{kay.root}")
    n = subject.train.n_stimuli
    assert subject.train.stimulus_ids[[0, -1]].tolist() == ["train0001", f"train{n:04d}"]
    assert subject.test.stimulus_ids[0] == "val0001"


def test_categories_are_the_levels_above_the_guess(kay):
    kay.write_osf()
    subject = load(f"vim1:{kay.root}")
    for split, name in ((subject.train, "Trn"), (subject.test, "Val")):
        for own, labels in zip(split.categories, kay.labels[name].T, strict=True):
            expected = []
            for label in labels[:3].tolist():
                if label not in expected:
                    expected.append(label)
            assert own == expected
    assert any("a network guessed" in note for note in subject.notes)


def test_labels_may_be_absent_or_unreadable(kay):
    kay.write_osf(labels=False)
    subject = load(f"vim1:{kay.root}")
    assert subject.train.categories is None and any("there is no kay_labels.npy" in note for note in subject.notes)
    np.save(kay.root / "kay_labels.npy", kay.labels["Trn"].astype(object), allow_pickle=True)
    np.save(kay.root / "kay_labels_val.npy", kay.labels["Val"].astype("S9"))
    subject = load(f"vim1:{kay.root}")
    assert subject.train.categories is None and any("pickled Python objects" in note for note in subject.notes)
    assert subject.test.categories[0][0] == kay.labels["Val"][0, 0]


def test_pictures_of_the_open_copy_may_be_bytes(kay):
    """Other people's copies hold grey levels: they are stretched as all others are."""
    stimuli = {name: kay.grey(name, "small") // 2 + 40 for name in ("Trn", "Val")}
    kay.write_osf(stimuli=stimuli["Trn"], stimuli_test=stimuli["Val"])
    low, high = 40, max(own.max() for own in stimuli.values())
    expected = np.rint((stimuli["Val"].astype(float) - low) / (high - low) * 255)
    np.testing.assert_array_equal(load(f"vim1:{kay.root}").test.images[:][..., 0], expected)


def test_a_folder_may_hold_both(kay):
    kay.write_crcns()
    kay.write_osf()
    assert load(f"vim1:{kay.root}").details["copy"] == "crcns"
    copy = load(f"vim1:{kay.root}", copy="osf")
    assert copy.details["copy"] == "osf" and copy.train.has_categories


# Lists


def names(files, optional):
    return [file.path.name for file in files if file.optional == optional]


def test_files_of_an_empty_folder_are_those_of_either_copy(tmp_path):
    files = dataset_of("vim1").files(tmp_path)
    assert names(files, False) == ["kay_images.npz"]
    assert {file.address for file in files if file.path.name.startswith("kay")} == {
        f"https://osf.io/{key}/download" for key in ("ymnjv", "r638s", "yqb3e")
    }
    account = [file for file in files if not file.address]
    assert len(account) == 4 and all("free account at crcns.org" in file.what for file in account)


def test_files_are_those_of_the_copy_that_is_there(kay):
    kay.write_crcns(full=True, n_files=4)
    files = dataset_of("vim1").files(kay.root, "S2")
    assert names(files, False) == ["EstimatedResponses.mat"]
    assert names(files, True) == [
        "Stimuli.mat",
        *(f"Stimuli_Trn_FullRes_0{k}.mat" for k in range(1, 5)),
        crcns.FULL_TEST,
    ]
    assert names(dataset_of("vim1").files(kay.root, copy="osf"), False) == ["kay_images.npz"]


def test_the_summary_says_what_there_is(kay):
    kay.write_crcns()
    text = "\n".join(summary(describe(load(f"vim1:{kay.root}"))))
    assert "subjects: subj01, subj02; this is subj01" in text and "there is no noise ceiling" in text
    assert "stimuli were seen by all 2" in text
