"""The Kamitani laboratory's files, written from their description alone, with h5py and Pillow."""

import h5py
import numpy as np
from PIL import Image

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
    for axis in "xyz" if n_voxels else "":
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

    def write(
        self,
        number=1,
        drop=(),
        labels=None,
        marked=("VoxelData",),
        types=None,
        codes=None,
        key="stimulus_id",
        **storage,
    ):
        all_codes = self.train | self.test | self.imagined
        columns = {
            "Run": self.runs[number],
            "DataType": self.types[number] if types is None else types,
            key: [all_codes[name] for name in self.shown[number]] if codes is None else codes,
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


def write_image_features(path, pictures, averages, levels, **storage):
    """`ImageFeatures.h5`: rows of pictures, then of categories.

    Parameters
    ----------
    path : path
    pictures : list of (int, float)
        FeatureType, 1 or 2, and ImageID of each.
    averages : list of (int, int)
        FeatureType, 3 or 4, and CatID of each.
    levels : dict of str to array of shape (n_rows, n_units)
    """
    columns = dict(levels) | {
        "ImageID": [code for _, code in pictures] + [np.nan] * len(averages),
        "CatID": [np.floor(code) for _, code in pictures] + [code for _, code in averages],
        "FeatureType": [kind for kind, _ in (*pictures, *averages)],
    }
    nothing = np.zeros((len(pictures) + len(averages), 0))
    return write_bdata(path, nothing, {}, columns, marked=(), **storage)


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


def rewrite(path, name, value=None):
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value
