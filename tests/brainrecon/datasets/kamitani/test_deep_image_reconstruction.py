"""Deep Image Reconstruction against what was written, and every damage in one sentence."""

import h5py
import numpy as np
import pytest
from damage import cut
from kamitani_files import SEEDS, Dir

from brainrecon.datasets.kamitani import deep_image_reconstruction
from stages.ground.errors import InputError


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("names", [Dir.NAMES, Dir.FMRIPREP], ids=["original", "fmriprep"])
def test_dir_is_what_was_written(tmp_path, seed, names):
    written = Dir(tmp_path, seed, names)
    assert deep_image_reconstruction.subjects(tmp_path) == ["subj01", "subj03"]
    for number in (1, 3):
        subject = deep_image_reconstruction.load(tmp_path, f"subj{number:02d}")
        vc = written.regions[number]["VC"]
        assert list(subject.splits) == [split for split in written.codes if split in names] and subject.dataset == "dir"
        for split, part in subject.splits.items():
            assert part.trial_stimulus_ids.tolist() == written.shown[number, split]
            np.testing.assert_array_equal(part.betas[:], written.voxels[number, split][:, vc].astype(np.float32))
            assert (
                (part.repeats == 3).all()
                and (part.sessions == 1).all()
                and part.runs[-1] == (part.n_trials - 1) // 5 + 1
            )
        for name, mask in subject.rois.items():
            np.testing.assert_array_equal(mask, written.regions[number][name][vc])
        assert subject.train.categories == [[name[:9]] for name in subject.train.stimulus_ids]
        assert subject.splits["imagery"].categories is None
        assert subject.details["release"] == ("original" if names is Dir.NAMES else "fmriprep")
        assert any(note.startswith("imagery: ") and "numbers its stimuli" in note for note in subject.notes)
    v1 = deep_image_reconstruction.load(tmp_path, "subj03", roi="V1 + V2")
    assert v1.n_voxels == (written.regions[3]["V1"] | written.regions[3]["V2"]).sum()


def test_one_release_is_chosen(tmp_path):
    Dir(tmp_path)
    Dir(tmp_path, 1, Dir.FMRIPREP)
    assert deep_image_reconstruction.load(tmp_path).details["release"] == "original"
    again = deep_image_reconstruction.load(tmp_path, release="fmriprep")
    assert again.details["release"] == "fmriprep" and list(again.splits) == ["train", "test", "imagery"]
    assert all("fmriprep" in name for name in again.details["files"])
    files = deep_image_reconstruction.files(tmp_path)
    assert all(path.is_file() for path, *_ in files[:8]) and len(files) == 10
    assert [path.name for path, *_ in deep_image_reconstruction.files(tmp_path / "absent")[:2]] == [
        "sub-01_perceptionNaturalImageTraining_original_VC.h5",
        "sub-01_perceptionNaturalImageTest_original_VC.h5",
    ]


def test_stimuli_by_label_one_column_or_number(tmp_path):
    written = Dir(tmp_path, names=Dir.FMRIPREP)
    for split in ("train", "test", "imagery"):
        order = list(written.codes[split])
        numbers = [order.index(name) + 1.0 for name in written.shown[1, split]]
        spelled = order if split != "imagery" else [f"im_{name}" for name in written.codes["test"]]
        table = {f"{place + 1}.0": f"{name}.JPEG" for place, name in enumerate(spelled)}
        written.write(1, split, key="stimulus_name", values=numbers, labels={"stimulus_name": table})
        if split != "imagery":
            codes = [written.codes[split][name] for name in written.shown[3, split]]
            written.write(3, split, values=codes)
    subject = deep_image_reconstruction.load(tmp_path, "subj01")
    assert subject.train.trial_stimulus_ids.tolist() == written.shown[1, "train"]
    assert set(subject.splits["imagery"].stimulus_ids) == set(subject.test.stimulus_ids)
    subject = deep_image_reconstruction.load(tmp_path, "subj03")
    assert subject.train.trial_stimulus_ids.tolist() == written.shown[3, "train"]
    numbers = [place % 4 + 1 for place in range(len(written.shown[3, "test"]))]
    written.write(3, "test", key="image_index", values=numbers)
    subject = deep_image_reconstruction.load(tmp_path, "subj03")
    assert subject.test.trial_stimulus_ids.tolist() == [f"test_{number}" for number in numbers]


@pytest.mark.parametrize("key", ["stimulus_id", "image_index"])
def test_numbers_of_any_key_are_read_by_their_labels(tmp_path, key):
    written = Dir(tmp_path)
    order = list(written.codes["test"])
    numbers = [order.index(name) + 1.0 for name in written.shown[1, "test"]]
    table = {f"{place + 1}.0": f"{name}.JPEG" for place, name in enumerate(order)}
    written.write(1, "test", key=key, values=numbers, labels={key: table})
    subject = deep_image_reconstruction.load(tmp_path, "subj01")
    assert subject.test.trial_stimulus_ids.tolist() == written.shown[1, "test"]


def other_voxels(written):
    written.write(
        1,
        "test",
        voxels=written.voxels[1, "test"][:, 1:],
        regions={name: mask[1:] for name, mask in written.regions[1].items()},
    )


def moved_voxels(written):
    path = written.root / f"sub-01_{written.names['test']}.h5"
    with h5py.File(path, "r+") as file:
        keys = [key.decode() for key in file["metadata/key"][()]]
        file["metadata/value"][keys.index("voxel_y"), :2] = 99


DIR_CASES = {
    "no folder": (lambda made: made.root.rename(made.root.parent / "x"), {}, "There is no folder .*dir"),
    "unknown subject": (None, dict(subject="subj02"), "holds no subj02 but subj01, subj03"),
    "unknown release": (None, dict(release="new"), "'new' is no release of dir; allowed values are original, fmriprep"),
    "absent release": (
        None,
        dict(release="fmriprep"),
        r"holds .*train \(original\).* not both train and test of fmriprep",
    ),
    "no test": (
        lambda made: (made.root / f"sub-01_{made.names['test']}.h5").unlink(),
        {},
        "not both train and test of one release; add the other file",
    ),
    "no stimuli": (
        lambda made: made.write(1, "train", key="Block"),
        {},
        "has .*Block; expected one of stimulus_id, Label",
    ),
    "other voxels": (
        other_voxels,
        dict(roi="all"),
        r"Test_original_VC.h5 has 15 voxels in the roi but .*Training.* 16",
    ),
    "moved voxels": (moved_voxels, dict(roi="all"), "2 of 16 voxels have another voxel_y in .*Test_original_VC.h5"),
    "unknown roi": (None, dict(roi="V9"), "Training_original_VC.h5 has no roi 'V9'"),
    "truncated": (
        lambda made: cut(made.root / f"sub-01_{made.names['letters']}.h5"),
        {},
        "Letter.* cannot be read as HDF5",
    ),
}


@pytest.mark.parametrize("case", DIR_CASES)
def test_dir_tells_what_is_wrong_in_one_sentence(tmp_path, case):
    written = Dir(tmp_path / "dir")
    spoil, asked, told = DIR_CASES[case]
    if spoil:
        spoil(written)
    with pytest.raises(InputError, match=told) as caught:
        deep_image_reconstruction.load(written.root, **asked)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
