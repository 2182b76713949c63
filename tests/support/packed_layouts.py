"""The packed layouts, each written here from its description alone: with numpy, h5py and scipy, not with the toolkit."""

import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image

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


def npy(values):
    """The bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


def write_tar(path, members):
    """A .tar of names and bytes, or types and targets of links."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                entry.type, entry.linkname = content
                archive.addfile(entry)


def write_mindeye1(root, seed=0, number=1, base="webdataset_avg_split", dtype="<f4", suffix="png", archives=(3, 1, 2)):
    """Samples of three rows; those of a picture that was shown once or twice are filled up by copies, in any order."""
    rng, written = np.random.default_rng(seed), Written(root)
    folder = root / base
    shown = rng.permutation(73_000)
    written.extra = {"folder": folder, "members": {}, "ids": {}, "rows": {}, "counts": {}}
    sample = 0
    for part, n_archives in zip(("train", "val", "test"), archives):
        responses, pictures, ids, all_rows, counts = [], [], [], [], []
        for archive in range(n_archives):
            members = []
            for _ in range(int(rng.integers(4, 8))):
                count = int(rng.integers(1, 4))
                trials = rng.normal(size=(count, N_VOXELS)).astype(dtype)
                order = rng.permutation([*range(count), *rng.integers(0, count, 3 - count)])
                rows = trials[order]
                first = [row for row in range(3) if order[row] not in order[:row]]
                picture = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
                file = io.BytesIO()
                Image.fromarray(picture).save(file, format="PNG")
                key = f"sample{sample:09d}"
                members += [
                    (f"{key}.coco73k.npy", npy(np.array([shown[sample]]))),
                    (f"{key}.{suffix}", file.getvalue()),
                    (f"{key}.nsdgeneral.npy", npy(rows)),
                    (f"{key}.num_uniques.npy", npy(np.array(count) if sample % 2 else np.array([count]))),
                    (f"{key}.trial.npy", npy(np.array([sample]))),
                ]
                responses += list(rows[first])
                pictures += [picture] * count
                ids += [f"nsd{shown[sample]:05d}"] * count
                all_rows.append(rows)
                counts.append(count)
                sample += 1
            path = folder / part / f"{part}_subj{number:02d}_{archive}.tar"
            write_tar(path, members)
            written.extra["members"][path] = members
        written.responses[part], written.pictures[part] = np.array(responses, np.float32), np.array(pictures)
        written.extra["ids"][part], written.extra["rows"][part] = ids, np.array(all_rows)
        written.extra["counts"][part] = counts
    totals = {part: len(written.extra["counts"][part]) for part in ("train", "val", "test")}
    (folder / f"metadata_subj{number:02d}.json").write_text(json.dumps({"totals": totals}))
    return written
