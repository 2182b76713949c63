"""A small folder in the layout of ocd, written from its description without the toolkit, and what was put into it."""

import numpy as np
from PIL import Image

CLASSES = ["bird", "boat", "chair", "dog", "house"]


class Objects:
    """People whose trials are spread over runs; pictures are shown once in training and several times in test."""

    def __init__(
        self,
        root,
        seed=0,
        n_train=20,
        n_test=5,
        n_repeats=2,
        n_voxels=12,
        times=(0, 2, 4, 6, 8),
        n_runs=4,
        side=(20, 24),
    ):
        self.root, self.rng = root, np.random.default_rng(seed)
        self.times = np.array(times, dtype=float)
        names = [f"{CLASSES[row % 5]}/{row:03d}.png" for row in range(n_train + n_test)]
        self.split_of = {name: "train" if row < n_train else "test" for row, name in enumerate(names)}
        self.class_of = {name: name.partition("/")[0] for name in names}
        self.pictures = {name: self.rng.integers(0, 256, (*side, 3), dtype=np.uint8) for name in names}
        self.content = {}
        for number in (1, 2):
            shown = self.rng.permutation(names[:n_train] + names[n_train:] * n_repeats)
            runs = np.sort(self.rng.integers(1, n_runs + 1, len(shown)))
            runs[:n_runs] = np.arange(1, n_runs + 1)
            runs.sort()
            self.content[number] = {
                "x": self.rng.normal(size=(len(shown), len(times), n_voxels)).astype(np.float32),
                "time_s": self.times,
                "y": np.array([self.class_of[name] for name in shown]),
                "split": np.array([self.split_of[name] for name in shown]),
                "run": runs,
                "stim_file": shown,
                "roi_LVC": np.arange(n_voxels) < n_voxels // 2,
                "roi_HVC": (np.arange(n_voxels) >= n_voxels // 2).astype(np.uint8),
                "onset_s": np.concatenate([8.0 * np.arange((runs == run).sum()) for run in range(1, n_runs + 1)]),
            }

    def write(self, pictures=True, compressed=False, **changed):
        """Write the files; of the first person some arrays otherwise, or none where they are None."""
        self.root.mkdir(parents=True, exist_ok=True)
        for number, content in self.content.items():
            content = content | changed if number == 1 else content
            save = np.savez_compressed if compressed else np.savez
            save(self.root / f"sub-0{number}.npz", **{name: own for name, own in content.items() if own is not None})
        for name, picture in self.pictures.items() if pictures else ():
            place = self.root / "stimuli" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place)
        return self


def stand_in(folder, study, n_train=150, n_test=20):
    """A simulated study's pictures, and its responses as they rise and fall over five times, with noise of each."""
    objects = Objects(folder, n_train=n_train, n_test=n_test, n_repeats=3, n_voxels=study.n_voxels, n_runs=6)
    objects.content.pop(2)
    names = {split: [name for name, own in objects.split_of.items() if own == split] for split in ("train", "test")}
    responses = {}
    for split, own in names.items():
        pictures, values = study.pictures(split, len(own)), study.responses(split, len(own), 3)
        for row, name in enumerate(own):
            objects.pictures[name], responses[name] = pictures[row], list(values[row])
    content = objects.content[1]
    course = np.array([0.0, 0.5, 0.9, 1.0, 0.6])[:, None]
    content["x"] = np.stack([course * responses[name].pop(0) for name in content["stim_file"].tolist()]).astype(
        np.float32
    )
    content["x"] += 0.3 * content["x"].std() * objects.rng.normal(size=content["x"].shape).astype(np.float32)
    objects.write()
    return folder
