"""Small files of MOSAIC, written from its published description without the toolkit."""

import json

import h5py
import numpy as np
from cifti_writing import save_labels, whole_brain
from PIL import Image

AREAS = {1: "L_V1_ROI", 2: "L_FFC_ROI", 181: "R_V1_ROI", 182: "R_FFC_ROI"}


class Mosaic:
    """One subject, and what was put into its file.

    `tell` is where places without a value are listed: "dataset", "attribute", or "trials", which list their own.
    """

    def __init__(
        self,
        root,
        seed=0,
        subject="sub-01",
        study="NSD",
        n_train=9,
        n_test=4,
        dtype="<f4",
        tell="dataset",
        without=(1, 7, 20),
        pictures=True,
        ceiling=True,
        atlas=True,
        crc="",
        folder="",
        side=(20, 24),
    ):
        self.root, self.rng, self.name, self.study = root, np.random.default_rng(seed), f"{subject}_{study}", study
        self.axis, _ = whole_brain(np.random.default_rng(1234))
        self.n_places, self.without, self.side = len(self.axis), sorted(without), side
        self.kept = np.setdiff1d(np.arange(self.n_places), self.without)
        ids = [
            f"n{number:08d}_{number % 97}" for number in self.rng.choice(90_000_000, n_train + n_test, replace=False)
        ]
        self.ids = {"train": sorted(ids[:n_train]), "test": sorted(ids[n_train:])}
        self.file = root / folder / f"{self.name}{f'_crc32-{crc}' if crc else ''}.hdf5"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.trials = {}
        for phase, names in self.ids.items():
            for name in names:
                for repetition in range(self.rng.integers(2, 5) if phase == "test" else self.rng.integers(1, 4)):
                    values = self.rng.normal(size=self.n_places).astype(np.float32)
                    values[self.without] = [(np.nan, np.inf, -np.inf)[place % 3] for place in range(len(self.without))]
                    self.trials[f"{self.name}_stimulus-{name}_phase-{phase}_rep-{repetition}"] = values
        self.ceiling = np.where(
            np.isin(np.arange(self.n_places), self.without), np.nan, self.rng.random(self.n_places) * 100
        )
        self.write(dtype, tell, ceiling)
        if pictures:
            self.write_pictures()
        if atlas:
            self.write_atlas()

    def write(self, dtype, tell, ceiling):
        with h5py.File(self.file, "w") as file:
            file.attrs.update({"owner_name": "nobody", "github_url": "https://localhost", "dataset_name": self.study})
            group = file.create_group("betas", track_order=True)
            order = list(self.trials)
            for place in self.rng.permutation(len(order)):
                self.write_trial(group, order[place], dtype)
            shuffled = self.rng.permutation(self.without)
            if tell == "dataset":
                file["nan_indices_all"] = shuffled
            elif tell == "attribute":
                file.attrs["nan_indices_all"] = shuffled
            if ceiling:
                own = file.create_group("noiseceilings")
                for phase, n in (("test", "avg"), ("test", "1"), ("train", "avg"), ("artificial", "avg")):
                    values = self.ceiling if (phase, n) == ("test", "avg") else self.ceiling / 2
                    own[f"{self.name}_phase-{phase}_n-{n}_noiseceiling"] = values.astype(np.dtype(dtype))
                    own[f"{self.name}_phase-{phase}_n-{n}_noiseceiling"].attrs.update({"n": n, "phase": "test"})

    def write_trial(self, group, name, dtype="<f4"):
        found = group.create_dataset(name, data=self.trials[name].astype(dtype))
        found.attrs["nan_indices"] = np.array(self.without, dtype=np.int64)
        found.attrs["phase"] = "test" if "_phase-test_" in name else "train"

    def write_pictures(self):
        self.pictures = {}
        for names in self.ids.values():
            for name in names:
                base = self.rng.integers(0, 256, (4, 3, 3), dtype=np.uint8)
                self.pictures[name] = np.asarray(Image.fromarray(base).resize(self.side[::-1]))
                place = self.root / "stimuli" / self.study / f"{name}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(self.pictures[name]).save(place)

    def write_atlas(self):
        self.keys = np.array(
            [0 if "CORTEX" not in str(name) else 1 + place % 2 for place, name in enumerate(self.axis.name)]
        )
        keys = self.keys + 180 * ((self.keys > 0) & np.array([str(name).endswith("RIGHT") for name in self.axis.name]))
        save_labels(self.root / "rois" / "glasser.dlabel.nii", keys, AREAS, self.axis)

    def write_lists(self, names=("train_naturalistic.json", "test_naturalistic.json", "test_artificial.json")):
        """Lists that leave out a training stimulus, and call a test stimulus artificial."""
        own = {
            "train": self.ids["train"][1:],
            "test": self.ids["test"][1:],
            "artificial": self.ids["test"][:1],
        }
        for file, stimuli in zip(names, own.values()):
            content = [{"sub-77_GOD_stimulus-else.png": ["sub-77_GOD_stimulus-else_phase-train_rep-0.npz"]}]
            for stimulus in stimuli:
                reps = [f"{name}.npz" for name in self.trials if f"_stimulus-{stimulus}_phase" in name]
                content.append({f"{self.name}_stimulus-{stimulus}.png": reps})
            (self.root / file).write_text(json.dumps(content))
        return own

    def rows(self, ids):
        """Names of trials by stimulus and repetition, and their values at the places that have some."""
        names = [
            name
            for stimulus in sorted(ids)
            for name in sorted(
                (one for one in self.trials if f"_stimulus-{stimulus}_phase" in one),
                key=lambda one: int(one.split("-")[-1]),
            )
        ]
        return names, np.stack([self.trials[name][self.kept] for name in names])


def stand_in(folder, study, n_train=150, n_test=20, repeats=3):
    """A simulated subject as one of MOSAIC: z-scored by its training trials, with a place that has no value."""
    root = folder / "mosaic"
    (root / "stimuli").mkdir(parents=True)
    train, tested = study.responses("train", n_train)[:, 0], study.responses("test", n_test, repeats)
    mean, deviation = train.mean(axis=0), train.std(axis=0, ddof=1)
    with h5py.File(root / "sub-01_NSD.hdf5", "w") as file:
        group = file.create_group("betas")
        for phase, values in (("train", train[:, None]), ("test", tested)):
            pictures = study.pictures(phase, len(values))
            for row, own in enumerate(values):
                Image.fromarray(pictures[row]).save(root / "stimuli" / f"{phase}{row:04d}.png")
                for repetition, one in enumerate(own):
                    name = f"sub-01_NSD_stimulus-{phase}{row:04d}_phase-{phase}_rep-{repetition}"
                    group[name] = np.append((one - mean) / deviation, np.nan)
        file["nan_indices_all"] = [study.n_voxels]
    return root
