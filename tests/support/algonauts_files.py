"""A small copy of the Algonauts challenge of 2023, written from its description without the toolkit."""

import numpy as np
from PIL import Image

LABELS = {"prf-visualrois": 7, "floc-bodies": 4, "floc-faces": 5, "floc-places": 3, "floc-words": 5, "streams": 7}
"""Atlas -> its highest label."""
HALVES = ("lh", "rh")


class Algonauts:
    """Subjects and what was put into their files.

    Attributes
    ----------
    responses : dict of (subject, split) to float32 array (pictures, vertices), the left hemisphere's first
    ids, pictures : dict of (subject, split) to list of int, and uint8 array
    labels : dict of (subject, atlas) to int array (vertices,)
    vertices : dict of subject to bool array (n_left + n_right,)
    """

    def __init__(
        self, root, seed=0, subjects=(1, 3), n_train=40, n_test=4, sizes=(31, 29), order="<", withheld=False, side=6
    ):
        rng = np.random.default_rng(seed)
        self.root, self.rng, self.sizes, self.order = root, rng, sizes, order
        self.responses, self.ids, self.pictures, self.labels, self.vertices, self.counts = {}, {}, {}, {}, {}, {}
        everybody = rng.permutation(73_000)[: 5 * (n_train + n_test)]
        for subject in subjects:
            marked = [rng.random(size) < 0.6 for size in sizes]
            for half in marked:
                half[:4] = True
            self.vertices[subject] = np.concatenate(marked)
            self.counts[subject] = tuple(int(half.sum()) for half in marked)
            shown = rng.choice(everybody, n_train + n_test, replace=False)
            for split, ids in (("training", shown[:n_train]), ("test", shown[n_train:])):
                # Rows are in the order of NSD's numbers.
                self.ids[subject, split] = sorted(ids.tolist())
                n = len(ids)
                self.responses[subject, split] = rng.normal(size=(n, sum(self.counts[subject]))).astype(np.float32)
                self.pictures[subject, split] = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
                self.write_pictures(subject, split)
            self.write_responses(subject, "training")
            self.write_masks(subject, marked)
            if withheld:
                self.write_responses(subject, "test")
                self.write_ceiling(subject)

    def folder(self, subject=1):
        return self.root / f"subj{subject:02d}"

    def mask_file(self, name, half="lh", subject=1):
        return self.folder(subject) / "roi_masks" / f"{half}.{name}.npy"

    def response_file(self, half="lh", split="training", subject=1):
        return self.folder(subject) / f"{split}_split" / f"{split}_fmri" / f"{half}_{split}_fmri.npy"

    def picture_files(self, split="training", subject=1):
        return sorted((self.folder(subject) / f"{split}_split" / f"{split}_images").iterdir())

    def write_pictures(self, subject, split):
        folder = self.folder(subject) / f"{split}_split" / f"{split}_images"
        folder.mkdir(parents=True, exist_ok=True)
        word = {"training": "train", "test": "test"}[split]
        for row, (number, picture) in enumerate(zip(self.ids[subject, split], self.pictures[subject, split])):
            Image.fromarray(picture).save(folder / f"{word}-{row + 1:04d}_nsd-{number:05d}.png")

    def save(self, path, values):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values.astype(values.dtype.newbyteorder(self.order)))

    def write_responses(self, subject, split):
        n_left = self.counts[subject][0]
        values = self.responses[subject, split]
        for half, columns in (("lh", slice(None, n_left)), ("rh", slice(n_left, None))):
            self.save(self.response_file(half, split, subject), values[:, columns])

    def write_ceiling(self, subject):
        n_left, n_right = self.counts[subject]
        self.ceiling = self.rng.random(n_left + n_right)
        folder = self.folder(subject) / "test_split" / "noise_ceiling"
        self.save(folder / "lh_noise_ceiling.npy", self.ceiling[:n_left])
        self.save(folder / "rh_noise_ceiling.npy", self.ceiling[n_left:])

    def write_masks(self, subject, marked):
        for half, own in zip(HALVES, marked):
            self.save(self.mask_file("all-vertices_fsaverage_space", half, subject), own.astype(np.int64))
        for atlas, highest in LABELS.items():
            labels = self.rng.integers(0, highest + 1, sum(self.counts[subject]))
            labels[: highest + 1] = range(highest + 1)
            if atlas == "floc-faces":
                labels[labels == 4] = 0  # some have no mTL-faces
            self.labels[subject, atlas] = labels
            n_left = self.counts[subject][0]
            for half, own, on_surface in zip(HALVES, (labels[:n_left], labels[n_left:]), marked):
                self.save(self.mask_file(f"{atlas}_challenge_space", half, subject), own)
                whole = np.zeros(len(on_surface), dtype=np.int64)
                whole[on_surface] = own
                self.save(self.mask_file(f"{atlas}_fsaverage_space", half, subject), whole)
            np.save(
                self.folder(subject) / "roi_masks" / f"mapping_{atlas}.npy",
                np.array({0: "Unknown", 1: "one"}, dtype=object),
                allow_pickle=True,
            )
