"""A BIDS folder of single-trial betas, written without the toolkit."""

import h5py
import nibabel
import numpy as np
from PIL import Image

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])


def save(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(values), affine), path)


def save_events(path, rows, column="stimulus_id"):
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ["onset", "duration", column, *(["split"] if rows and len(rows[0]) > 1 else [])]
    lines = [names, *([str(4.0 * k), "3", *row] for k, row in enumerate(rows))]
    path.write_text("\n".join("\t".join(line) for line in lines) + "\n")


class Study:
    """A folder with two sessions of two runs, written without the toolkit, and what was put into it."""

    def __init__(self, root, seed, column="stimulus_id", split="column", glmsingle=False, suffix=".nii.gz"):
        rng = np.random.default_rng(seed)
        self.root, self.folder = root, root / "sub-01"
        self.grid = tuple(int(size) for size in rng.integers(3, 6, 3))
        self.brain = rng.random(self.grid) < 0.7
        self.brain[0, 0, 0], self.brain[0, 0, 1] = True, False
        self.v1 = self.brain & (rng.random(self.grid) < 0.5)
        self.v1[0, 0, 0] = True
        self.test = ["p0", "p1"]
        ids = rng.permutation(self.test * 3 + [f"p{number}" for number in range(2, 10)] + ["p2", "p3"])
        self.runs = np.array_split(ids, 4)
        self.volumes = [rng.normal(size=(*self.grid, len(run))).astype(np.float32) for run in self.runs]
        self.names = [f"ses-{1 + k // 2:02d}_task-see_run-{1 + k % 2}" for k in range(4)]
        self.betas, self.events = [], []
        for name, run, volume in zip(self.names, self.runs, self.volumes):
            place = self.folder / name[:6] / "func"
            self.betas.append(place / f"sub-01_{name}_space-T1w_desc-glmsingle_betas{suffix}")
            if not glmsingle:
                save(self.betas[-1], volume)
            self.events.append(place / f"sub-01_{name}_events.tsv")
            shown = [f"{stimulus}.png" if column == "stim_file" else stimulus for stimulus in run]
            parts = [("test" if stimulus in self.test else "train",) if split == "column" else () for stimulus in run]
            save_events(self.events[-1], [(name, *part) for name, part in zip(shown, parts)], column)
        if glmsingle:
            self.betas = [self.folder / "TYPED_FITHRF_GLMDENOISE_RR.hdf5"]
            for name in ("TYPEB_FITHRF", "TYPED_FITHRF_GLMDENOISE_RR"):
                with h5py.File(self.folder / f"{name}.hdf5", "w") as file:
                    right = name.startswith("TYPED")
                    file["betasmd"] = np.concatenate(self.volumes, axis=3) + np.float32(0 if right else 9)
                    file["glmbadness"] = h5py.Empty("f")
        if split == "txt":
            (root / "test_stimuli.txt").write_text("p0\np1.png\n" if column == "stim_file" else "p0\n\np1\n")
        elif split == "tsv":
            lines = [f"p{number}\t{'test' if number < 2 else 'train'}" for number in range(10)]
            (root / "split.tsv").write_text("\n".join(["stimulus_id\tsplit", *lines]) + "\n")
        self.mask = self.folder / "sub-01_space-T1w_desc-brain_mask.nii.gz"
        save(self.mask, self.brain.astype(np.uint8))
        save(self.folder / "sub-01_space-T1w_label-V1_mask.nii.gz", self.v1.astype(np.uint8))
        # On another grid, but of another space: not for these betas.
        save(self.folder / "sub-01_space-MNI152_label-V1_mask.nii.gz", np.ones((2, 2, 2), np.uint8))
        self.pictures = {f"p{k}": rng.integers(0, 256, (7, 8, 3), dtype=np.uint8) for k in range(10)}
        (root / "stimuli").mkdir()
        for name, picture in self.pictures.items():
            Image.fromarray(picture).save(root / "stimuli" / f"{name}.png")

    @property
    def source(self):
        return f"arrays:{self.root}"

    def trials(self):
        """(id, response, session, run) of every trial in order."""
        for k, (run, volume) in enumerate(zip(self.runs, self.volumes)):
            for row, name in enumerate(run):
                yield name, volume[..., row][self.brain], 1 + k // 2, 1 + k % 2
