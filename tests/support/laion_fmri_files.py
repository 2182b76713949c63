"""A small copy of LAION-fMRI, written from what its documentation says without the toolkit; it remembers what it wrote."""

import csv
import io
import json

import h5py
import nibabel
import numpy as np
from PIL import Image

AFFINE = np.array([[-1.778, 0, 0, 120.0], [0, 1.778, 0.1, -90], [0, -0.1, 1.778, -60], [0, 0, 0, 1]])
KINDS = ("gabor", "illusion-natural", "shape")
REGIONS = {
    "face": ("FFA-1", "FFA-2", "OFA"),
    "retinotopy": ("V1v", "V1d", "hV4"),
    "laion": ("laion-general",),
}


def volume(values, path, order="<", affine=AFFINE, dtype=None):
    """Write a NIfTI volume in a byte order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = nibabel.Nifti1Header(endianness=order)
    values = np.asarray(values)
    header.set_data_dtype(dtype or values.dtype)
    nibabel.Nifti1Image(values, affine, header).to_filename(path)


def packed(picture, kind):
    """The bytes of a picture's file."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format=kind, **({"quality": 95} if kind == "JPEG" else {}))
    return content.getvalue()


class LaionFmri:
    """A few subjects, and what was put into their files.

    Attributes
    ----------
    brain : dict of str to bool array (x, y, z)
    betas : dict of (str, int) to array of shape (n_trials, x, y, z)
        By subject and session, in the order of the volumes.
    trials : dict of (str, int) to list of (int, int, str)
        Run, volume and label of each row of the table.
    regions : dict of str to (dict of str to bool array)
        By subject, by name.
    ceilings : dict of (str, int) to array of shape (x, y, z)
    pictures : dict of str to (bytes, array)
        By label: the file and, of a picture in RGBA, its pixels.
    captions : dict of str to list of str
        Those of people, best first.
    """

    def __init__(
        self,
        root,
        seed=0,
        subjects=("sub-01", "sub-03"),
        n_shared=4,
        n_ood=3,
        n_unique=6,
        sessions=(1, 2, 4),
        shape=(5, 6, 4),
        side=16,
        pictures=True,
        order="<",
        dtype=np.float32,
        regions=REGIONS,
        repeats=(12, 4),
        splits=True,
        suffix=".nii.gz",
        dashes=True,
    ):
        self.root, self.rng, self.shape, self.side, self.order = root, np.random.default_rng(seed), shape, side, order
        self.dtype, self.suffix, self.dashes = dtype, suffix, dashes
        self.shared = [
            f"shared_12rep_LAION_cluster_{number}_i0.jpg" for number in self.rng.choice(4000, n_shared, False)
        ]
        self.ood = [f"shared_4rep_OOD_{KINDS[row % 3]}_{row:02d}.png" for row in range(n_ood)]
        self.unique = {
            name: [
                f"unique_LAION_initial_cluster_{number}_i1.jpg"
                for number in self.rng.choice(4000, n_unique, False) + 9000 * row
            ]
            for row, name in enumerate(subjects)
        }
        self.brain, self.betas, self.trials, self.regions, self.ceilings = {}, {}, {}, {}, {}
        self.pictures, self.captions = {}, {}
        for name in subjects:
            self.write_brain(name, repeats)
            self.write_regions(name, regions)
            for session, labels in zip(sessions, self.schedule(name, len(sessions))):
                self.write_session(name, session, labels)
            if splits:
                self.write_splits(name, [*self.shared, *self.unique[name]])
        if splits:
            self.write_splits("shared", self.shared)
        if pictures:
            self.draw_pictures()
            self.write_pictures()
            self.write_captions()

    def derivatives(self, name):
        return self.root / "derivatives" / "glmsingle-tedana" / name

    def func(self, name, session):
        return self.derivatives(name) / f"ses-{session:02d}" / "func"

    def betas_file(self, name, session):
        base = f"{name}_ses-{session:02d}_task-images_space-T1w_stat-effect_desc-SingletrialBetas_statmap"
        return self.func(name, session) / f"{base}{self.suffix}"

    def trials_file(self, name, session):
        return self.func(name, session) / f"{name}_ses-{session:02d}_task-images_desc-SingletrialBetas_trials.tsv"

    def r2_file(self, name):
        return self.derivatives(name) / f"{name}_task-images_space-T1w_stat-rsquare_desc-R2mean_statmap.nii.gz"

    def ceiling_file(self, name, repeats):
        return self.derivatives(name) / f"{name}_task-images_space-T1w_desc-Noiseceiling{repeats}rep_statmap.nii.gz"

    def roi_file(self, name, category, region):
        region = region if self.dashes else region.replace("-", "")
        return (
            self.root
            / "derivatives"
            / "rois"
            / name
            / category
            / f"{name}_space-T1w_res-1pt8_label-{region}_mask.nii.gz"
        )

    def split_file(self, pool, name):
        return self.root / "splits" / pool / f"{name}.json"

    @property
    def pictures_file(self):
        return self.root / "stimuli" / "task-images_stimuli.h5"

    @property
    def metadata_file(self):
        return self.root / "stimuli" / "task-images_metadata.csv"

    @property
    def captions_file(self):
        return self.root / "stimuli" / "task-images_desc-captions.csv"

    def schedule(self, name, n_sessions):
        """What each session shows: everything twice or more often, in any order, a part of it in each session."""
        shown = [*self.unique[name] * 2, *self.shared * 3, *self.ood * 2]
        return [part.tolist() for part in np.array_split(self.rng.permutation(shown), n_sessions)]

    def write_brain(self, name, repeats):
        self.brain[name] = self.rng.random(self.shape) < 0.6
        r2 = np.where(
            self.brain[name], self.rng.uniform(0.01, 60, self.shape), self.rng.choice([0, np.nan], self.shape)
        )
        volume(r2.astype(np.float32), self.r2_file(name), self.order)
        for count in repeats:
            values = np.where(self.brain[name], self.rng.uniform(0, 90, self.shape), 0).astype(np.float32)
            self.ceilings[name, count] = values
            volume(values, self.ceiling_file(name, count), self.order)

    def write_regions(self, name, regions):
        self.regions[name] = {}
        for category, own in regions.items():
            for region in own:
                mask = self.rng.random(self.shape) < (0.8 if region == "laion-general" else 0.3)
                # Some lie beside the brain, as masks that were drawn on the surface do.
                self.regions[name][region] = mask
                volume(mask.astype(np.uint8), self.roi_file(name, category, region), self.order)

    def write_session(self, name, session, labels, responses=None):
        """Betas, and a table whose rows are not in the order of the volumes."""
        values = self.rng.standard_normal((len(labels), *self.shape)) if responses is None else responses
        values = np.where(self.brain[name], values, 0).astype(self.dtype)
        self.betas[name, session] = values
        volume(np.moveaxis(values, 0, -1), self.betas_file(name, session), self.order)
        runs = np.sort(self.rng.integers(1, 4, len(labels))).tolist()
        self.trials[name, session] = [
            (runs[row], row, labels[row]) for row in self.rng.permutation(len(labels)).tolist()
        ]
        self.write_table(name, session)

    def write_table(self, name, session):
        rows = self.trials[name, session]
        lines = [f"ses-{session:02d}\t{run}\t{row}\t{label}" for run, row, label in rows]
        text = "session\trun\tbeta_index\tlabel\n" + "\n".join(lines) + "\n"
        self.trials_file(name, session).write_text(text, encoding="utf-8")

    def write_splits(self, pool, pictures):
        self.splits = getattr(self, "splits", {})
        order = self.rng.permutation(pictures).tolist()
        for number in range(5):
            for family, shift in (("random", 0), ("cluster_k5", 1)):
                self.write_split(pool, f"{family}_{number}", order[number + shift :: 5] or order[:1], pictures)
        self.write_split(pool, "tau", order[::4], pictures)

    def write_split(self, pool, name, test, pictures):
        train = [label for label in pictures if label not in test]
        self.splits[pool, name] = train, test
        content = {
            "name": name,
            "pool": "a pool",
            "splitter": "some",
            "params": {},
            "n_train": len(train),
            "n_test": len(test),
        }
        content["variants"] = [{"variant_id": 0, "train_ids": train, "test_ids": test}]
        path = self.split_file(pool, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    def labels(self):
        return [*self.shared, *self.ood, *(label for own in self.unique.values() for label in own)]

    def draw_pictures(self):
        for row, label in enumerate(self.labels()):
            small = self.rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            picture = np.asarray(Image.fromarray(small).resize((self.side, self.side), Image.Resampling.BILINEAR))
            if label.endswith(".png") and row % 2:
                alpha = self.rng.integers(0, 256, (self.side, self.side, 1), dtype=np.uint8)
                picture = np.concatenate([picture, alpha], axis=2)
            self.pictures[label] = packed(picture, "PNG" if label.endswith(".png") else "JPEG"), picture

    def write_pictures(self):
        """The packed files and, in another order than any list of labels, the table of their names."""
        names = self.rng.permutation(self.labels()).tolist()
        self.pictures_file.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(self.pictures_file, "w") as file:
            images = file.create_dataset("images", (len(names),), dtype=h5py.vlen_dtype(np.uint8))
            for row, name in enumerate(names):
                images[row] = np.frombuffer(self.pictures[name][0], dtype=np.uint8)
        with open(self.metadata_file, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["image_name", "dataset", "participant", "unique_or_shared", "n_reps"])
            rows.writerows([name, "LAION", "sub-01;sub-03", name.partition("_")[0], "12rep"] for name in names)

    def write_captions(self):
        lines = []
        for label in self.labels():
            said = [f'{label}, "said" {rank} é' for rank in range(1, 4)]
            self.captions[label] = said
            lines += [[label, rank, "human", text, "main3", "p1", ""] for rank, text in enumerate(said, start=1)]
            if label in self.shared:
                lines.append([label, 0, "ai", f"A network said {label}.", "gpt-5.1", "", "gpt-5.1"])
        with open(self.captions_file, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            head = ["image_name", "caption_idx", "source", "caption", "origin_collection", "participant_id", "ai_model"]
            rows.writerows([head, *(lines[row] for row in self.rng.permutation(len(lines)))])

    def shown(self, label):
        """A picture as it was seen: over the middle grey where it lets something through."""
        content, pixels = self.pictures[label]
        if pixels.shape[2] == 4:
            alpha = pixels[..., 3:].astype(float) / 255
            return np.rint(pixels[..., :3] * alpha + 128 * (1 - alpha))
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(float)

    def expected(self, name, sessions=None):
        """Session, run, label and betas (x, y, z) of every trial, in the order of sessions and of their tables."""
        return [
            (session, run, label, self.betas[name, session][row])
            for (owner, session), rows in self.trials.items()
            if owner == name and (sessions is None or session in sessions)
            for run, row, label in rows
        ]
