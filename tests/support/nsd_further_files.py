"""The further experiments of the tiny NSD of `nsd_files`, written from the description of their files alone.

Sizes, orders, repeats and lengths of runs are drawn. What was written is remembered in the simplest terms.
"""

import csv
from dataclasses import dataclass, field

import h5py
import numpy as np
import scipy.io
from nsd_files import Written, write_hdf5_betas, write_nifti, write_nsd
from nsd_surface_files import write_halves, write_nsd_surface
from PIL import Image

VERSION = "betas_fithrf_GLMdenoise_RR"
RUNS = ("visA", "attA", "imgA_1", "visB", "attB", "imgB_1", "visC", "attC", "imgC_1", "imgA_2", "imgB_2", "imgC_2")
TARGETS = {
    "A": {"H": "bar_000.0deg_450L_43W.png", "R": "bar_045.0deg_450L_43W.png", "P": "crs_000.0deg_450L_43W.png"},
    "B": {"W": "shared0385_nsd28752.png", "T": "shared0000_nsd00000.png"},
    "C": {"N": "banana", "Z": "zebra"},
}
"""Set -> cue -> target; fewer than there are."""
CLASSES = ("Natural scenes", "Single words", "Chromatic noise")


@dataclass
class Further:
    """What was written."""

    nsd: Written
    n_shared: int = 5
    n_own: int = 3
    picture: tuple = (10, 18)  # height and width of synthetic's pictures
    order: list = field(default_factory=list)  # synthetic: 0-based picture of each trial
    runs: list = field(default_factory=list)  # synthetic: 1-based run of each trial
    classes: list = field(default_factory=list)  # of each picture
    shared: np.ndarray = None  # (n_shared, height, width, 3)
    own: dict = field(default_factory=dict)  # subject -> (n_own, height, width, 3)
    stored: dict = field(default_factory=dict)  # experiment -> subject -> int16 (x, y, z, trials)
    trials: dict = field(default_factory=dict)  # subject -> list of (run's name, run, cue, row or rows of the betas)
    targets: dict = field(default_factory=dict)  # target -> picture
    target_size: dict = field(default_factory=dict)

    @property
    def root(self):
        return self.nsd.root

    def betas(self, experiment, subject="subj01", suffix=".hdf5", version=VERSION):
        folder = self.root / "nsddata_betas/ppdata" / subject / f"func1pt8mm/nsd{experiment}{version}"
        return folder / f"betas_nsd{experiment}{suffix}"

    @property
    def design(self):
        return self.root / "nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat"

    @property
    def table(self):
        return self.design.parent / "nsdsyntheticimageinformation.csv"

    def brick(self, subject=None):
        name = "nsdsynthetic_stimuli" if subject is None else f"nsdsynthetic_colorstimuli_{subject}"
        return self.root / f"nsddata_stimuli/stimuli/nsdsynthetic/{name}.hdf5"

    def run(self, name, subject="subj01"):
        return self.root / f"nsddata/bdata/nsdimagery/nsdimagery_{subject}_{name}.tsv"

    def pairs(self, of_set):
        return self.root / f"nsddata/experiments/nsdimagery/{of_set}_pair_list.mat"

    def target(self, of_set, name):
        return self.root / f"nsddata/experiments/nsdimagery/rawtargetimages/set{of_set}/{name}"

    def of_task(self, task, sets, subject="subj01"):
        """(target, run, row) of each trial of vision ("vis") or imagery ("img") of some sets, in order."""
        return [
            (TARGETS[name[3]][cue], run, rows[0])
            for name, run, cue, rows in self.trials[subject]
            if name.startswith(task) and name[3] in sets
        ]


def write_brick(path, pictures):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["imgBrick"] = pictures


def write_run(path, number, cues, rng, shown_in_order=True):
    """A run's table; with its rows in any order if asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"SUBJECT": 1, "SESSION": 1, "RUN": number, "TRIAL": k, "CONDITION": cue, "CUE": "X", "RT": "NaN"}
        for k, cue in enumerate(cues, start=1)
    ]
    if not shown_in_order:
        rng.shuffle(rows)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


def write_synthetic(further, rng, subjects):
    n = further.n_shared + further.n_own
    further.runs, further.order = [], []
    lengths = rng.integers(3, 6, 4)
    shown = rng.permutation(np.concatenate([np.arange(n), rng.integers(0, n, lengths.sum())]))[: lengths.sum()]
    # One picture again at once, as in a one-back task.
    shown[1] = shown[0]
    further.order, further.runs = shown.tolist(), np.repeat(np.arange(1, 5), lengths).tolist()
    pattern = np.zeros((1, 4, 8))
    for run, length in enumerate(lengths):
        pattern[0, run, rng.permutation(8)[:length]] = 1
    further.design.parent.mkdir(parents=True)
    scipy.io.savemat(further.design, {"masterordering": shown[None] + 1.0, "stimpattern": pattern})
    further.classes = [CLASSES[k] for k in rng.integers(0, 3, n)]
    lines = [f"{k},picture_{k},{k},sub,{k},{name}" for k, name in enumerate(further.classes, start=1)]
    head = "Image number,Image,Image subclass number,Image subclass,Image class number,Image class"
    further.table.write_text("\n".join([head, *lines]) + "\n")
    further.shared = rng.integers(0, 256, (further.n_shared, *further.picture, 3), dtype=np.uint8)
    write_brick(further.brick(), further.shared)
    for subject in subjects:
        further.own[subject] = rng.integers(0, 256, (further.n_own, *further.picture, 3), dtype=np.uint8)
        write_brick(further.brick(subject), further.own[subject])


def write_imagery(further, rng, subjects):
    for of_set, targets in TARGETS.items():
        cells = np.empty((len(targets), 3), dtype=object)
        for row, (cue, target) in enumerate(targets.items()):
            cells[row] = row + 1, target, cue
            if target.endswith(".png"):
                size = (int(rng.integers(6, 14)), int(rng.integers(6, 14)), 3)
                further.targets[target] = rng.integers(0, 256, size, dtype=np.uint8)
                path = further.target(of_set, target)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(further.targets[target]).save(path)
        further.pairs(of_set).parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(further.pairs(of_set), {"pair_list": cells})
    for subject in subjects:
        further.trials[subject], row = [], 0
        for number, name in enumerate(RUNS, start=1):
            cues = rng.permutation(np.repeat(list(TARGETS[name[3]]), rng.integers(1, 4))).tolist()
            write_run(further.run(name, subject), number, cues, rng, shown_in_order=bool(rng.integers(2)))
            for cue in cues:
                n_betas = 2 if name.startswith("att") else 1
                further.trials[subject].append((name, number, cue, list(range(row, row + n_betas))))
                row += n_betas


def write_betas(further, rng, subjects, formats, surface):
    for experiment in ("synthetic", "imagery"):
        further.stored[experiment] = {}
        for subject in subjects:
            n = len(further.order) if experiment == "synthetic" else further.trials[subject][-1][3][-1] + 1
            xyzt = rng.integers(-3000, 3000, (*further.nsd.shape, n), dtype=np.int16)
            further.stored[experiment][subject] = xyzt
            if surface:
                folder = further.root / f"nsddata_betas/ppdata/{subject}/fsaverage/nsd{experiment}{VERSION}"
                percent = (xyzt / 300).astype(np.float32).reshape(-1, n)
                write_halves(folder, f"betas_nsd{experiment}.mgh", percent)
            elif "hdf5" in formats:
                write_hdf5_betas(further.betas(experiment, subject), xyzt)
            else:
                write_nifti(further.betas(experiment, subject, ".nii.gz"), xyzt)


def write_nsd_further(root, *, seed=0, formats=("hdf5",), surface=False, **options):
    """The tiny NSD with both further experiments of each of its subjects."""
    nsd = write_nsd_surface(root, seed=seed) if surface else write_nsd(root, seed=seed, formats=formats, **options)
    further, rng = Further(nsd), np.random.default_rng([seed, 7])
    subjects = list(nsd.stored)
    write_synthetic(further, rng, subjects)
    write_imagery(further, rng, subjects)
    write_betas(further, rng, subjects, formats, surface)
    return further
