"""Write NSD's own files: names, shapes, axis orders, index bases and units as in the original.

Everything counts from 1 in the `.mat` file, `responses.tsv` and the repetition columns of the stimulus table;
the stimulus file and its `nsdId` count from 0. Volumes are (x, y, z) in NIfTI and (z, y, x) in HDF5, with
trials last and first. The same content gives the same bytes: whatever would record the time of writing is
told not to.
"""

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
from scipy.io import savemat

from brainrecon.simulation.brain.anatomy import ATLASES, VOXEL_MILLIMETRES, Anatomy
from brainrecon.simulation.files.new_hdf5 import new_hdf5
from brainrecon.simulation.world.stimuli import Shown

MARKER = "simulated.json"
"""Only simulated cohorts have this file, at the root of the tree."""

SPACE = "func1pt8mm"
BETAS_VERSION = "betas_fithrf_GLMdenoise_RR"

SUBJECTS_OF_TABLE = 8
"""The stimulus table and the design have room for eight subjects; those that are not there hold zeros."""

BETA_UNIT = 300
"""Betas are stored as percent signal change times this, in 16-bit integers."""

_STIMULI = Path("nsddata_stimuli/stimuli/nsd")
_MAT_HEADER = b"MATLAB 5.0 MAT-file, simulated by brainrecon"
_COCO_PRIME = 611953


def subject_name(subject: int) -> str:
    """Folder name of a subject that counts from 1."""
    return f"subj{subject:02d}"


def write_design(root: Path, ordering, subject_numbers, shared_numbers, pattern, counts) -> None:
    """Write nsd_expdesign.mat.

    Parameters
    ----------
    root : Path
        Root of the tree.
    ordering : array of shape (n_trials,), int
        `masterordering`: stimulus of each trial, 1-based, the same for all subjects.
    subject_numbers : array of shape (8, n_stimuli), int
        `subjectim`: 1-based picture number of each subject's stimuli; 0 for subjects that are not there.
    shared_numbers : array of shape (n_shared,), int
        `sharedix`: 1-based numbers of the shared pictures.
    pattern : array of shape (n_sessions, 12, n_slots), int
        `stimpattern`: 1 where a slot holds a trial.
    counts : array of shape (3, n_sessions), int
        `basiccnt`: trials of each session that are a first, second and third presentation.
    """
    content = {
        "masterordering": np.atleast_2d(ordering),
        "subjectim": subject_numbers,
        "sharedix": np.atleast_2d(shared_numbers),
        "stimpattern": pattern,
        "basiccnt": counts,
    }
    # MATLAB keeps numbers as doubles unless told otherwise, and so does the original.
    numbers = {name: np.asarray(values, float) for name, values in content.items()}
    write_mat(root / "nsddata/experiments/nsd/nsd_expdesign.mat", numbers)


def write_mat(path: Path, content: dict) -> None:
    """Write a MATLAB file of version 5 without the date."""
    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=True)
    # The first 116 bytes are free text, into which SciPy writes the date.
    make(path).write_bytes(_MAT_HEADER.ljust(116) + buffer.getvalue()[116:])


def coco_ids(n: int) -> np.ndarray:
    """COCO id of each picture number: scattered, unique, and the same however many pictures follow."""
    return np.arange(1, n + 1) * 174763 % _COCO_PRIME


def coco_splits(ids: np.ndarray) -> np.ndarray:
    """COCO split of each id; about one picture in ten is from the validation split."""
    return np.where(ids % 10 == 0, "val2017", "train2017")


def write_stimulus_table(root: Path, n_pictures: int, shared_numbers, ordering, subject_numbers) -> None:
    """Write nsd_stim_info_merged.csv; arguments as for `write_design`."""
    numbers = np.arange(n_pictures)
    ids = coco_ids(n_pictures)
    table = pd.DataFrame({
        "cocoId": ids,
        "cocoSplit": coco_splits(ids),
        "cropBox": "(0, 0, 0, 0)",
        "loss": 0.0,
        "nsdId": numbers,
        "flagged": False,
        "BOLD5000": False,
        "shared1000": np.isin(numbers + 1, shared_numbers),
    })  # fmt: skip
    for subject, row in enumerate(subject_numbers, start=1):
        table[f"subject{subject}"] = np.isin(numbers + 1, row).astype(int)
    presentation = pd.Series(ordering).groupby(ordering).cumcount().to_numpy()
    for subject, row in enumerate(subject_numbers, start=1):
        trials = np.zeros((n_pictures, int(presentation.max()) + 1), int)
        if row.any():
            trials[row[ordering - 1] - 1, presentation] = np.arange(1, len(ordering) + 1)
        for repeat, column in enumerate(trials.T):
            table[f"subject{subject}_rep{repeat}"] = column
    table.to_csv(make(root / "nsddata/experiments/nsd/nsd_stim_info_merged.csv"), lineterminator="\n")


@contextmanager
def new_stimulus_file(root: Path, n_pictures: int, size: int) -> Iterator[h5py.File]:
    """Open nsd_stimuli.hdf5 with an empty `imgBrick` (n_pictures, size, size, 3), uint8, to be filled."""
    with new_hdf5(make(root / _STIMULI / "nsd_stimuli.hdf5")) as file:
        shape = (n_pictures, size, size, 3)
        file.create_dataset("imgBrick", shape, np.uint8, chunks=(1, *shape[1:]), track_times=False)
        yield file


def write_annotations(root: Path, shown: Sequence[Shown], categories: Sequence[str], size: int) -> None:
    """Write captions and instances in COCO's JSON, one file per split and kind.

    Parameters
    ----------
    root : Path
        Root of the tree.
    shown : sequence of Shown
        What each picture shows, by picture number.
    categories : sequence of str
        Names of the COCO categories 1, 2, ….
    size : int
        Side of a picture. An instance's box is the whole picture: where exactly the thing stands is not
        recorded.
    """
    ids = coco_ids(len(shown))
    splits = coco_splits(ids)
    listed = [{"id": k, "name": name, "supercategory": "simulated"} for k, name in enumerate(categories, start=1)]
    for split in ("train2017", "val2017"):
        images, captions, instances = [], [], []
        for number in np.flatnonzero(splits == split):
            image = int(ids[number])
            images.append({"id": image, "file_name": f"{image:012d}.jpg", "height": size, "width": size})
            for k, caption in enumerate(shown[number].captions):
                captions.append({"id": int(number) * 10 + k, "image_id": image, "caption": caption})
            for name in shown[number].categories:
                instances.append({
                    "id": len(instances), "image_id": image, "category_id": 1 + categories.index(name),
                    "bbox": [0, 0, size, size], "area": size * size, "iscrowd": 0, "segmentation": [],
                })  # fmt: skip
        head = {"info": {"description": "simulated by brainrecon"}, "licenses": [], "images": images}
        folder = root / _STIMULI / "annotations"
        _write_json(folder / f"captions_{split}.json", head | {"annotations": captions})
        _write_json(folder / f"instances_{split}.json", head | {"annotations": instances, "categories": listed})


def write_volume(path: Path, volume: np.ndarray) -> None:
    """Write a compressed NIfTI volume (x, y, z) or (x, y, z, t) with its origin at the centre, as in NSD."""
    affine = np.diag([VOXEL_MILLIMETRES] * 3 + [1.0])
    affine[:3, 3] = -(np.array(volume.shape[:3]) - 1) / 2 * VOXEL_MILLIMETRES
    image = nibabel.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm", "sec")
    with (
        make(path).open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0) as file,
    ):
        file.write(image.to_bytes())


def write_anatomy(root: Path, subject: int, anatomy: Anatomy, receptive_fields: dict[str, np.ndarray]) -> None:
    """Write the brain mask, the atlases for both and for single hemispheres, their label names and pRF maps.

    Parameters
    ----------
    root : Path
        Root of the tree.
    subject : int
        Counts from 1.
    anatomy : Anatomy
        What to write.
    receptive_fields : dict of str to array of shape (n_cortex,), float32
        Maps to write as prf_<name>.nii.gz, not a number outside the cortex.
    """
    folder = root / "nsddata/ppdata" / subject_name(subject) / SPACE
    write_volume(folder / "brainmask.nii.gz", anatomy.brain.astype(np.int16))
    for name, values in receptive_fields.items():
        write_volume(folder / f"prf_{name}.nii.gz", anatomy.volume(values, np.nan))
    for atlas, names in ATLASES.items():
        labels = anatomy.labels[atlas]
        for side, there in (("", True), ("lh.", ~anatomy.right), ("rh.", anatomy.right)):
            # In a hemisphere's own file the other hemisphere is as much outside as white matter.
            values = np.where(there, labels, -1).astype(np.int16)
            write_volume(folder / "roi" / f"{side}{atlas}.nii.gz", anatomy.volume(values, -1))
        text = "".join(f"{value} {name}\n" for value, name in enumerate(("Unknown", *names)))
        for owner in (subject_name(subject), "fsaverage"):
            make(root / "nsddata/freesurfer" / owner / "label" / f"{atlas}.mgz.ctab").write_text(text)


def write_responses(root: Path, subject: int, table: pd.DataFrame) -> None:
    """Write responses.tsv."""
    path = make(root / "nsddata/ppdata" / subject_name(subject) / "behav/responses.tsv")
    table.to_csv(path, sep="\t", index=False, na_rep="NaN", lineterminator="\n")


def betas_folder(root: Path, subject: int) -> Path:
    """Folder of a subject's betas."""
    return root / "nsddata_betas/ppdata" / subject_name(subject) / SPACE / BETAS_VERSION


def write_betas(
    root: Path, subject: int, session: int, betas: np.ndarray, brain: np.ndarray, formats: Sequence[str]
) -> None:
    """Write one session's betas and their mean.

    Parameters
    ----------
    root : Path
        Root of the tree.
    subject, session : int
        Count from 1.
    betas : array of shape (n_trials, n_brain), int16
        Percent signal change times 300, voxels in C order of (x, y, z).
    brain : array of shape (x, y, z), bool
        The brain mask; betas are zero elsewhere.
    formats : sequence of {"hdf5", "nifti"}
        Which files to write.
    """
    folder = betas_folder(root, subject)
    write_trials(folder, f"betas_session{session:02d}", betas, brain, formats)
    mean = np.zeros(brain.shape, np.int16)
    mean[brain] = np.rint(betas.mean(0))
    write_volume(folder / f"meanbeta_session{session:02d}.nii.gz", mean)


def write_trials(folder: Path, name: str, betas: np.ndarray, brain: np.ndarray, formats: Sequence[str]) -> None:
    """Write the betas of trials as ``name.hdf5`` and ``name.nii.gz``; arguments as for `write_betas`."""
    n_trials = len(betas)
    volumes = np.zeros((*brain.shape, n_trials), np.int16)
    volumes[brain] = betas.T
    if "nifti" in formats:
        write_volume(folder / f"{name}.nii.gz", volumes)
    if "hdf5" in formats:
        # MATLAB's x, y, z, trial with one voxel's trials per chunk; HDF5 lists the axes the other way round.
        with new_hdf5(make(folder / f"{name}.hdf5")) as file:
            shape = volumes.T.shape
            file.create_dataset("betas", shape, np.int16, chunks=(n_trials, 1, 1, 1), track_times=False)[...] = (
                volumes.T
            )


def write_noise_ceiling(root: Path, subject: int, ncsnr: np.ndarray, brain: np.ndarray) -> None:
    """Write ncsnr.nii.gz from one value per brain voxel; zero outside the brain."""
    volume = np.zeros(brain.shape, np.float32)
    volume[brain] = ncsnr
    write_volume(betas_folder(root, subject) / "ncsnr.nii.gz", volume)


def write_marker(root: Path, content: dict) -> None:
    """Write the file that says that these data are simulated, and how."""
    _write_json(root / MARKER, content, indent=2)


def _write_json(path, content, indent=None):
    make(path).write_text(json.dumps(content, indent=indent, sort_keys=True) + "\n", encoding="utf-8")


def make(path):
    """The path, once its folder is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
