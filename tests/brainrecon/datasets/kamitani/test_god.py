"""Generic Object Decoding against what was written."""

import os

import numpy as np
import pytest
from kamitani_files import SEEDS, God

from brainrecon.datasets.kamitani import god
from brainrecon.datasets.kamitani import stimuli as kamitani_stimuli
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError


@pytest.mark.parametrize("name", ["subj02", "sub-02", "Subject2", "2", 2])
def test_subjects_by_any_of_their_names(small, tmp_path, name):
    assert god.load(tmp_path / "god", name).name == "subj02"


@pytest.mark.parametrize("seed", SEEDS)
def test_god_is_what_was_written(tmp_path, seed):
    written = God(tmp_path, seed)
    assert god.subjects(tmp_path) == ["subj01", "subj02"]
    for number in (1, 2):
        subject = god.load(tmp_path, f"subj{number:02d}")
        assert isinstance(subject, Subject) and subject.roi == "VC" and subject.dataset == "god"
        vc = written.regions[number]["VC"]
        types, shown = np.array(written.types[number]), np.array(written.shown[number])
        for split, value in {"train": 1, "test": 2, "imagery": 3}.items():
            rows = types == value
            part = subject.splits[split]
            assert part.trial_stimulus_ids.tolist() == shown[rows].tolist()
            np.testing.assert_array_equal(
                np.asarray(part.betas), written.voxels[number][rows][:, vc].astype(np.float32)
            )
            np.testing.assert_array_equal(part.runs, written.runs[number][rows])
            assert part.sessions is None and part.images is None and part.captions is None
            assert part.categories == [[name[:9]] for name in part.stimulus_ids]
        assert set(subject.rois) == {"V1", "V2", "LOC", "VC"}
        for name, mask in subject.rois.items():
            np.testing.assert_array_equal(mask, written.regions[number][name][vc])
        assert (subject.test.repeats == 3).all() and (subject.train.repeats == 1).all()
        assert subject.details["files"] == [f"Subject{number}.h5"]
        assert subject.details["counts"]["test"] == {"samples": 12, "stimuli": 4}
        assert any("forms.gle" in note for note in subject.notes)
    assert god.load(tmp_path).name == "subj01"


@pytest.mark.parametrize("key", ["stimulus_id", "stimulus_name"])
def test_stimuli_by_what_the_file_says_its_numbers_stand_for(tmp_path, key):
    written = God(tmp_path)
    folder = written.draw_pictures()
    order = [*written.train, *written.test, *written.imagined]
    table = {f"{place + 1}.0": f"{name}.JPEG" if "_" in name else name for place, name in enumerate(order)}
    numbers = [order.index(name) + 1.0 for name in written.shown[1]]
    written.write(1, codes=numbers, labels={key: table}, key=key)
    subject = god.load(tmp_path, "subj01")
    types, shown = np.array(written.types[1]), np.array(written.shown[1])
    for split, value in {"train": 1, "test": 2, "imagery": 3}.items():
        assert subject.splits[split].trial_stimulus_ids.tolist() == shown[types == value].tolist()
    # So pictures are found by name, and categories by synset.
    files = [file.stem for file in subject.test.images.paths]
    assert files == subject.test.stimulus_ids.tolist() and folder.is_dir()
    assert subject.test.categories == [[name[:9]] for name in subject.test.stimulus_ids]
    del table["2.0"]
    written.write(1, codes=numbers, labels={key: table}, key=key)
    with pytest.raises(InputError, match=f"labels for .* numbers of {key} but none for 2"):
        god.load(tmp_path, "subj01")


@pytest.mark.parametrize("seed", SEEDS)
def test_regions_by_name_and_expression(tmp_path, seed):
    written = God(tmp_path, seed)
    regions = written.regions[1]
    expected = {
        "V1": regions["V1"],
        "ROI_V1": regions["V1"],
        "V1 + ROI_LOC": regions["V1"] | regions["LOC"],
        "VC - (V1 | V2)": regions["VC"] & ~regions["V1"] & ~regions["V2"],
        "V*": regions["VC"],
        "all": np.ones_like(regions["V1"]),
        "ROI_V1 = 1": regions["V1"],
    }
    train = np.array(written.types[1]) == 1
    for roi, mask in expected.items():
        subject = god.load(tmp_path, roi=roi)
        np.testing.assert_array_equal(subject.train.betas[:], written.voxels[1][train][:, mask].astype(np.float32))
        assert subject.roi == roi
    assert god.load(tmp_path, roi="V1").fingerprint == god.load(tmp_path, roi="V2").fingerprint


@pytest.mark.parametrize("seed", SEEDS)
def test_betas_are_sliced_as_arrays_are(tmp_path, seed):
    betas = god.load(God(tmp_path, seed).root).train.betas
    whole = np.asarray(betas)
    rng = np.random.default_rng(seed)
    assert betas.dtype == whole.dtype == np.float32 and betas.shape == whole.shape and len(betas) == len(whole)
    rows, columns = rng.integers(0, len(whole), 7), rng.permutation(whole.shape[1])[:4]
    some = rng.random(len(whole)) < 0.5
    for index in (3, -1, slice(2, 9, 3), slice(None, None, -1), rows, some, [0], np.int64(2)):
        np.testing.assert_array_equal(betas[index], whole[index])
        np.testing.assert_array_equal(betas[index, columns], whole[index][..., columns])
        np.testing.assert_array_equal(betas[index, 1:3], whole[index][..., 1:3])
        np.testing.assert_array_equal(betas[index, 2], whole[index][..., 2])


@pytest.mark.parametrize("storage", [{"dtype": ">f8"}, {"compression": "gzip", "chunks": (4, 3)}], ids=str)
def test_other_storage_reads_the_same(tmp_path, storage):
    plain, other = God(tmp_path / "plain"), God(tmp_path / "ordner mit Ä und Leerzeichen", **storage)
    for split, part in god.load(plain.root).splits.items():
        np.testing.assert_array_equal(part.patterns, god.load(other.root).splits[split].patterns)


def test_a_folder_that_cannot_be_written_to(small):
    small.draw_pictures()
    for folder, _, files in os.walk(small.root):
        for name in files:
            os.chmod(os.path.join(folder, name), 0o444)
        os.chmod(folder, 0o555)
    assert god.load(small.root).test.images.shape == (4, 8, 9, 3)
    for folder, _, _ in os.walk(small.root):
        os.chmod(folder, 0o755)


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: f"{name}.JPEG",
        lambda name: f"{name}.jpg",
        lambda name: f"{name}.png",
        lambda name: f"{int(name[1:9])}.{int(name[10:]):06d}.png",
    ],
)
def test_pictures_are_joined_by_name(small, tmp_path, spell):
    folder = small.draw_pictures(tmp_path / "elsewhere", spell)
    (folder / "readme.txt").write_text("no picture")
    subject = god.load(small.root, images=folder)
    order = [*small.train, *small.test]
    for split in (subject.train, subject.test):
        assert split.images.shape == (split.n_stimuli, 8, 9, 3)
        for name, picture in zip(split.stimulus_ids, split.images):
            colour = np.random.default_rng(order.index(name)).integers(0, 256, 3)
            np.testing.assert_array_equal(picture, np.broadcast_to(colour, (8, 9, 3)))
    assert subject.splits["imagery"].images is None and any("no pictures for imagery" in note for note in subject.notes)
    assert subject.fingerprint != god.load(small.root).fingerprint


def test_pictures_of_several_sizes(small):
    small.draw_pictures(sizes=((9, 8), (12, 7)))
    with pytest.raises(InputError, match=r"is (9 x 8|12 x 7) pixels but .* (9 x 8|12 x 7); pass image_size=[78]"):
        god.load(small.root)
    assert god.load(small.root, image_size=6).train.images.shape == (12, 6, 6, 3)


def test_names_of_categories(small):
    synset = next(iter(small.train))[:9]
    (small.root / "class_names.csv").write_text(f"{synset},ostrich\n")
    subject = god.load(small.root)
    for name, categories in zip(subject.train.stimulus_ids, subject.train.categories):
        assert categories == (["ostrich"] if name.startswith(synset) else [name[:9]])


def test_what_a_file_leaves_open_is_told(small):
    small.voxels[1][:, 0] = 2.5
    small.regions[1]["V1"][0] = True
    small.write(1, drop=("VC",))
    subject = god.load(small.root)
    assert subject.roi == "all" and subject.n_voxels == 21
    assert "Subject1.h5 marks no ROI_VC, so all 21 voxels were taken" in subject.notes
    assert "1 of 21 voxels have one value in all training samples" in subject.notes
    codes = [
        float("nan") if place < 5 else (small.train | small.test | small.imagined)[name]
        for place, name in enumerate(small.shown[1])
    ]
    small.write(1, codes=codes, marked=())
    subject = god.load(small.root, roi="all")
    assert subject.n_voxels == small.regions[1]["VC"].sum()
    assert sum(split.n_trials for split in subject.splits.values()) == len(codes) - 5
    small.write(1, types=[4 if value == 3 else value for value in small.types[1]])
    subject = god.load(small.root)
    assert list(subject.splits) == ["train", "test"] and "no imagery in Subject1.h5" in subject.notes


def test_codes_are_names():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        synset, picture = int(rng.integers(4475, 15_300_000)), int(rng.integers(1, 1_000_000))
        code = synset + picture / 10**6
        for value in (code, np.nextafter(code, 0), np.nextafter(code, 1e9), float(f"{synset}.{picture:06d}")):
            assert kamitani_stimuli.name_of_code(value) == f"n{synset:08d}_{picture}"
        assert kamitani_stimuli.name_of_text(f"{synset:07d}.{picture:06d}") == f"n{synset:08d}_{picture}"
    assert kamitani_stimuli.name_of_code(1518878.010042) == "n01518878_10042"
    assert kamitani_stimuli.name_of_code(1518878.0) == "n01518878"
    assert (
        kamitani_stimuli.name_of_code(7.0, "letters") == "letters_7"
        and kamitani_stimuli.name_of_code(10.5) == "stimulus_10.5"
    )
    assert kamitani_stimuli.name_of_code(float("nan")) == ""
    assert kamitani_stimuli.name_of_text("n01518878_10042.JPEG") == "n01518878_10042"
    assert kamitani_stimuli.name_of_text("triangle_red") == "triangle_red"


def test_god_lists_its_files(small):
    rows = god.files(small.root)
    assert [path.name for path, *_ in rows] == [
        "Subject1.h5",
        "Subject2.h5",
        "images",
        "ImageFeatures.h5",
        "class_names.csv",
    ]
    assert god.files(small.root, "subj03")[0][0].name == "Subject3.h5"
    assert god.files(small.root / "absent")[0][0].name == "Subject1.h5" and god.subjects(small.root / "absent") == []
    small.draw_pictures()
    assert god.files(small.root, "subj01")[1][0].is_file()
