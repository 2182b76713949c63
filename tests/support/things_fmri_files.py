"""A small copy of THINGS-data's fMRI, written from its published description without the toolkit, PyTables or pandas' own writer.

PyTables is not a part of the toolkit's installation; the HDF5 file is laid out by hand as pandas' fixed format documents it.
"""

import csv
import pickle

import h5py
import nibabel
import numpy as np
from PIL import Image

AFFINE = np.diag([2.0, 2.0, 2.2, 1.0])
AREAS = {"V1": 1, "hV4": 4, "LO1 (prf)": 7, "V3b": 11, "V3a": 12}
PARCELS = {"lFFA": "face", "rFFA": "face", "lEBA": "body"}
ATLAS = ("glasser-V1", "glasser-LO1", "glasser-46", "glasser-p9-\n46v")
WORDS = (
    "dog",
    "mango",
    "bat_1",
    "candelabra",
    "ice_cream",
    "catsuit",
    "panda",
    "spatula",
    "anchor",
    "bulb",
    "whisk",
    "tray",
)


def node_attributes(node, **more):
    """What PyTables notes at an array; None is pickled by it."""
    for key, value in ({"CLASS": "ARRAY", "FLAVOR": "numpy", "TITLE": "", "VERSION": "2.4"} | more).items():
        node.attrs[key] = np.bytes_(pickle.dumps(value)) if value is None else value


def write_frame(path, key, blocks, n_rows, order=None, encoding="utf-8"):
    """A table as pandas writes it: blocks is a list of (names of columns, values (n_rows, n_columns))."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"CLASS": "GROUP", "PYTABLES_FORMAT_VERSION": "2.1", "TITLE": "", "VERSION": "1.0"})
        group = file.create_group(key)
        group.attrs.update({"CLASS": "GROUP", "TITLE": "", "VERSION": "1.0", "encoding": "UTF-8", "errors": "strict"})
        group.attrs.update({"pandas_type": "frame", "pandas_version": "0.15.2", "ndim": 2, "nblocks": len(blocks)})
        names = order or [name for own, _ in blocks for name in own]
        axes = {"axis0": names} | {f"block{number}_items": own for number, (own, _) in enumerate(blocks)}
        for name, values in axes.items():
            group.attrs[f"{name}_variety"] = "regular"
            group[name] = np.array([str(one).encode(encoding) for one in values])
            node_attributes(group[name], kind="string", name=None, transposed=True)
        group.attrs["axis1_variety"] = "regular"
        group["axis1"] = np.arange(n_rows)
        node_attributes(group["axis1"], kind="integer", name=None, transposed=True)
        for number, (_, values) in enumerate(blocks):
            group[f"block{number}_values"] = values
            node_attributes(group[f"block{number}_values"], transposed=True)


def write_csv(path, head, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)


class Things:
    """One subject, and what was put into its files.

    Attributes
    ----------
    trials : list of dict
        In the order in which they were shown, catch trials left out: kind, session, run, picture, concept.
    volumes : dict of (session, run) to (list of names, array (x, y, z, trials))
        In the order of the names, catch trials among them.
    table : array (n_voxels, n_trials)
        In the order of the brain's voxels and of the trials.
    """

    def __init__(
        self,
        root,
        seed=0,
        number=1,
        n_concepts=8,
        per_concept=3,
        n_test=5,
        n_sessions=3,
        n_runs=2,
        lost=(),
        grid=(5, 4, 4),
        dtype="<f8",
        forms=("table", "volume"),
        pictures=True,
        side=24,
    ):
        self.root, self.rng, self.number, self.name = root, np.random.default_rng(seed), number, f"sub-{number:02d}"
        self.dtype, self.side, self.lost = np.dtype(dtype), side, set(lost)
        self.show(n_concepts, per_concept, n_test, n_sessions, n_runs)
        self.measure(grid)
        self.csv, self.masks = root / "betas_csv", root / "brainmasks"
        self.write_masks()
        if "table" in forms:
            self.write_table()
            self.write_stimuli()
            self.write_voxels()
        if "volume" in forms:
            self.write_volumes()
            self.write_rois()
        if pictures:
            self.write_pictures()

    def show(self, n_concepts, per_concept, n_test, n_sessions, n_runs):
        """Training pictures once, test pictures once in each session, a catch trial in each run."""
        rng = self.rng
        self.concepts = rng.permutation(WORDS)[:n_concepts].tolist()
        train = [
            (c, f"{c}_{n:02d}{rng.choice(list('bns'))}.jpg") for c in self.concepts for n in range(1, per_concept + 1)
        ]
        # All but the last test concept are trained on too.
        tested = [*self.concepts[: n_test - 1], "only_tested"]
        self.test = [(concept, f"{concept}_{per_concept + 1:02d}s.jpg") for concept in tested]
        runs = [(session, run) for session in range(1, n_sessions + 1) for run in range(1, n_runs + 1)]
        shares = np.array_split(rng.permutation(len(train)), len(runs))
        self.trials, self.catches = [], {}
        for (session, run), own in zip(runs, shares):
            shown = [("train", *train[row]) for row in own]
            shown += [("test", *one) for place, one in enumerate(self.test) if place % n_runs == run - 1]
            shown = [shown[place] for place in rng.permutation(len(shown))]
            if (session, run) in self.lost:
                continue
            self.catches[session, run] = f"catch{int(rng.integers(1, 999)):03d}.jpg"
            self.trials += [
                {"kind": kind, "session": session, "run": run, "picture": picture, "concept": concept}
                for kind, concept, picture in shown
            ]
        self.runs = [key for key in runs if key not in self.lost]

    def measure(self, grid):
        rng = self.rng
        self.brain = rng.random(grid) < 0.8
        self.brain[0, 0, :2] = True, False
        self.places = np.argwhere(self.brain)
        self.n_voxels = len(self.places)
        self.table = rng.normal(size=(self.n_voxels, len(self.trials)))
        self.ceiling = rng.random(self.n_voxels) * 90
        self.regions = {name: rng.random(self.n_voxels) < 0.4 for name in (*PARCELS, "IT", *ATLAS)}
        area = rng.choice([0, *AREAS.values()], self.n_voxels)
        self.regions |= {name: area == value for name, value in AREAS.items()}
        for place, name in enumerate(self.regions):
            # One voxel of each region at least, and a voxel in no region but the atlas'.
            self.regions[name][place] = True
            self.regions[name][-1] = name in ATLAS
        for name in AREAS:
            for other in AREAS:
                self.regions[other][list(self.regions).index(name)] = other == name

    def write_masks(self):
        self.masks.mkdir(parents=True, exist_ok=True)
        file = self.masks / f"{self.name}_space-T1w_brainmask.nii.gz"
        nibabel.save(nibabel.Nifti1Image(self.brain.astype(np.uint8), AFFINE), file)

    @property
    def h5(self):
        return self.csv / f"{self.name}_ResponseData.h5"

    def write_table(self, order=None, n_blocks=1, ids=None, trials=None):
        """The table of responses; its rows in another order than the voxels'."""
        self.csv.mkdir(parents=True, exist_ok=True)
        order = self.rng.permutation(self.n_voxels) if order is None else order
        names = [str(place) for place in (range(len(self.trials)) if trials is None else trials)]
        parts = np.array_split(np.arange(len(names)), n_blocks)
        values = self.table[order].astype(self.dtype)
        blocks = [([names[place] for place in own], values[:, own]) for own in parts]
        numbers = np.asarray(order if ids is None else ids)[:, None]
        blocks.append((["voxel_id"], numbers))
        write_frame(self.h5, "ResponseData", blocks, len(order), ["voxel_id", *names])

    def write_stimuli(self, change=None, **replaced):
        head = ["trial_type", "session", "run", "subject_id", "trial_id", "stimulus", "concept"]
        rows = [
            [one["kind"], one["session"], one["run"], self.number, place, one["picture"], one["concept"]]
            for place, one in enumerate(self.trials)
        ]
        if change:
            head, rows = change(head, rows)
        write_csv(self.csv / f"{self.name}_StimulusMetadata.csv", head, rows)

    def write_voxels(self, change=None):
        names = ["voxel_id", "subject_id", "voxel_x", "voxel_y", "voxel_z", "nc_singletrial", "nc_testset"]
        head = [*names, "splithalf_corrected", "prf-eccentricity", *self.regions]
        rows = []
        for place in range(self.n_voxels):
            row = [place, self.number, *self.places[place], self.ceiling[place] / 9, self.ceiling[place], 0.1, ""]
            rows.append([*row, *(int(mask[place]) for mask in self.regions.values())])
        if change:
            head, rows = change(head, rows)
        write_csv(self.csv / f"{self.name}_VoxelMetadata.csv", head, rows)

    def write_volumes(self, folder="betas_vol"):
        self.volumes = {}
        for session, run in self.runs:
            own = [place for place, one in enumerate(self.trials) if (one["session"], one["run"]) == (session, run)]
            catch = self.catches[session, run]
            # Conditions lie in the order of their names.
            rows = sorted([(self.trials[place]["picture"], place) for place in own] + [(catch, None)])
            values = np.zeros((*self.brain.shape, len(rows)))
            for row, (_, place) in enumerate(rows):
                values[self.brain, row] = 9.0 if place is None else self.table[:, place]
            self.volumes[session, run] = [name for name, _ in rows], values
            file = self.run_file(session, run, folder)
            file.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values.astype(self.dtype.newbyteorder("=")), AFFINE), file)
            self.write_conditions(session, run, [name for name, _ in rows], folder)

    def run_file(self, session, run, folder="betas_vol"):
        place = self.root / folder / self.name / f"ses-things{session:02d}"
        return place / f"{self.name}_ses-things{session:02d}_run-{run:02d}_betas.nii.gz"

    def conditions_file(self, session, run, folder="betas_vol"):
        file = self.run_file(session, run, folder)
        return file.with_name(file.name.replace("_betas.nii.gz", "_conditions.tsv"))

    def write_conditions(self, session, run, names, folder="betas_vol"):
        lines = "".join(f"{place}\timages/{name}\n" for place, name in enumerate(names))
        self.conditions_file(session, run, folder).write_text("\timage_filename\n" + lines)

    def volume(self, values, dtype=np.float32):
        whole = np.zeros(self.brain.shape, dtype=dtype)
        whole[self.brain] = values
        return whole

    def write_rois(self):
        for name, kind in PARCELS.items():
            folder = self.root / "rois" / "category_localizer" / self.name / f"{kind}_parcels"
            folder.mkdir(parents=True, exist_ok=True)
            image = nibabel.Nifti1Image(self.volume(self.regions[name]), AFFINE)
            nibabel.save(image, folder / f"{self.name}_{name}.nii.gz")
        areas = np.sum([value * self.regions[name] for name, value in AREAS.items()], axis=0)
        folder = self.root / "rois" / "prf" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(self.volume(areas), AFFINE), folder / "resampled_varea.nii.gz")
        nibabel.save(nibabel.Nifti1Image(self.volume(areas / 3), AFFINE), folder / "resampled_eccen.nii.gz")
        (self.root / "noise_ceilings").mkdir(exist_ok=True)
        for n in range(1, 5):
            image = nibabel.Nifti1Image(self.volume(self.ceiling * n / 4), AFFINE)
            nibabel.save(image, self.root / "noise_ceilings" / f"{self.name}_nc_n-{n}.nii.gz")

    def write_pictures(self, sides=None):
        self.pictures = {}
        for place, one in enumerate({one["picture"]: one for one in self.trials}.values()):
            side = self.side if sides is None else sides[place % len(sides)]
            small = self.rng.integers(0, 256, (4, 3, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((side, side))
            self.pictures[one["picture"]] = np.asarray(picture)
            file = self.root / "images" / one["concept"] / one["picture"]
            file.parent.mkdir(parents=True, exist_ok=True)
            picture.save(file, quality=95)

    def shown(self, kind, voxels=None):
        """(id, session, run, concept, response) of each trial of a kind, in the order in which they were shown."""
        voxels = slice(None) if voxels is None else voxels
        return [
            (one["picture"].split(".")[0], one["session"], one["run"], one["concept"], self.table[voxels, place])
            for place, one in enumerate(self.trials)
            if one["kind"] == kind
        ]

    @property
    def visual(self):
        """Voxels of the study's own regions."""
        return np.any([mask for name, mask in self.regions.items() if name not in ATLAS], axis=0)


def write_things_study(folder, study, n_train=150, n_test=20, repeats=3):
    """A simulated subject as tables: its training pictures once, its test pictures in each of three sessions."""
    things = object.__new__(Things)
    things.root, things.rng, things.number, things.name = folder, np.random.default_rng(0), 1, "sub-01"
    things.csv, things.masks, things.dtype = folder / "betas_csv", folder / "brainmasks", np.dtype("<f8")
    shown = [("train", row, session) for row, session in enumerate(np.arange(n_train) * repeats // n_train)]
    shown += [("test", row, session) for session in range(repeats) for row in range(n_test)]
    shown = [shown[place] for place in things.rng.permutation(len(shown))]
    responses = {"train": study.responses("train", n_train), "test": study.responses("test", n_test, repeats)}
    things.trials, rows = [], []
    for kind, row, session in sorted(shown, key=lambda one: one[2]):
        concept = f"concept{row // 5 + (900 if kind == 'test' else 0):03d}"
        picture = f"{concept}_{row % 5 + 1:02d}s.jpg"
        trial = {"kind": kind, "session": int(session) + 1, "run": 1, "picture": picture, "concept": concept}
        things.trials.append(trial)
        rows.append(responses[kind][row, session if kind == "test" else 0])
    things.table, things.n_voxels = np.array(rows, dtype=float).T, study.n_voxels
    things.places = np.argwhere(np.ones((study.n_voxels, 1, 1)))
    things.brain = np.ones((study.n_voxels, 1, 1), dtype=bool)
    things.ceiling, things.regions = np.full(study.n_voxels, 50.0), dict(study.rois)
    things.write_masks()
    things.write_table()
    things.write_stimuli()
    things.write_voxels()
    for kind, n in (("train", n_train), ("test", n_test)):
        for row, picture in enumerate(study.pictures(kind, n)):
            concept = f"concept{row // 5 + (900 if kind == 'test' else 0):03d}"
            file = folder / "images" / concept / f"{concept}_{row % 5 + 1:02d}s.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(file, quality=98)
    return folder
