"""A BData file of somebody's own: keys, values and names that no public file has. Written with h5py and Pillow alone."""

import numpy as np
from kamitani_files import draw_regions, write_bdata
from PIL import Image


class OwnBData:
    """One subject, and what was put into the file.

    Attributes
    ----------
    shown, part : list of str, length n_samples
        The stimulus of each sample, and the split that it belongs to: "fit", "check" or "pilot".
    """

    def __init__(
        self, root, seed=0, name="visit_sub-04_day2.h5", labelled=True, n_train=9, n_test=4, repeats=3, order="<"
    ):
        rng = np.random.default_rng(seed)
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.file, self.rng = root, root / name, rng
        self.train, self.test = (
            [f"{word}{number:02d}" for number in range(n)] for word, n in (("cup", n_train), ("tree", n_test))
        )
        trials = [("fit", one) for one in self.train for _ in range(2)]
        trials += [("check", one) for one in self.test for _ in range(repeats)] + [("pilot", "cup00")] * 2
        trials = [trials[place] for place in rng.permutation(len(trials))]
        self.part, self.shown = map(list, zip(*trials))
        self.voxels = rng.normal(size=(len(trials), 25)).astype(np.float32).astype(float)
        self.regions = draw_regions(rng, 25)
        self.runs = np.sort(rng.integers(1, 4, len(trials)))
        self.numbers = {one: place + 3 for place, one in enumerate([*self.train, *self.test])}
        self.parts = {"fit": 5, "check": 7, "pilot": 9}
        self.write(labelled=labelled, dtype=f"{order}f8")

    def write(self, file=None, labelled=True, rows=None, drop=(), **storage):
        rows = np.arange(len(self.shown)) if rows is None else np.asarray(rows)
        columns = {
            "Run": self.runs[rows],
            "part": [self.parts[self.part[row]] for row in rows],
            "picture": [self.numbers[self.shown[row]] for row in rows],
        }
        labels = {
            "part": {number: word for word, number in self.parts.items()},
            "picture": {number: one for one, number in self.numbers.items()},
        }
        columns = {name: values for name, values in columns.items() if name not in drop}
        labels = {name: table for name, table in labels.items() if name in columns} if labelled else None
        return write_bdata(file or self.file, self.voxels[rows], self.regions, columns, labels, **storage)

    def rows(self, *parts):
        return np.flatnonzero(np.isin(self.part, parts))

    def draw_pictures(self, spell=lambda name: f"{name}.png"):
        self.pictures = {}
        for place, one in enumerate([*self.train, *self.test]):
            picture = np.random.default_rng(place).integers(0, 256, (6, 6, 3), dtype=np.uint8)
            file = self.root / "images" / spell(one)
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(picture).save(file)
            self.pictures[one] = picture
