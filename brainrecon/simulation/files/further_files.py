"""Write the files of NSD's further experiments: names, shapes, index bases and units as in the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from brainrecon.simulation.brain.anatomy import Anatomy
from brainrecon.simulation.brain.surface import Surface
from brainrecon.simulation.files import nsd_files, surface_files
from brainrecon.simulation.files.new_hdf5 import new_hdf5

_SYNTHETIC = Path("nsddata/experiments/nsdsynthetic")
_IMAGERY = Path("nsddata/experiments/nsdimagery")
_SECONDS = 4.0


def linear(pictures: NDArray) -> NDArray:
    """Values of the core's screen as those that a screen of linear light would need for the same luminance, uint8."""
    return np.rint((pictures / 255.0) ** 2 * 255).astype(np.uint8)


def write_betas(
    root: Path, experiment: str, subject: int, betas: NDArray, anatomy: Anatomy, formats: str, surface: Surface | None
) -> None:
    """Write the betas of a further session, and on a mesh too if there is one.

    Parameters
    ----------
    root : Path
        Root of the tree.
    experiment : {"synthetic", "imagery"}
    subject : int
        Counts from 1.
    betas : array of shape (n_trials, n_brain), int16
    anatomy : Anatomy
    formats : {"hdf5", "nifti", "both"}
    surface : Surface or None
    """
    name, version = f"betas_nsd{experiment}", f"nsd{experiment}{nsd_files.BETAS_VERSION}"
    folder = root / "nsddata_betas/ppdata" / nsd_files.subject_name(subject)
    written = ("hdf5", "nifti") if formats == "both" else (formats,)
    nsd_files.write_trials(folder / nsd_files.SPACE / version, name, betas, anatomy.brain, written)
    if surface is not None:
        percent = betas.T[surface.voxels] / np.float32(nsd_files.BETA_UNIT)
        surface_files.write_halves(folder / surface_files.SPACE / version, f"{name}.mgh", percent)


def write_synthetic_pictures(root: Path, subject: int, pictures: NDArray, n_shared: int) -> None:
    """Write the brick of the pictures that all see, and that of a subject's own."""
    folder = root / "nsddata_stimuli/stimuli/nsdsynthetic"
    own = f"nsdsynthetic_colorstimuli_{nsd_files.subject_name(subject)}.hdf5"
    for name, part in (("nsdsynthetic_stimuli.hdf5", pictures[:n_shared]), (own, pictures[n_shared:])):
        if not (folder / name).exists():
            with new_hdf5(nsd_files.make(folder / name)) as file:
                file.create_dataset("imgBrick", data=part, chunks=(1, *part.shape[1:]), track_times=False)


def write_synthetic_design(root: Path, order: NDArray, classes: list[str], n_runs: int) -> None:
    """Write which picture, counted from 0, is shown on each trial, in runs of about one length, and what pictures are."""
    lengths = [len(part) for part in np.array_split(order, n_runs)]
    pattern = np.zeros((1, n_runs, max(lengths) + 7))
    for run, length in enumerate(lengths):
        pattern[0, run, 3 : 3 + length] = 1
    content = {"masterordering": order[None] + 1.0, "stimpattern": pattern}
    nsd_files.write_mat(root / _SYNTHETIC / "nsdsynthetic_expdesign.mat", content)
    numbers = np.arange(1, len(classes) + 1)
    known = list(dict.fromkeys(classes))
    table = pd.DataFrame({
        "Image number": numbers,
        "Image": [f"picture_{number}" for number in numbers],
        "Image subclass number": numbers,
        "Image subclass": classes,
        "Image class number": [known.index(name) + 1 for name in classes],
        "Image class": classes,
    })  # fmt: skip
    path = nsd_files.make(root / _SYNTHETIC / "nsdsyntheticimageinformation.csv")
    table.to_csv(path, index=False, lineterminator="\n")


def write_targets(root: Path, targets: dict[str, dict[str, str]]) -> None:
    """Write which target each cue of a set stands for, set -> cue -> target."""
    for of_set, pairs in targets.items():
        cells = np.empty((len(pairs), 3), dtype=object)
        for row, (cue, target) in enumerate(pairs.items()):
            cells[row] = float(row + 1), target, cue
        nsd_files.write_mat(root / _IMAGERY / f"{of_set}_pair_list.mat", {"pair_list": cells})


def write_target_pictures(root: Path, of_set: str, pictures: dict[str, NDArray]) -> None:
    """Write the pictures of a set by the name of their file."""
    for name, picture in pictures.items():
        Image.fromarray(picture).save(nsd_files.make(root / _IMAGERY / "rawtargetimages" / f"set{of_set}" / name))


def write_run(root: Path, subject: int, run: str, number: int, conditions: list[str], cues: list[str]) -> None:
    """Write the trials of a run: what was seen or imagined, and the letter that was shown."""
    name = nsd_files.subject_name(subject)
    trial = np.arange(1, len(conditions) + 1)
    table = pd.DataFrame({
        "SUBJECT": subject,
        "SESSION": 1,
        "RUN": number,
        "TRIAL": trial,
        "CONDITION": conditions,
        "CUE": cues,
        "TRIALONSET": 12 + _SECONDS * (trial - 1),
    })  # fmt: skip
    path = nsd_files.make(root / "nsddata/bdata/nsdimagery" / f"nsdimagery_{name}_{run}.tsv")
    table.to_csv(path, sep="\t", index=False, lineterminator="\n")
