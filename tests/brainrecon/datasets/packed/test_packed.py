"""Packed layouts, each written here from its description alone: with numpy, h5py and scipy, not with the toolkit."""

import json
import re
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from brainrecon.datasets.packed import files as packed_files
from brainrecon.datasets.packed import reader as packed
from stages.ground.errors import InputError

N_VOXELS, SIZE = 7, 6


@dataclass
class Written:
    """What was written: for each split the rows in file order, responses and pictures as they must come back."""

    root: Path
    responses: dict = field(default_factory=dict)  # split -> (n_trials, n_voxels)
    pictures: dict = field(default_factory=dict)  # split -> uint8 (n_trials, SIZE, SIZE, 3), one per trial
    extra: dict = field(default_factory=dict)


def check_round_trip(subject, written, rtol=1e-6):
    """Every trial's response and picture is what was written."""
    for name, split in subject.splits.items():
        np.testing.assert_allclose(split.betas[:], written.responses[name], rtol=rtol)
        places = {stimulus: place for place, stimulus in enumerate(split.stimulus_ids)}
        shown = split.images[np.array([places[stimulus] for stimulus in split.trial_stimulus_ids])]
        assert shown.dtype == np.uint8
        np.testing.assert_array_equal(shown, written.pictures[name])
        check_indexing(split.betas, written.responses[name], rtol)
        check_indexing(split.images, split.images[:], 0)


def check_indexing(lazy, values, rtol):
    """A lazy array is indexed as the array of its values is."""
    n = len(values)
    rng = np.random.default_rng(n)
    assert lazy.shape == values.shape and len(lazy) == n
    for index in (
        0,
        -1,
        slice(None),
        slice(1, n, 2),
        slice(n, 0, -1),
        rng.integers(-n, n, 9),
        rng.random(n) < 0.5,
        [],
        [1, 0],
    ):
        index = np.array(index, dtype=int) if isinstance(index, list) else index
        np.testing.assert_allclose(lazy[index], values[index], rtol=rtol)
    np.testing.assert_allclose(np.asarray(lazy), values, rtol=rtol)
    if values.ndim == 2:
        columns = rng.random(values.shape[1]) < 0.5
        np.testing.assert_allclose(lazy[0:3, columns], values[0:3, columns], rtol=rtol)
        np.testing.assert_allclose(lazy[1, 2], values[1, 2], rtol=rtol)


# Brain-Diffuser ------------------------------------------------------------------------------------------------------


def bd_file(root, split, part, number=1):
    return root / f"subj{number:02d}" / f"nsd_{split}_{part}_sub{number}.npy"


def write_brain_diffuser(root, seed=0, number=1, picture_type=np.float64, base="processed_data"):
    rng, written = np.random.default_rng(seed), Written(root)
    folder = root / base
    (folder / f"subj{number:02d}").mkdir(parents=True)
    written.extra = {"folder": folder, "captions": {}}
    for split, n in (("train", 11), ("test", 5)):
        raw = rng.normal(0, 900, (n, N_VOXELS))
        pictures = rng.integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
        captions = np.array([[f"é {split} {row}, {j}" if j < 3 else "" for j in range(5)] for row in range(n)])
        np.save(bd_file(folder, split, "fmriavg_nsdgeneral", number), raw)
        np.save(bd_file(folder, split, "stim", number), pictures.astype(picture_type))
        np.save(bd_file(folder, split, "cap", number), captions)
        written.responses[split], written.pictures[split] = raw / 300, pictures
        written.extra["captions"][split] = [[text for text in row if text] for row in captions.tolist()]
    return written


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("picture_type", [np.float64, np.uint8])
def test_brain_diffuser(tmp_path, seed, picture_type):
    written = write_brain_diffuser(tmp_path / "bd é", seed, picture_type=picture_type)
    for path in (written.root, written.extra["folder"], written.extra["folder"] / "subj01"):
        assert packed.subjects(path) == ["subj01"]
    subject = packed.load(written.root)
    check_round_trip(subject, written)
    assert subject.train.stimulus_ids[:2].tolist() == ["train00000", "train00001"]
    assert subject.test.captions == written.extra["captions"]["test"]
    assert subject.roi == "nsdgeneral" and subject.noise_ceiling is None and subject.details["divisor"] == 300
    np.testing.assert_allclose(subject.test.patterns, written.responses["test"], rtol=1e-6)
    assert subject.test.repeats.tolist() == [1] * 5
    assert all(file.is_file() for file, _ in packed.files(written.root))


def test_the_fingerprint_is_of_what_was_shown(tmp_path):
    prints = [
        packed.load(write_brain_diffuser(tmp_path / str(k), seed).root).fingerprint for k, seed in enumerate((0, 0, 1))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_subjects_of_brain_diffuser(tmp_path):
    write_brain_diffuser(tmp_path, 0, number=7)
    second = write_brain_diffuser(tmp_path, 1, number=2)
    assert packed.subjects(tmp_path) == ["subj02", "subj07"]
    check_round_trip(packed.load(tmp_path), second)
    assert packed.load(tmp_path, "subj07").name == "subj07"
    one = bd_file(second.extra["folder"], "train", "fmriavg_nsdgeneral", 7)
    assert packed.load(one).name == "subj07"


@pytest.mark.parametrize(
    "captions, told",
    [
        (np.array([["a"], ["b"], [None], ["d"], ["e"]], dtype=object), "pickled Python objects"),
        (np.array([["a"], ["b"], [""], ["d"], ["e"]]), "row 2 of .* has none"),
        (np.zeros((5, 2)), "not text"),
        (None, "there is no .*nsd_test_cap_sub1.npy"),
    ],
)
def test_without_usable_captions_the_subject_loads_and_says_so(tmp_path, captions, told):
    written = write_brain_diffuser(tmp_path)
    file = bd_file(written.extra["folder"], "test", "cap")
    file.unlink()
    if captions is not None:
        np.save(file, captions, allow_pickle=True)
    subject = packed.load(tmp_path)
    check_round_trip(subject, written)
    assert subject.test.captions is None and subject.train.has_captions
    assert any(re.search(f"no test captions: .*{told}", note) for note in subject.notes)


def test_pictures_of_many_gigabytes_are_not_loaded(tmp_path):
    folder = tmp_path / "subj01"
    folder.mkdir()
    for split, n in (("train", 8859), ("test", 982)):
        np.lib.format.open_memmap(bd_file(tmp_path, split, "stim"), "w+", float, (n, 425, 425, 3))
        np.lib.format.open_memmap(bd_file(tmp_path, split, "fmriavg_nsdgeneral"), "w+", float, (n, 15724))
    stored = np.lib.format.open_memmap(bd_file(tmp_path, "train", "stim"), "r+")
    stored[8000] = 77.0
    del stored
    tracemalloc.start()
    subject = packed.load(tmp_path)
    assert subject.train.images.shape == (8859, 425, 425, 3)
    assert (subject.train.images[8000] == 77).all() and not subject.train.betas[[5, 8858]].any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20


def test_blocks_do_not_change_what_is_read(tmp_path, monkeypatch):
    written = write_brain_diffuser(tmp_path)
    monkeypatch.setattr(packed_files, "BLOCK_BYTES", 3 * N_VOXELS * 8)
    check_round_trip(packed.load(tmp_path), written)


# MindEye2 ------------------------------------------------------------------------------------------------------------


def write_mindeye2(
    root,
    seed=0,
    number=1,
    n_trials=18,
    stimpattern=True,
    name="betas_all_subj{:02d}_fp32_renorm.hdf5",
    design_at="nsddata/experiments/nsd",
):
    """Three sessions of two runs (5 and 4 trials) are planned; `n_trials` of the 27 were measured."""
    rng, written = np.random.default_rng(seed), Written(root)
    root.mkdir(parents=True, exist_ok=True)
    n_pictures, n_shared, n_all = 9, 4, 30
    numbers = rng.permutation(n_all)
    subjectim = np.stack([np.r_[numbers[:4], numbers[4 + 5 * row : 9 + 5 * row]] for row in range(3)]) + 1
    masterordering = rng.permutation(np.resize(np.arange(1, n_pictures + 1), 27))
    masterordering[:6] = [1, 9, 2, 1, 8, 9]
    slots = np.zeros((3, 2, 7), dtype=np.uint8)
    slots[:, 0, 1:6], slots[:, 1, 2:6] = 1, 1
    content = {
        "masterordering": masterordering[None],
        "subjectim": subjectim,
        "sharedix": np.sort(numbers[:4])[None] + 1,
    }
    design = root / design_at / "nsd_expdesign.mat"
    design.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(
        design,
        {key: value.astype(float) for key, value in content.items()} | ({"stimpattern": slots} if stimpattern else {}),
    )
    betas = rng.normal(size=(n_trials, N_VOXELS)).astype(np.float32)
    levels = rng.integers(0, 256, (n_all, 3, SIZE, SIZE), dtype=np.uint8)
    written.extra = {
        "betas": root / name.format(number),
        "images": root / "coco_images_224_float16.hdf5",
        "design": design,
    }
    with h5py.File(written.extra["betas"], "w") as file:
        file["betas"] = betas
    with h5py.File(written.extra["images"], "w") as file:
        file["images"] = (levels / 255).astype(np.float16)
    shown = [int(subjectim[number - 1, order - 1]) - 1 for order in masterordering[:n_trials]]
    shared = [order <= n_shared for order in masterordering[:n_trials]]
    for split, wanted in (("train", False), ("test", True)):
        rows = [trial for trial in range(n_trials) if shared[trial] == wanted]
        written.responses[split] = betas[rows]
        written.pictures[split] = np.stack([np.moveaxis(levels[shown[trial]], 0, -1) for trial in rows])
        written.extra[split] = {"rows": rows, "ids": [f"nsd{shown[trial]:05d}" for trial in rows]}
    return written


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_trials", [18, 27, 13])
def test_mindeye2(tmp_path, seed, n_trials):
    written = write_mindeye2(tmp_path, seed, number=1 + seed % 3, n_trials=n_trials)
    subject = packed.load(tmp_path)
    check_round_trip(subject, written)
    for name, split in subject.splits.items():
        rows, ids = written.extra[name]["rows"], written.extra[name]["ids"]
        assert split.trial_stimulus_ids.tolist() == ids
        assert split.sessions.tolist() == [row // 9 + 1 for row in rows]
        assert split.runs.tolist() == [1 if row % 9 < 5 else 2 for row in rows]
        for place, stimulus in enumerate(split.stimulus_ids):
            mean = np.mean([response for response, name in zip(split.betas[:], ids) if name == stimulus], axis=0)
            np.testing.assert_allclose(split.patterns[place], mean, rtol=1e-5, atol=1e-6)
    sessions = -(-n_trials // 9)
    assert subject.details["sessions"] == list(range(1, sessions + 1)) and subject.details["n_trials"] == n_trials
    assert f"{sessions} of 3 sessions found" in subject.notes
    assert any("5 trials fewer" in note for note in subject.notes) == (n_trials == 13)
    assert all(file.is_file() for file, _ in packed.files(tmp_path))


def test_where_the_design_of_mindeye2_is_sought(tmp_path):
    written = write_mindeye2(tmp_path / "data", design_at="deep/below")
    check_round_trip(packed.load(tmp_path / "data"), written)
    elsewhere = tmp_path / "design.mat"
    written.extra["design"].rename(elsewhere)
    check_round_trip(packed.load(tmp_path / "data", design=str(elsewhere)), written)
    check_round_trip(packed.load(written.extra["betas"], design=elsewhere), written)


@pytest.mark.parametrize("design", [3, ["a"]])
def test_a_design_is_a_path(tmp_path, design):
    write_mindeye2(tmp_path)
    with pytest.raises(InputError, match="expected the path of nsd_expdesign.mat"):
        packed.load(tmp_path, design=design)


def test_mindeye2_without_renorm_and_stimpattern(tmp_path):
    written = write_mindeye2(tmp_path, name="betas_all_subj{:02d}_fp32.hdf5", stimpattern=False)
    subject = packed.load(tmp_path)
    check_round_trip(subject, written)
    assert subject.train.sessions is None and subject.train.runs is None
    assert any("lacks _renorm" in note for note in subject.notes) and any(
        "no stimpattern" in note for note in subject.notes
    )
    renormed = write_mindeye2(tmp_path, 1)
    subject = packed.load(tmp_path)
    check_round_trip(subject, renormed)
    assert not any("lacks _renorm" in note for note in subject.notes)


def test_mindeye2_of_full_size_is_not_loaded(tmp_path):
    written = write_mindeye2(tmp_path)
    rng = np.random.default_rng(0)
    subjectim = np.stack([np.r_[np.arange(1, 1001), 1000 + rng.permutation(72000)[:9000] + 1] for _ in range(2)])
    order = rng.permutation(np.repeat(np.arange(1, 10001), 3))
    scipy.io.savemat(
        written.extra["design"], {"masterordering": order, "subjectim": subjectim, "sharedix": np.arange(1, 1001)}
    )
    with h5py.File(written.extra["betas"], "w") as file:  # unallocated: no bytes on disk
        file.create_dataset("betas", (30000, 15724), "f4", chunks=(100, 15724))
    with h5py.File(written.extra["images"], "w") as file:
        file.create_dataset("images", (73000, 3, 224, 224), "f2", chunks=(1, 3, 224, 224))
    tracemalloc.start()
    subject = packed.load(tmp_path)
    assert (subject.train.n_trials, subject.train.n_stimuli, subject.test.n_stimuli) == (27000, 9000, 1000)
    assert subject.test.betas[1000:1256].shape == (256, 15724) and subject.train.images[-1].shape == (224, 224, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20


# MinD-Vis ------------------------------------------------------------------------------------------------------------


def write_mind_vis(root, seed=0, names=True, singles=True, name="sbj_3.npz", save=np.savez, **changes):
    rng, written = np.random.default_rng(seed), Written(root)
    root.mkdir(parents=True, exist_ok=True)
    n_train, n_test, repeats = 10, 4, 5
    train, test = rng.normal(size=(n_train, N_VOXELS)), rng.normal(size=(n_test * repeats, N_VOXELS))
    train_rows, test_rows = rng.permutation(n_train), rng.permutation(np.repeat(np.arange(n_test), repeats))
    averages = np.stack([test[test_rows == row].mean(axis=0) for row in range(n_test)])
    regions = {
        "V1": np.arange(N_VOXELS) < 3,
        "FFA": np.arange(N_VOXELS) == 4,
        "VC": np.arange(N_VOXELS) < 6,
        "PPA": np.zeros(N_VOXELS, bool),
    }
    content = {"arr_0": train, "arr_1": test, "arr_2": averages, "arr_3": train_rows, "arr_4": test_rows}
    content |= {"arr_5": rng.random(N_VOXELS), "arr_6": rng.random(N_VOXELS)} | regions
    if not singles:
        del content["arr_4"]
    content = {key: value for key, value in (content | changes).items() if value is not None}
    save(root / name, **content)
    levels = {
        part: rng.integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
        for part, n in (("train", n_train), ("test", n_test))
    }
    save(root / "images_256.npz", **{f"{part}_images": values / 255 for part, values in levels.items()})
    if names:
        for part, first in (("train", 1443537), ("test", 1621127)):
            lines = [f"{first + row}.{row:06d},n{first + row:08d}_{row}.JPEG,1" for row in range(len(levels[part]))]
            (root / f"imagenet_{part}ing_label.csv").write_text("\n".join(lines) + "\n")
        table = {"0": ["n01443537", "n01443538", "goldfish"], "1": ["n01621127", "frog"]}
        (root / "imagenet_class_index.json").write_text(json.dumps(table))
    written.extra = {"file": root / name, "content": content, "train": train_rows, "test": test_rows}
    written.responses = {"train": train, "test": test if singles else averages}
    written.pictures = {
        "train": levels["train"][train_rows],
        "test": levels["test"][test_rows if singles else slice(None)],
    }
    return written


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("singles", [True, False])
def test_mind_vis(tmp_path, seed, save, singles):
    written = write_mind_vis(tmp_path / "Kamitani/npz", seed, singles=singles, save=save)
    assert packed.subjects(tmp_path) == ["subj03"]
    check_round_trip(packed.load(tmp_path, roi="all"), written)
    subject = packed.load(written.extra["file"])
    assert subject.roi == "VC" and subject.n_voxels == 6 and subject.name == "subj03"
    np.testing.assert_allclose(subject.test.betas[:], written.responses["test"][:, :6], rtol=1e-6)
    assert {name: mask.sum() for name, mask in subject.rois.items()} == {"V1": 3, "FFA": 1, "VC": 6}
    assert packed.load(tmp_path, roi="FFA").n_voxels == 1
    mask = subject.rois["V1"] | subject.rois["FFA"]
    for roi, chosen in {"V1+FFA": mask, "VC - V1": ~subject.rois["V1"]}.items():
        np.testing.assert_array_equal(packed.load(tmp_path, roi=roi).test.betas[:], subject.test.betas[:][:, chosen])
    row = written.extra["train"][0]
    assert subject.train.trial_stimulus_ids[0] == f"n{1443537 + row:08d}_{row}"
    place = subject.train.stimulus_ids.tolist().index("n01443538_1")
    assert subject.train.categories[place] == ["goldfish"]
    assert ["frog"] in subject.test.categories and ["n01621128"] in subject.test.categories
    assert any("does not say which trial" in note for note in subject.notes) == (not singles)
    assert not any("arr_2" in note for note in subject.notes)
    assert all(file.is_file() for file, _ in packed.files(tmp_path))


def test_mind_vis_without_names(tmp_path):
    written = write_mind_vis(tmp_path, names=False, name="sub-3.npz", VC=None, arr_2=np.ones((4, N_VOXELS)))
    subject = packed.load(tmp_path)
    check_round_trip(subject, written)
    assert subject.roi == "all" and subject.train.categories is None
    assert subject.train.trial_stimulus_ids.tolist() == [f"train{row:05d}" for row in written.extra["train"]]
    assert any("are not those of its single trials" in note for note in subject.notes)
    assert sum("named after their rows" in note for note in subject.notes) == 2


def test_the_largest_pictures_are_taken(tmp_path):
    write_mind_vis(tmp_path)
    with np.load(tmp_path / "images_256.npz") as images:
        np.savez(tmp_path / "images_500.npz", **{name: np.repeat(values, 2, axis=1) for name, values in images.items()})
    subject = packed.load(tmp_path)
    assert subject.train.images.shape == (10, 2 * SIZE, SIZE, 3) and subject.details["pictures"] == "images_500.npz"


# What can be wrong ---------------------------------------------------------------------------------------------------


def cut(path, keep=0.6):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def change_npy(path, change):
    np.save(path, change(np.load(path)), allow_pickle=True)


def change_hdf5(path, name, change):
    with h5py.File(path, "r+") as file:
        values = change(file[name][:])
        del file[name]
        file[name] = values


def change_npz(path, **changes):
    with np.load(path) as content:
        new = dict(content) | changes
    np.savez(path, **{name: value for name, value in new.items() if value is not None})


def poke(values, place, value):
    values = values.copy()
    values[place] = value
    return values


def nothing_there(root):
    return root / "absent"


def no_layout(root):
    (root / "notes.txt").write_text("none")


def two_layouts(root):
    write_mindeye2(root)
    write_mind_vis(root)


def bd(change):
    """A Brain-Diffuser folder with one thing changed."""

    def spoil(root):
        change(write_brain_diffuser(root, base=".").root)

    return spoil


def me2(change, **options):
    def spoil(root):
        change(write_mindeye2(root, **options).extra)

    return spoil


def vis(change, **changes):
    def spoil(root):
        change(write_mind_vis(root, **changes).root)

    return spoil


def bd_betas(root, split="train"):
    return bd_file(root, split, "fmriavg_nsdgeneral")


def bd_stim(root, split="train"):
    return bd_file(root, split, "stim")


def as_objects(values):
    return values.astype(object)


CASES = {
    "nothing there": (nothing_there, {}, "There is no .*absent; give the folder"),
    "no layout": (no_layout, {}, r"holds none of the layouts .*Brain-Diffuser \(.*MindEye2 \(.*MinD-Vis \("),
    "two layouts": (two_layouts, {}, "holds the files of MindEye2 and MinD-Vis"),
    "unknown subject": (bd(lambda root: None), {"subject": "subj09"}, "holds no subj09 but subj01"),
    "design where none is needed": (bd(lambda root: None), {"design": "x.mat"}, "where no design is needed"),
    "bd: roi": (bd(lambda root: None), {"roi": "V1"}, "no roi 'V1', only nsdgeneral"),
    "bd: no test responses": (bd(lambda root: bd_betas(root, "test").unlink()), {}, "There is no .*nsd_test_fmriavg"),
    "bd: no pictures": (
        bd(lambda root: bd_stim(root).unlink()),
        {},
        "There is no .*nsd_train_stim_sub1.npy, which belongs",
    ),
    "bd: other rows": (
        bd(lambda root: change_npy(bd_stim(root), lambda values: values[1:])),
        {},
        "nsd_train_stim_sub1.npy has 10 rows but nsd_train_fmriavg_nsdgeneral_sub1.npy 11",
    ),
    "bd: other captions": (
        bd(lambda root: change_npy(bd_file(root, "test", "cap"), lambda values: values[1:])),
        {},
        "nsd_test_cap_sub1.npy has 4 rows but .* 5",
    ),
    "bd: other voxels": (
        bd(lambda root: change_npy(bd_betas(root), lambda values: values[:, 1:])),
        {},
        "nsd_train_fmriavg_nsdgeneral_sub1.npy has 6 voxels but nsd_test_fmriavg_nsdgeneral_sub1.npy 7",
    ),
    "bd: pickled": (bd(lambda root: change_npy(bd_betas(root), as_objects)), {}, "pickled Python objects.*astype"),
    "bd: truncated": (bd(lambda root: cut(bd_betas(root))), {}, "cannot be read as a .npy array"),
    "bd: truncated header": (bd(lambda root: cut(bd_betas(root), 0.05)), {}, "cannot be read as a .npy array"),
    "bd: empty": (bd(lambda root: bd_betas(root).write_bytes(b"")), {}, "cannot be read as a .npy array"),
    "bd: a pickle": (
        bd(lambda root: bd_betas(root).write_bytes(b"\x80\x04K\x01.")),
        {},
        "cannot be read as a .npy array",
    ),
    "bd: three dimensions": (
        bd(lambda root: change_npy(bd_betas(root), lambda values: values[:, None])),
        {},
        r"holds float64 \(11, 1, 7\); expected responses",
    ),
    "bd: no row": (
        bd(lambda root: change_npy(bd_betas(root), lambda values: values[:0])),
        {},
        r"holds float64 \(0, 7\)",
    ),
    "bd: NaN": (
        bd(lambda root: change_npy(bd_betas(root), lambda values: poke(values, (3, 2), np.nan))),
        {},
        "1 of 7 voxels hold NaN or infinite betas in .*nsd_train_fmriavg",
    ),
    "bd: channels first": (
        bd(lambda root: change_npy(bd_stim(root), lambda values: values.transpose(0, 3, 1, 2))),
        {},
        r"holds float64 \(11, 3, 6, 6\); expected pictures \(n, height, width, 3\)",
    ),
    "bd: too bright": (
        bd(lambda root: change_npy(bd_stim(root), lambda values: poke(values, (4, 1, 1, 1), 300))),
        {},
        "Pictures in .*nsd_train_stim_sub1.npy run from .* to 300; expected 0 to 255",
    ),
    "bd: NaN in a picture": (
        bd(lambda root: change_npy(bd_stim(root), lambda values: poke(values, (4, 1, 1, 1), np.nan))),
        {},
        "Pictures in .* run from nan",
    ),
    "bd: 0 to 1": (
        bd(lambda root: change_npy(bd_stim(root), lambda values: values / 255)),
        {},
        r"have \S+ as their highest value but 255 is white here",
    ),
    "me2: roi": (me2(lambda paths: None), {"roi": "V1"}, "no roi 'V1', only nsdgeneral"),
    "me2: no pictures": (me2(lambda paths: paths["images"].unlink()), {}, "There is no .*coco_images_224_float16.hdf5"),
    "me2: no design": (
        me2(lambda paths: paths["design"].unlink()),
        {},
        "There is no nsd_expdesign.mat in .* give its place",
    ),
    "me2: design not there": (me2(lambda paths: None), {"design": "absent.mat"}, "There is no absent.mat"),
    "me2: damaged design": (
        me2(lambda paths: cut(paths["design"])),
        {},
        "nsd_expdesign.mat cannot be read as a MATLAB",
    ),
    "me2: too many trials": (
        me2(lambda paths: change_hdf5(paths["betas"], "betas", lambda values: np.repeat(values, 2, axis=0))),
        {},
        "has 36 trials but .*nsd_expdesign.mat only 27",
    ),
    "me2: truncated": (me2(lambda paths: cut(paths["betas"])), {}, "renorm.hdf5 cannot be read as HDF5"),
    "me2: not HDF5": (me2(lambda paths: paths["images"].write_bytes(b"no")), {}, "float16.hdf5 cannot be read as HDF5"),
    "me2: other dataset": (
        me2(lambda paths: h5py.File(paths["betas"], "w").create_group("voxels").file.close()),
        {},
        "has no dataset 'betas' but voxels",
    ),
    "me2: one dimension": (
        me2(lambda paths: change_hdf5(paths["betas"], "betas", np.ravel)),
        {},
        r"holds float32 \(126,\); expected responses",
    ),
    "me2: NaN": (
        me2(lambda paths: change_hdf5(paths["betas"], "betas", lambda values: poke(values, (1, slice(2)), np.inf))),
        {},
        "2 of 7 voxels hold NaN or infinite betas in .*renorm.hdf5",
    ),
    "me2: fewer pictures": (
        me2(lambda paths: change_hdf5(paths["images"], "images", lambda values: values[:2])),
        {},
        r"Picture \d+ \(counted from 0\) was shown but .*float16.hdf5 holds 2",
    ),
    "me2: channels last": (
        me2(lambda paths: change_hdf5(paths["images"], "images", lambda values: np.moveaxis(values, 1, 3))),
        {},
        r"holds float16 \(30, 6, 6, 3\); expected pictures \(n, 3, height, width\)",
    ),
    "me2: 0 to 255": (
        me2(lambda paths: change_hdf5(paths["images"], "images", lambda values: values * 255)),
        {},
        "run from .* expected 0 to 1",
    ),
    "me2: no test trial": (
        me2(lambda paths: change_hdf5(paths["betas"], "betas", lambda values: values[:1])),
        {},
        "The 1 trials of .* hold no train trial",
    ),
    "me2: subject beyond the design": (
        me2(lambda paths: paths["betas"].rename(paths["betas"].with_name("betas_all_subj08_fp32_renorm.hdf5"))),
        {},
        "lists 3 subjects, so none is subj08",
    ),
    "vis: roi": (vis(lambda root: None), {"roi": "V9"}, "no roi 'V9' with voxels; it has V1, FFA, VC, all"),
    "vis: empty roi": (vis(lambda root: None), {"roi": "PPA"}, "no roi 'PPA' with voxels"),
    "vis: no images": (vis(lambda root: (root / "images_256.npz").unlink()), {}, "There is no images_256.npz in"),
    "vis: truncated": (vis(lambda root: cut(root / "sbj_3.npz")), {}, "sbj_3.npz cannot be read as .npz"),
    "vis: truncated images": (vis(lambda root: cut(root / "images_256.npz")), {}, "train_images of .* cannot be read"),
    "vis: pickled": (
        vis(lambda root: None, arr_0=np.ones((10, 7), object)),
        {},
        "sbj_3.npz holds pickled Python objects",
    ),
    "vis: no arr_3": (vis(lambda root: None, arr_3=None), {}, "has no arr_3 but arr_0, arr_1"),
    "vis: other rows": (
        vis(lambda root: None, arr_3=np.arange(9)),
        {},
        r"arr_3 of .* is int64 \(9,\) and arr_0 \(10, 7\)",
    ),
    "vis: other mask": (
        vis(lambda root: None, V2=np.ones(8, bool)),
        {},
        r"V2 of .* is bool \(8,\) and arr_0 \(10, 7\)",
    ),
    "vis: mask of numbers": (vis(lambda root: None, V2=np.ones(7)), {}, r"V2 of .* is float64 \(7,\)"),
    "vis: one dimension": (vis(lambda root: None, arr_0=np.ones(7)), {}, r"arr_0 of .* is float64 \(7,\)"),
    "vis: a number": (vis(lambda root: None, arr_0=np.ones(())), {}, r"arr_0 of .* is float64 \(\)"),
    "vis: NaN": (vis(lambda root: None, arr_0=np.full((10, 7), np.nan)), {}, "7 of 7 voxels hold NaN .* arr_0 of"),
    "vis: unknown picture": (
        vis(lambda root: None, arr_3=np.arange(10) + 5),
        {},
        "Picture 14 .*images_256.npz holds 10",
    ),
    "vis: counted from 1": (
        vis(lambda root: None, arr_4=np.repeat(np.arange(1, 5), 5)),
        {},
        "arr_4 of .* runs from 1 to 4",
    ),
    "vis: other pictures": (
        vis(lambda root: change_npz(root / "images_256.npz", train_images=np.ones((10, 3, 6, 6)))),
        {},
        r"images_256.npz holds float64 \(10, 3, 6, 6\)",
    ),
    "vis: no test images": (
        vis(lambda root: change_npz(root / "images_256.npz", test_images=None)),
        {},
        "test_images of .*images_256.npz cannot be read",
    ),
    "vis: pickled images": (
        vis(lambda root: change_npz(root / "images_256.npz", test_images=np.ones((4, 6, 6, 3), object))),
        {},
        "images_256.npz holds pickled Python objects",
    ),
    "vis: black": (
        vis(lambda root: change_npz(root / "images_256.npz", train_images=np.full((10, 6, 6, 3), 1 / 255))),
        {},
        "have 0.00392 as their highest value but 1 is white",
    ),
    "vis: 0 to 255": (
        vis(lambda root: change_npz(root / "images_256.npz", train_images=np.full((10, 6, 6, 3), 200.0))),
        {},
        "run from 200 to 200; expected 0 to 1",
    ),
    "vis: by columns": (
        vis(lambda root: change_npz(root / "images_256.npz", train_images=np.ones((3, 6, 6, 10)).T)),
        {},
        "is stored by columns",
    ),
    "vis: other labels": (
        vis(lambda root: (root / "imagenet_testing_label.csv").write_text("1.2,a.JPEG\n")),
        {},
        "imagenet_testing_label.csv names 1 pictures but there are 4",
    ),
    "vis: damaged labels": (
        vis(lambda root: (root / "imagenet_training_label.csv").write_text("a,b\n")),
        {},
        "imagenet_training_label.csv has a line that is not",
    ),
    "vis: damaged classes": (
        vis(lambda root: (root / "imagenet_class_index.json").write_text("[1]")),
        {},
        "imagenet_class_index.json is no table of classes",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence(case, tmp_path):
    spoil, asked, told = CASES[case]
    path = spoil(tmp_path) or tmp_path
    with pytest.raises(InputError, match=told) as caught:
        subject = packed.load(path, **asked)
        for split in subject.splits.values():
            split.patterns, split.images[:]
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and ". " not in message.replace(str(tmp_path), "")


def test_a_pickle_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    written = write_brain_diffuser(tmp_path, base=".")
    np.save(bd_file(tmp_path, "train", "cap"), np.array([Trap()] * 11), allow_pickle=True)
    packed.load(tmp_path)
    np.save(bd_betas(written.root), np.array([[Trap()]]), allow_pickle=True)
    with pytest.raises(InputError):
        packed.load(tmp_path)
    write_mind_vis(tmp_path / "vis", arr_1=np.array([Trap()]))
    with pytest.raises(InputError):
        packed.load(tmp_path / "vis")
    assert not (tmp_path / "ran").exists()


def test_files_of_nothing_are_those_of_all_layouts(tmp_path):
    names = {file.name for file, _ in packed.files(tmp_path, "subj02")}
    assert {"nsd_train_stim_sub2.npy", "betas_all_subj02_fp32_renorm.hdf5", "sbj_2.npz", "nsd_expdesign.mat"} <= names


def test_the_description_tells_whose_terms_hold():
    text = packed.DESCRIPTION.available + packed.DESCRIPTION.licence
    assert "terms of the originals hold" in text and "10.1038/s41593-021-00962-x" in packed.DESCRIPTION.citation
