"""A tiny NSD, written from its description alone: the independent reference for the reader.

Nothing here uses the toolkit, the simulator included. Counting follows the original: from 1 in `.mat`, `.tsv`
and the rep columns, from 0 in nsdId and in the stimulus file.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import scipy.io

VERSION = "betas_fithrf_GLMdenoise_RR"


@dataclass
class Written:
    """What was written, in the simplest terms."""

    root: Path
    shape: tuple = (7, 5, 4)
    trials_per_run: tuple = (5, 4)
    n_sessions: int = 3
    n_shared: int = 4
    n_pictures: int = 9
    stored: dict = field(default_factory=dict)  # subject -> session -> int16 (x, y, z, trials)
    shown: dict = field(default_factory=dict)  # subject -> session -> list of 0-based pictures
    rois: dict = field(default_factory=dict)  # subject -> atlas -> (x, y, z)
    shared: list = field(default_factory=list)  # 0-based pictures
    images: np.ndarray = None
    coco_ids: list = None
    ncsnr: dict = field(default_factory=dict)

    @property
    def trials_per_session(self):
        return sum(self.trials_per_run)

    def betas_folder(self, subject="subj01", version=VERSION):
        return self.root / "nsddata_betas/ppdata" / subject / "func1pt8mm" / version

    def roi_file(self, atlas, subject="subj01"):
        return self.root / f"nsddata/ppdata/{subject}/func1pt8mm/roi/{atlas}.nii.gz"

    def session(self, number, subject="subj01", suffix=".hdf5"):
        return self.betas_folder(subject) / f"betas_session{number:02d}{suffix}"

    @property
    def design(self):
        return self.root / "nsddata/experiments/nsd/nsd_expdesign.mat"

    @property
    def stimuli(self):
        return self.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"

    @property
    def annotations(self):
        return self.root / "nsddata_stimuli/stimuli/nsd/annotations"

    def responses(self, subject="subj01"):
        return self.root / f"nsddata/ppdata/{subject}/behav/responses.tsv"


def write_nifti(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.8, 1.8, 1.8, 1])), path)


def write_hdf5_betas(path, xyzt, dtype=None):
    """MATLAB's x, y, z, t becomes t, z, y, x in h5py; one chunk per voxel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", data=xyzt.T, chunks=(xyzt.shape[3], 1, 1, 1), dtype=dtype)


def _write_rois(written, rng, subject):
    shape = written.shape
    general = rng.choice([-1, 0, 1], size=shape)
    visual = rng.choice([-1, 0, 1, 2, 3, 4, 5, 6, 7], size=shape)
    faces = np.where(visual == 0, 2, np.minimum(visual, 0))  # only FFA-1: OFA and others have no voxel
    written.rois[subject] = {"nsdgeneral": general, "prf-visualrois": visual, "floc-faces": faces}
    for atlas, values in written.rois[subject].items():
        write_nifti(written.roi_file(atlas, subject), values.astype(np.int16))
    label = written.root / f"nsddata/freesurfer/{subject}/label/floc-faces.mgz.ctab"
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text("0 Unknown\n1 OFA\n2 FFA-1\n3 FFA-2\n")


def write_nsd(root, *, seed=0, n_subjects=2, formats=("hdf5",), responses=True, annotations=True, **sizes):
    written = Written(Path(root), **sizes)
    rng = np.random.default_rng(seed)
    n_all = written.n_shared + n_subjects * (written.n_pictures - written.n_shared) + 5
    numbers = rng.permutation(n_all)
    written.shared = numbers[: written.n_shared].tolist()
    n_trials = written.trials_per_session * written.n_sessions
    masterordering = rng.permutation(np.resize(np.arange(1, written.n_pictures + 1), n_trials))

    subjectim = []
    own = iter(numbers[written.n_shared :].tolist())
    for _ in range(n_subjects):
        mine = written.shared + [next(own) for _ in range(written.n_pictures - written.n_shared)]
        subjectim.append([picture + 1 for picture in mine])
    runs = len(written.trials_per_run)
    stimpattern = np.zeros((written.n_sessions, runs, max(written.trials_per_run) + 2), dtype=np.uint8)
    for run, count in enumerate(written.trials_per_run):
        stimpattern[:, run, 1 : 1 + count] = 1
    written.design.parent.mkdir(parents=True)
    scipy.io.savemat(
        written.design,
        {
            "masterordering": masterordering[None].astype(float),
            "subjectim": np.array(subjectim, dtype=float),
            "sharedix": np.sort(np.array(written.shared))[None] + 1.0,
            "stimpattern": stimpattern,
        },
    )

    written.images = rng.integers(0, 256, (n_all, 6, 6, 3), dtype=np.uint8)
    written.stimuli.parent.mkdir(parents=True)
    with h5py.File(written.stimuli, "w") as file:
        file["imgBrick"] = written.images
    written.coco_ids = (rng.permutation(n_all) * 7 + 1000).tolist()
    table = pd.DataFrame(
        {
            "cocoId": written.coco_ids,
            "cocoSplit": ["val2017" if number % 3 == 0 else "train2017" for number in range(n_all)],
            "nsdId": range(n_all),
        }
    )
    table.to_csv(written.design.parent / "nsd_stim_info_merged.csv")
    if annotations:
        written.annotations.mkdir()
        for split, rows in table.groupby("cocoSplit"):
            captions = [
                {"image_id": int(row.cocoId), "id": 2 * k + j, "caption": f"caption {j} of\n{row.cocoId} "}
                for k, row in enumerate(rows.itertuples())
                for j in range(2)
            ]
            instances = [
                {"image_id": int(row.cocoId), "category_id": category}
                for row in rows.itertuples()
                for category in (90, 3, 90)
            ]
            (written.annotations / f"captions_{split}.json").write_text(json.dumps({"annotations": captions}))
            content = {
                "annotations": instances,
                "categories": [{"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}],
            }
            (written.annotations / f"instances_{split}.json").write_text(json.dumps(content))

    for index in range(n_subjects):
        subject = f"subj{index + 1:02d}"
        _write_rois(written, rng, subject)
        written.ncsnr[subject] = rng.random(written.shape).astype(np.float32)
        write_nifti(written.betas_folder(subject) / "ncsnr.nii.gz", written.ncsnr[subject])
        written.stored[subject], written.shown[subject], behaviour = {}, {}, []
        trial = 0
        for session in range(1, written.n_sessions + 1):
            xyzt = rng.integers(-3000, 3000, (*written.shape, written.trials_per_session), dtype=np.int16)
            written.stored[subject][session] = xyzt
            written.shown[subject][session] = []
            for run, count in enumerate(written.trials_per_run, start=1):
                for number in range(1, count + 1):
                    picture = subjectim[index][masterordering[trial] - 1] - 1
                    written.shown[subject][session].append(picture)
                    behaviour.append((index + 1, session, run, number, picture + 1, masterordering[trial]))
                    trial += 1
            if "hdf5" in formats:
                write_hdf5_betas(written.session(session, subject), xyzt)
            if "nifti" in formats:
                write_nifti(written.session(session, subject, ".nii.gz"), xyzt)
        if responses:
            path = written.responses(subject)
            path.parent.mkdir(parents=True)
            columns = ["SUBJECT", "SESSION", "RUN", "TRIAL", "73KID", "10KID"]
            pd.DataFrame(behaviour, columns=columns).to_csv(path, sep="\t", index=False)
    return written
