"""The Kamitani laboratory's datasets against files written from their description alone, with h5py and Pillow."""

import os

import h5py
import numpy as np
import pytest
from PIL import Image

from brainrecon.datasets.kamitani import deep_image_reconstruction, god
from brainrecon.datasets.kamitani import stimuli as kamitani_stimuli
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError

SEEDS = range(4)
AREAS = ("V1", "V2", "LOC")


def write_bdata(path, voxels, regions, columns, labels=None, marked=("VoxelData",), **storage):
    """Voxels first, then the facts of each sample; a key's row is 1 at its columns and NaN elsewhere."""
    facts = [np.reshape(values, (len(voxels), -1)) for values in columns.values()]
    matrix = np.concatenate([voxels, *facts], axis=1)
    n_voxels, width = voxels.shape[1], matrix.shape[1]
    rows, place = {}, n_voxels
    for name in marked:
        rows[name] = np.r_[np.ones(n_voxels), np.full(width - n_voxels, np.nan)]
    for name, mask in regions.items():
        rows[f"ROI_{name}"] = np.full(width, np.nan)
        rows[f"ROI_{name}"][:n_voxels][mask] = 1
    for axis in "xyz":
        rows[f"voxel_{axis}"] = np.r_[np.arange(n_voxels) * 3.0, np.full(width - n_voxels, np.nan)]
    for (name, _), values in zip(columns.items(), facts):
        rows[name] = np.full(width, np.nan)
        rows[name][place : place + values.shape[1]] = 1
        place += values.shape[1]
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset", data=matrix.astype(storage.pop("dtype", "<f8")), **storage)
        file["metadata/key"] = np.array([name.encode() for name in rows])
        file["metadata/description"] = np.array([b""] * len(rows))
        file["metadata/value"] = np.stack(list(rows.values()))
        for key, table in (labels or {}).items():
            for number, label in table.items():
                file[f"vmap/{key}/{number}"] = label.encode()
    return path


def draw_regions(rng, n_voxels):
    area = rng.integers(0, len(AREAS) + 1, n_voxels)
    area[: len(AREAS) + 1] = range(len(AREAS) + 1)
    regions = {name: area == place for place, name in enumerate(AREAS)}
    return regions | {"VC": area < len(AREAS), "FFA": np.zeros(n_voxels, bool)}


def draw_stimuli(rng, n, synsets):
    """(code as the files have it, name) of n pictures."""
    stimuli = {}
    while len(stimuli) < n:
        synset, picture = int(rng.choice(synsets)), int(rng.integers(1, 200_000))
        stimuli[f"n{synset:08d}_{picture}"] = float(f"{synset}.{picture:06d}")
    return stimuli


class God:
    """Two subjects of a small GOD."""

    def __init__(self, root, seed=0, n_train=12, n_test=4, repeats=3, **storage):
        rng = np.random.default_rng(seed)
        self.root, self.rng, self.seed = root, rng, seed
        root.mkdir(parents=True, exist_ok=True)
        synsets = rng.choice(np.arange(1_400_000, 13_100_000), 8, replace=False)
        self.train, self.test = draw_stimuli(rng, n_train, synsets[:5]), draw_stimuli(rng, n_test, synsets[5:])
        self.imagined = {name[:9]: float(name[1:9]) for name in self.test}
        self.shown, self.types, self.voxels, self.regions, self.runs = {}, {}, {}, {}, {}
        for number in (1, 2):
            trials = [(1, name) for name in self.train] + [(2, name) for name in self.test for _ in range(repeats)]
            trials += [(3, name) for name in self.imagined for _ in range(2)]
            trials = [trials[place] for place in rng.permutation(len(trials))]
            self.types[number], self.shown[number] = map(list, zip(*trials))
            n_voxels = 20 + number
            self.voxels[number] = rng.normal(size=(len(trials), n_voxels)).astype(np.float32).astype(float)
            self.regions[number] = draw_regions(rng, n_voxels)
            self.runs[number] = rng.integers(1, 5, len(trials))
            self.write(number, **storage)

    def write(self, number=1, drop=(), labels=None, marked=("VoxelData",), types=None, codes=None, **storage):
        all_codes = self.train | self.test | self.imagined
        columns = {
            "Run": self.runs[number],
            "DataType": self.types[number] if types is None else types,
            "stimulus_id": [all_codes[name] for name in self.shown[number]] if codes is None else codes,
        }
        columns = {name: values for name, values in columns.items() if name not in drop}
        regions = {name: mask for name, mask in self.regions[number].items() if name not in drop}
        return write_bdata(self.file(number), self.voxels[number], regions, columns, labels, marked, **storage)

    def file(self, number=1):
        return self.root / f"Subject{number}.h5"

    def draw_pictures(self, folder=None, spell=lambda name: f"{name}.JPEG", sizes=((9, 8),)):
        folder = folder or self.root / "images"
        for place, name in enumerate([*self.train, *self.test]):
            width, height = sizes[place % len(sizes)]
            file = folder / ("training" if name in self.train else "test") / spell(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            colour = tuple(int(value) for value in np.random.default_rng(place).integers(0, 256, 3))
            Image.new("RGB", (width, height), colour).save(file, format="PNG")
        return folder


@pytest.fixture
def small(tmp_path):
    return God(tmp_path / "god")


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
    assert [path.name for path, _ in rows] == ["Subject1.h5", "Subject2.h5", "images", "class_names.csv"]
    assert god.files(small.root, "subj03")[0][0].name == "Subject3.h5"
    assert god.files(small.root / "absent")[0][0].name == "Subject1.h5" and god.subjects(small.root / "absent") == []
    small.draw_pictures()
    assert god.files(small.root, "subj01")[1][0].is_file()


# ---- deep image reconstruction


class Dir:
    """Two subjects of a small DIR: `Label` has the picture's number first and its code second."""

    NAMES = {
        "train": "perceptionNaturalImageTraining_original_VC",
        "test": "perceptionNaturalImageTest_original_VC",
        "shapes": "perceptionArtificialImage_original_VC",
        "letters": "perceptionLetterImage_original_VC",
        "imagery": "imagery_original_VC",
    }
    FMRIPREP = {
        "train": "ImageNetTraining_fmriprep_volume_native",
        "test": "ImageNetTest_fmriprep_volume_native",
        "imagery": "Imagery_fmriprep_volume_native",
    }

    def __init__(self, root, seed=0, names=None):
        rng = np.random.default_rng(seed)
        self.root, self.names = root, names or self.NAMES
        root.mkdir(parents=True, exist_ok=True)
        self.codes = {
            "train": draw_stimuli(rng, 10, [1_518_878, 2_128_385]),
            "test": draw_stimuli(rng, 4, [11_111_111, 3_333_333]),
            "shapes": {f"shapes_{number}": float(number) for number in range(1, 6)},
            "letters": {f"letters_{number}": float(number) for number in range(1, 4)},
            "imagery": {f"imagery_{number}": float(number) for number in range(1, 5)},
        }
        self.shown, self.voxels, self.regions = {}, {}, {}
        for number in (1, 3):
            self.regions[number] = draw_regions(rng, 15 + number)
            for split, stem in self.names.items():
                shown = [name for name in self.codes[split] for _ in range(3)]
                self.shown[number, split] = [shown[place] for place in rng.permutation(len(shown))]
                self.voxels[number, split] = rng.normal(size=(len(shown), 15 + number)).astype(np.float32).astype(float)
                self.write(number, split, stem)

    def write(self, number, split, stem=None, key="Label", labels=None, values=None, **changes):
        shown = self.shown[number, split]
        order = list(self.codes[split])
        codes = np.array([self.codes[split][name] for name in shown])
        if values is None:
            values = np.c_[[order.index(name) + 1 for name in shown], codes]
        columns = {"Session": np.ones(len(shown)), "Run": np.arange(len(shown)) // 5 + 1, key: values}
        path = self.root / f"sub-{number:02d}_{stem or self.names[split]}.h5"
        voxels = changes.get("voxels", self.voxels[number, split])
        return write_bdata(path, voxels, changes.get("regions", self.regions[number]), columns, labels)


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
    assert all(path.is_file() for path, _ in files[:8]) and len(files) == 10
    assert [path.name for path, _ in deep_image_reconstruction.files(tmp_path / "absent")[:2]] == [
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


# ---- what goes wrong


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def rewrite(path, name, value=None):
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value


def spoil_value(god):
    god.voxels[1][np.array(god.types[1]) == 2, 0] = np.nan
    god.regions[1]["VC"][0] = True
    god.write(1)


def overlap(god):
    codes = [
        code if kind != 2 else next(iter(god.train.values()))
        for kind, code in zip(god.types[1], [(god.train | god.test | god.imagined)[name] for name in god.shown[1]])
    ]
    god.write(1, codes=codes)


def lose_pictures(god):
    god.draw_pictures()
    (god.root / "images/test" / f"{next(iter(god.test))}.JPEG").unlink()


def spoil_picture(god):
    god.draw_pictures()
    (god.root / "images/training" / f"{next(iter(god.train))}.JPEG").write_bytes(b"no picture")


def move(god):
    god.root.rename(god.root.parent / "moved")


def unlink_all(god):
    for number in (1, 2):
        god.file(number).unlink()


GOD_CASES = {
    "no folder": (move, {}, "There is no folder .*god; give the folder that holds Subject1.h5"),
    "empty folder": (unlink_all, {}, "god holds no Subject1.h5 or other subject"),
    "unknown subject": (None, dict(subject="subj07"), "holds no subj07 but subj01, subj02"),
    "truncated": (lambda god: cut(god.file()), {}, "Subject1.h5 cannot be read as HDF5"),
    "no hdf5": (lambda god: god.file().write_text("no" * 2000), {}, "Subject1.h5 cannot be read as HDF5"),
    "no dataset": (lambda god: rewrite(god.file(), "dataset"), {}, "Subject1.h5 holds metadata; expected /dataset"),
    "other width": (
        lambda god: rewrite(god.file(), "metadata/value", np.ones((12, 9))),
        {},
        "has 24 columns .* describe 9 columns",
    ),
    "no DataType": (lambda god: god.write(1, drop=("DataType",)), {}, "expected DataType and stimulus_id"),
    "no stimulus_id": (lambda god: god.write(1, drop=("stimulus_id",)), {}, "expected DataType and stimulus_id"),
    "no test samples": (
        lambda god: god.write(1, types=[1 if kind == 2 else kind for kind in god.types[1]]),
        {},
        r"has samples of DataType 1, 3; expected 1 \(train\) and 2 \(test\)",
    ),
    "unknown DataType": (lambda god: god.write(1, types=[9] * len(god.types[1])), {}, "has samples of DataType 9;"),
    "no codes": (lambda god: god.write(1, codes=[np.nan] * len(god.types[1])), {}, "has no sample for the split train"),
    "coarse codes": (lambda god: god.write(1, dtype="<f4"), {}, "stores float32 numbers, too coarse"),
    "a picture in both splits": (overlap, {}, "1 stimuli are in both train and test"),
    "unknown roi": (None, dict(roi="V9"), "Subject1.h5 has no 'V9'; it has V1, V2, LOC, VC, FFA"),
    "roi without voxels": (None, dict(roi="FFA"), "The roi 'FFA' has no voxel in .*Subject1.h5; choose among ROI_V1"),
    "roi of no voxel": (None, dict(roi="Run"), "The roi 'Run' has no voxel"),
    "bad expression": (None, dict(roi="V1 + ("), r"The selection 'V1 \+ \(' cannot be read"),
    "nan": (spoil_value, {}, r"1 of \d+ voxels hold NaN or infinite betas in .*Subject1.h5"),
    "no such picture folder": (None, dict(images="/nowhere/at/all"), "There is no folder /nowhere/at/all"),
    "missing pictures": (lose_pictures, {}, r"images has no picture for 1 of 4 test stimuli, the first is n\d{8}_\d+"),
    "no pictures at all": (lambda god: (god.root / "images").mkdir(), {}, "images has no picture for 12 of 12 train"),
    "unreadable picture": (spoil_picture, {}, r"n\d{8}_\d+.JPEG cannot be read as a picture"),
    "bad size": (lambda god: god.draw_pictures() and None, dict(image_size="big"), "image_size is 'big'; expected"),
}


@pytest.mark.parametrize("case", GOD_CASES)
def test_god_tells_what_is_wrong_in_one_sentence(small, case):
    spoil, asked, told = GOD_CASES[case]
    if spoil:
        spoil(small)
    with pytest.raises(InputError, match=told) as caught:
        subject = god.load(small.root, **asked)
        subject.train.patterns, subject.test.patterns
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


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
    "unknown roi": (None, dict(roi="V9"), "Training_original_VC.h5 has no 'V9'"),
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


@pytest.mark.parametrize(
    "options, told",
    [
        ({"images": 3}, "images is 3; expected the path of a folder"),
        ({"images": ["a"]}, "expected the path of a folder"),
        ({"image_size": 100_000}, "expected a number of pixels up to 4,096"),
        ({"image_size": 0}, "expected a number of pixels"),
        ({"image_size": True}, "expected a number of pixels"),
    ],
)
def test_options_of_another_type(small, options, told):
    small.draw_pictures()
    with pytest.raises(InputError, match=told):
        god.load(small.root, **options)
