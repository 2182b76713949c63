"""A simulated subject in the files of LAION-fMRI."""

import numpy as np
from laion_fmri_files import LaionFmri, packed, volume

SHAPE = (7, 6, 5)


class _Simulated(LaionFmri):
    def __init__(self, root, study):
        self.study = study
        super().__init__(
            root, subjects=("sub-01",), n_shared=20, n_ood=0, n_unique=150, sessions=(1, 2, 3), shape=SHAPE, side=64
        )

    def write_brain(self, name, repeats):
        super().write_brain(name, ())
        self.brain[name] = np.arange(np.prod(SHAPE)).reshape(SHAPE) < self.study.n_voxels
        volume(self.brain[name].astype(np.float32), self.r2_file(name))

    def write_regions(self, name, regions):
        for region, inside in self.study.rois.items():
            mask = np.zeros(SHAPE, dtype=np.uint8)
            mask[self.brain[name]] = inside
            volume(mask, self.roi_file(name, "simulated", region.replace("_", "-")))

    def schedule(self, name, n_sessions):
        """Everything three times, once in each session."""
        return [self.rng.permutation([*self.unique[name], *self.shared]).tolist() for _ in range(n_sessions)]

    def write_session(self, name, session, labels, responses=None):
        sides = {"train": self.unique[name], "test": self.shared}
        measured = {side: self.study.responses(side, len(own), 3) for side, own in sides.items()}
        values = np.zeros((len(labels), *SHAPE))
        for row, label in enumerate(labels):
            side = "test" if label in self.shared else "train"
            values[row][self.brain[name]] = measured[side][sides[side].index(label), session - 1]
        super().write_session(name, session, labels, values)

    def draw_pictures(self):
        for side, own in (("train", self.unique["sub-01"]), ("test", self.shared)):
            for label, picture in zip(own, self.study.pictures(side, len(own))):
                self.pictures[label] = packed(picture, "PNG"), picture


def stand_in_laion_fmri(folder, study):
    """Write 150 training and 20 test pictures, shown three times each, and responses to them."""
    return _Simulated(folder, study).root
