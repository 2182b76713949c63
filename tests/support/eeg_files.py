"""Small copies of THINGS-EEG2 and EEG-VOA, written from their published descriptions without the toolkit."""

import pickle

import numpy as np
import torch
from PIL import Image

NPY_OF_OBJECT = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"


def save_object(path, value, protocol=3, header=True):
    """A value as `numpy.save` writes it: a pickled array of one object behind a header; or as `pickle.dump` does.

    NumPy pickled by protocol 3 before its version 2, and called its core otherwise.
    """
    whole = np.empty((), dtype=object)
    whole[()] = value
    content = pickle.dumps(whole if header else value, protocol=protocol)
    if protocol < 4:
        content = content.replace(b"numpy._core.", b"numpy.core.")
    begin = b""
    if header:
        room = NPY_OF_OBJECT.ljust(-(-(len(NPY_OF_OBJECT) + 11) // 64) * 64 - 11) + b"\n"
        begin = b"\x93NUMPY\x01\x00" + len(room).to_bytes(2, "little") + room
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(begin + content)


def laid(values, order):
    """The same values, by rows, by columns, or with repeats outermost, as choosing repeats by an array of numbers leaves them."""
    if order == "repeats":
        return np.ascontiguousarray(values.swapaxes(0, 1)).swapaxes(0, 1)
    return np.array(values, order=order)


class ThingsEeg2:
    """Subjects of THINGS-EEG2, and what was put into their files."""

    CHANNELS = ["P7", "P3", "Pz", "PO8", "O1", "Oz"]

    def __init__(
        self,
        root,
        seed=0,
        names=("sub-01", "sub-03"),
        n_concepts=7,
        n_test=4,
        repeats=(2, 3),
        n_times=25,
        protocol=3,
        header=True,
        order="C",
        dtype="<f8",
        pictures=True,
        side=(20, 24),
    ):
        self.root, self.rng, self.side = root, np.random.default_rng(seed), side
        self.times = -0.2 + np.arange(n_times) / 25
        concepts = [f"{number:05d}_thing_{number}" for number in self.rng.permutation(1000)[: n_concepts + n_test] + 1]
        self.shown = {"train": [], "test": []}
        for concept in concepts[:n_concepts]:
            for number in range(self.rng.integers(1, 4)):
                self.shown["train"].append((concept, f"{concept[6:]}_{number + 1:02d}b.jpg"))
        for concept in concepts[n_concepts:]:
            self.shown["test"].append((concept, f"{concept[6:]}_14s.jpg"))
        self.folders = {"train": "training_images", "test": "test_images"}
        self.pictures = {}
        self.save_metadata(protocol, header)
        self.epochs, how = {}, dict(protocol=protocol, header=header)
        for name in names:
            for split, n_repeats in zip(self.shown, repeats):
                shape = (len(self.shown[split]), n_repeats, len(self.CHANNELS), n_times)
                self.epochs[name, split] = self.rng.normal(size=shape).astype(dtype)
                self.save_epochs(name, split, order=order, **how)
        if pictures:
            self.draw()

    def metadata(self):
        return {
            f"{split}_img_{what}": [one[place] for one in shown]
            for split, shown in self.shown.items()
            for place, what in enumerate(("concepts", "files"))
        } | {"train_img_concepts_THINGS": [concept for concept, _ in self.shown["train"]]}

    def save_metadata(self, protocol=3, header=True, **changed):
        save_object(self.root / "image_metadata.npy", self.metadata() | changed, protocol, header)

    def file(self, name, split):
        return self.root / name / f"preprocessed_eeg_{'training' if split == 'train' else 'test'}.npy"

    def save_epochs(self, name, split, protocol=3, header=True, order="C", **changed):
        content = {
            "preprocessed_eeg_data": laid(self.epochs[name, split], order),
            "ch_names": list(self.CHANNELS),
            "times": self.times,
        } | changed
        save_object(
            self.file(name, split),
            {key: value for key, value in content.items() if value is not None},
            protocol,
            header,
        )

    def draw(self):
        for split, shown in self.shown.items():
            for concept, file in shown:
                base = self.rng.integers(0, 256, (4, 3, 3), dtype=np.uint8)
                self.pictures[file] = np.asarray(Image.fromarray(base).resize(self.side[::-1]))
                place = self.root / self.folders[split] / concept / file
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(self.pictures[file]).save(place, quality=95)

    def ids(self, split):
        return [file.removesuffix(".jpg") for _, file in self.shown[split]]

    def rows(self, name, split, channels=slice(None), samples=slice(None)):
        """A row per trial, all repeats of a picture after each other."""
        epochs = self.epochs[name, split][:, :, channels][..., samples]
        return epochs.reshape(-1, epochs.shape[2] * epochs.shape[3]).astype(np.float32)


class EegVoa:
    """All files of EEG-VOA for some subjects, and what was put into them."""

    def __init__(
        self,
        root,
        seed=0,
        people=(2, 5),
        n_classes=12,
        n_each=3,
        n_channels=4,
        band="5_95",
        archive=True,
        splits=("all", "single"),
        pictures=True,
        side=(20, 24),
    ):
        self.root, self.rng, self.side, self.people = root, np.random.default_rng(seed), side, people
        root.mkdir(parents=True, exist_ok=True)
        self.classes = [f"n{number:08d}" for number in 7919 * self.rng.permutation(9_000)[:n_classes] + 1_000_000]
        order = self.rng.permutation(n_classes * n_each)
        stems = [f"{name}_{number * 7 + 1}" for name in self.classes for number in range(n_each)]
        self.images = [stems[place] for place in order]
        self.segments = []
        for person in people:
            for image in self.rng.permutation(len(self.images)):
                if self.rng.random() < 0.05:
                    continue
                length = int(self.rng.integers(465, 560))
                self.add(person, int(image), self.rng.normal(size=(n_channels, length)).astype(np.float32))
        self.file = root / f"eeg_{band}_std.pth"
        self.archive = archive
        self.save()
        self.deal(splits)
        if pictures:
            for stem in self.images:
                base = self.rng.integers(0, 256, (4, 3, 3), dtype=np.uint8)
                self.draw(stem, np.asarray(Image.fromarray(base).resize(side[::-1])))

    def add(self, person, image, eeg):
        label = self.classes.index(self.images[image].split("_")[0])
        self.segments.append({"eeg": eeg, "image": image, "label": label, "subject": person})

    def content(self):
        return {
            "dataset": [one | {"eeg": torch.from_numpy(one["eeg"].copy())} for one in self.segments],
            "labels": list(self.classes),
            "images": list(self.images),
        }

    def save(self, **changed):
        torch.save(self.content() | changed, self.file, _use_new_zipfile_serialization=self.archive)

    def draw(self, stem, picture):
        place = self.root / "images" / stem.split("_")[0] / f"{stem}.JPEG"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place, quality=95)

    def deal(self, kinds, n_splits=6):
        """Splits by picture: all of one picture, whoever saw it, lie in one part; and by one subject's segments."""
        self.splits = []
        for _ in range(n_splits):
            part_of = self.rng.permutation(np.resize(["train"] * 6 + ["val"] * 2 + ["test"] * 2, len(self.images)))
            found = {"train": [], "val": [], "test": []}
            for row in self.rng.permutation(len(self.segments)):
                found[str(part_of[self.segments[row]["image"]])].append(int(row))
            self.splits.append(found)
        # Of as many segments as the subject with most has.
        most = max([sum(one["subject"] == person for one in self.segments) for person in self.people], default=0)
        own = self.rng.permutation(most).tolist()
        self.single = [{"train": own[n_splits:], "val": own[:2], "test": own[2:n_splits]}] * n_splits
        for kind, splits in (("all", self.splits), ("single", self.single)):
            if kind in kinds:
                self.save_splits(kind, splits)

    def save_splits(self, kind, splits):
        place = self.root / f"block_splits_by_image_{kind}.pth"
        torch.save({"splits": splits}, place, _use_new_zipfile_serialization=self.archive)

    def rows(self, person, part, number=0):
        """Numbers of a subject's segments in a part of a split, in the order of the file."""
        return sorted(row for row in self.splits[number][part] if self.segments[row]["subject"] == person)

    def values(self, rows, begin=20, end=460):
        return np.stack([self.segments[row]["eeg"][:, begin:end].reshape(-1) for row in rows])

    def stems(self, rows):
        return [self.images[self.segments[row]["image"]] for row in rows]
