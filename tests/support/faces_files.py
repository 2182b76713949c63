"""A small copy of ds001761, written from its published description without the toolkit."""

import h5py
import nibabel
import numpy as np
import scipy.io
from PIL import Image

HEAD = "onset\tduration\ttrial_type\tstim_file\toneback"
AFFINE = np.diag([3.0, 3.0, 3.2, 1.0])


def save_mat(path, content, version):
    """Matrices as MATLAB's `save` writes them: of version 7.3 as HDF5, in which columns are rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if version == "7.3":
        with h5py.File(path, "w") as file:
            for name, values in content.items():
                file.create_dataset(name, data=np.asarray(values, dtype=float).T)
                file[name].attrs["MATLAB_class"] = np.bytes_("double")
    else:
        scipy.io.savemat(path, content)


class Faces:
    """Runs of one subject, and what was put into its files."""

    def __init__(
        self, root, seed=0, n_train=24, n_test=6, n_runs=3, side=(26, 22), betas=True, results=True, version="7.3"
    ):
        self.root, self.rng = root, np.random.default_rng(seed)
        self.names, self.events, self.side = [], [], side
        self.train = [f"{number:06d}" for number in self.rng.choice(90_000, n_train, replace=False) + 100_000]
        # Men before women by the names of their files.
        self.test = [f"{number:06d}" for number in range(n_test)]
        self.test_files = [f"{'M' if row < n_test // 2 else 'F'}00{row:02d}" for row in range(n_test)]
        self.genders = dict(zip(self.test, ["male" if name[0] == "M" else "female" for name in self.test_files]))
        self.pictures = {name: self.picture(row) for row, name in enumerate([*self.train, *self.test])}
        for run, own in enumerate(np.array_split(np.arange(n_train), n_runs), start=1):
            self.write_run(run, [self.train[row] for row in own])
        lines = "".join(f"{file}\t{name}.jpg\r\n" for file, name in self.names)
        (root / "stimuli" / "ImageNames2Celeba.txt").write_text(lines)
        if results:
            self.write_results(version)
        if betas:
            self.write_betas()

    def picture(self, row):
        base = self.rng.integers(0, 256, (4, 3, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(base).resize(self.side[::-1]))

    def write_picture(self, run, letter_and_number, name):
        file = f"sub01/run{run:02d}/{letter_and_number}.jpg"
        place = self.root / "stimuli" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pictures[name]).save(place, quality=95)
        if file not in dict(self.names):
            self.names.append((file, name))
        return file

    def write_run(self, run, train):
        """A run: training faces, one of them shown again at once, pauses, all test faces, imagery at its end."""
        rows = []
        for number, name in enumerate(train):
            letter = "FM"[number % 2]
            self.genders[name] = {"F": "female", "M": "male"}[letter]
            file = self.write_picture(run, f"{letter}{100 + number:04d}", name)
            rows.append(("train_face", file, "0", name))
            if number == 2:
                rows.append(("train_face", file, "1", name))
            if number % 3 == 0:
                rows.append(("Fix ", "placeholders/fixation.png", "0", None))
        for file_name, name in zip(self.test_files, self.test):
            rows.append(("test_face", self.write_picture(run, file_name, name), "0", name))
        rows = [rows[place] for place in self.order(len(rows), rows)]
        rows += [("Fix", "placeholders/fixation.png", "0", None), ("Img", "placeholders/emptyZ.mat", "0", None)]
        place = self.root / "sub-01" / "ses-01" / "func" / f"sub-01_ses-01_task-faces_run-{run:02d}_events.tsv"
        place.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{6 + 3 * k:.3f}\t.999\t{kind}\t{file}\t{again}" for k, (kind, file, again, _) in enumerate(rows)]
        place.write_text("\n".join([HEAD, *lines]) + "\n")
        self.events.append((place, rows))

    def order(self, n, rows):
        """Test faces among the others, and repeats right after what they repeat."""
        places = self.rng.permutation([place for place in range(n) if rows[place][2] == "0"]).tolist()
        for place in range(n):
            if rows[place][2] == "1":
                places.insert(places.index(place - 1) + 1, place)
        return places

    def write_results(self, version="7.3", n_latents=5, n_all=40):
        """Results of the authors, and what they hold: an encoding model and responses that follow from it."""
        rng, folder = self.rng, self.root / "derivatives" / "sub-01"
        self.whole, self.occipital = np.sort(rng.choice(n_all, 18, replace=False)), None
        self.occipital = self.whole[::3]
        weights = rng.normal(size=(n_latents + 1, n_all))
        self.latents = np.tanh(rng.normal(size=(len(self.test), n_latents)))
        patterns = self.latents @ weights[:-1] + weights[-1]
        for name, indices in (("ROI_VAEGAN", self.whole), ("ROI_VAEGAN_occipital", self.occipital)):
            own = weights[:, indices]
            inverse = np.linalg.pinv(own @ own.T)
            content = {"W": own, "invcovW": inverse, "validindices": indices[:, None] + 1.0}
            save_mat(folder / f"{name}.mat", content, version)
        self.weights, self.patterns = weights[:, self.whole], patterns[:, self.whole]
        self.imagined = 2
        save_mat(folder / "test_patterns.mat", {"vol": patterns}, version)
        save_mat(folder / "test_images.mat", {"testimage_vaeganlatentvars": self.latents}, version)
        save_mat(folder / "img_pattern.mat", {"vol": patterns[2:3] / 2}, version)
        save_mat(folder / "img_image.mat", {"imgimage_vaeganlatentvars": self.latents[2:3]}, version)

    def write_betas(self, grid=(4, 3, 3)):
        """Betas of all rows but pauses, a file per run."""
        self.brain = self.rng.random(grid) < 0.8
        self.brain[0, 0, :2] = True, False
        self.early = self.brain & (self.rng.random(grid) < 0.5)
        self.early[0, 0, 0] = True
        folder = self.root / "betas" / "sub-01"
        folder.mkdir(parents=True)
        self.betas = []
        for run, (_, rows) in enumerate(self.events, start=1):
            shown = [row for row in rows if row[0].strip() != "Fix"]
            volumes = self.rng.normal(size=(*grid, len(shown))).astype(np.float32)
            name = f"sub-01_ses-01_task-faces_run-{run:02d}_betas.nii.gz"
            nibabel.save(nibabel.Nifti1Image(volumes, AFFINE), folder / name)
            self.betas.append((shown, volumes))
        for name, mask in (("brain", self.brain), ("early", self.early)):
            file = folder / f"sub-01_desc-{name}_mask.nii.gz"
            nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), AFFINE), file)
