"""Small copies of vim-1, as CRCNS and as OSF have it, written from published descriptions without the toolkit."""

import h5py
import numpy as np
import scipy.io

AREAS = ["Other", "V1", "V2", "V3", "V3A", "V3B", "V4", "LatOcc"]
VOLUME = (64, 64, 18)


def save_73(path, content, order="<"):
    """Variables as MATLAB's `save -v7.3` writes them: what it shows as (rows, columns) lies as (columns, rows)."""
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            values = np.asarray(values)
            stored = values.transpose().astype(values.dtype.newbyteorder(order))
            file.create_dataset(name, data=stored, compression="gzip")
            file[name].attrs["MATLAB_class"] = np.bytes_("single" if values.dtype == np.float32 else "double")


def save(path, content, version, order="<"):
    """Variables of either version."""
    if version == "7.3":
        save_73(path, content, order)
    else:
        scipy.io.savemat(path, content, do_compression=True)


class Person:
    """Responses of one person, a row per picture, and where their voxels are."""

    def __init__(self, rng, n_train, n_test, n_voxels, codes=None):
        self.places = np.sort(rng.choice(np.prod(VOLUME), n_voxels, replace=False)) + 1
        # Each area has a voxel at least.
        self.codes = np.concatenate([np.arange(8), rng.integers(0, 8, n_voxels - 8)]) if codes is None else codes
        self.codes = rng.permutation(self.codes) if codes is None else self.codes
        self.train = rng.normal(size=(n_train, n_voxels)).astype(np.float32)
        self.val = rng.normal(size=(n_test, n_voxels)).astype(np.float32)
        self.without = np.zeros(n_voxels, bool)

    def lose(self, rng):
        """Voxels without a value: in training alone, in validation alone, in both, and for one picture alone."""
        columns = rng.choice(np.flatnonzero(self.codes % 2 == 0), 4, replace=False)
        self.train[:, columns[[0, 2]]] = np.nan
        self.val[:, columns[[1, 2]]] = np.nan
        self.train[rng.integers(len(self.train)), columns[3]] = np.nan
        self.without[columns] = True


class Kay:
    """One study in both copies, and what was put into their files."""

    def __init__(self, root, seed=0, n_train=30, n_test=8, side=(24, 20), version="7.3", order="<", n_voxels=(70, 84)):
        self.root, self.rng = root, np.random.default_rng(seed)
        self.version, self.order = version, order
        self.people = [Person(self.rng, n_train, n_test, count) for count in n_voxels]
        for person in self.people:
            person.lose(self.rng)
        self.small = {"Trn": self.draw(n_train, side), "Val": self.draw(n_test, side)}
        self.full = {name: np.repeat(np.repeat(own, 2, 1), 2, 2) for name, own in self.small.items()}
        self.labels = {
            name: np.array([[f"{level}-{self.rng.integers(3)}" for _ in range(len(own))] for level in "kpcg"])
            for name, own in self.small.items()
        }
        # Names of two levels may be one and the same.
        self.labels["Trn"][1, 0] = self.labels["Trn"][0, 0]

    def draw(self, n, side):
        """Grey pictures about zero, some of low contrast."""
        contrast = self.rng.uniform(0.1, 0.5, (n, 1, 1))
        return (contrast * self.rng.uniform(-1, 1, (n, *side)) + 0.02).astype(np.float32)

    def range(self, name="small"):
        both = [own.astype(np.float64) for own in getattr(self, name).values()]
        return min(own.min() for own in both), max(own.max() for own in both)

    def grey(self, name, which, ends=None):
        """What a picture's values are in 0 to 255, by one range for all."""
        low, high = ends or self.range(which)
        return np.rint((getattr(self, which)[name].astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)

    def write_crcns(self, small=True, full=False, n_files=3):
        self.root.mkdir(parents=True, exist_ok=True)
        content = {}
        for number, person in enumerate(self.people, start=1):
            content[f"dataTrnS{number}"], content[f"dataValS{number}"] = person.train.T, person.val.T
            content[f"roiS{number}"] = person.codes[:, None].astype(float)
            content[f"voxIdxS{number}"] = person.places[:, None].astype(float)
        save(self.root / "EstimatedResponses.mat", content, self.version, self.order)
        if small:
            # MATLAB 5 keeps the order of its axes; sequences of presentation are there and nobody reads them.
            self.write_small("5" if self.version == "7.3" else "7.3")
        if full:
            for number, part in enumerate(np.array_split(self.full["Trn"], n_files), start=1):
                save_73(self.root / f"Stimuli_Trn_FullRes_{number:02d}.mat", {"stimTrn": part}, self.order)
            save_73(self.root / "Stimuli_Val_FullRes.mat", {"stimVal": self.full["Val"]}, self.order)
        return self

    def write_small(self, version):
        sequences = {"seqTrn": np.arange(4.0)[:, None], "seqVal": np.arange(3.0)[:, None]}
        content = {f"stim{name}": own for name, own in self.small.items()} | sequences
        save(self.root / "Stimuli.mat", content, version, self.order)

    def osf_voxels(self):
        """Those of the first person that the open copy holds: of an area, and with all values."""
        person = self.people[0]
        return np.flatnonzero((person.codes > 0) & ~person.without)

    def osf(self):
        """The arrays of the open copy."""
        person, own = self.people[0], self.osf_voxels()
        return {
            "stimuli": self.small["Trn"],
            "stimuli_test": self.small["Val"],
            "responses": person.train[:, own],
            "responses_test": person.val[:, own],
            "roi": person.codes[own],
            "roi_names": np.array(AREAS),
        }

    def write_osf(self, labels=True, **changed):
        self.root.mkdir(parents=True, exist_ok=True)
        content = {name: values for name, values in (self.osf() | changed).items() if values is not None}
        stored = {
            name: values.astype(values.dtype.newbyteorder(self.order)) if values.dtype.kind in "if" else values
            for name, values in content.items()
        }
        np.savez(self.root / "kay_images.npz", **stored)
        if labels:
            np.save(self.root / "kay_labels.npy", self.labels["Trn"])
            np.save(self.root / "kay_labels_val.npy", self.labels["Val"])
        return self


def stand_in(folder, study, copy, n_train=150, n_test=20):
    """A simulated study's pictures in grey and its responses, averaged and z-scored for each voxel."""
    kay = Kay(folder, n_train=n_train, n_test=n_test, n_voxels=(study.n_voxels,))
    for name, split, n in (("Trn", "train", n_train), ("Val", "test", n_test)):
        kay.small[name] = (study.pictures(split, n).mean(axis=-1) / 255 - 0.5).astype(np.float32)
    train, val = (study.responses(split, n, 3).mean(axis=1) for split, n in (("train", n_train), ("test", n_test)))
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    person = kay.people[0]
    person.train, person.val = ((own - mean) / deviation for own in (train, val))
    person.train[0, 3] = np.nan
    person.without[:], person.without[3] = False, True
    getattr(kay, f"write_{copy}")(**({"labels": False} if copy == "osf" else {}))
    return folder
