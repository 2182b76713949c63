"""Write NSD's files of the average surface: betas, noise ceilings and labels of each hemisphere, as FreeSurfer's MGH.

As in the original, betas are (n_vertices, 1, 1, n_trials), float32 and percent signal change, without the factor of the volumes.
"""

import gzip
from pathlib import Path

import nibabel
import numpy as np

from brainrecon.datasets.spaces.surface_places import HEMISPHERES
from brainrecon.simulation.brain.anatomy import ATLASES
from brainrecon.simulation.brain.surface import NUMBERS, Surface
from brainrecon.simulation.files.nsd_files import BETA_UNIT, BETAS_VERSION, make, subject_name

SPACE = "fsaverage"


def write_labels(root: Path, surface: Surface) -> None:
    """Write the atlases of fsaverage and the names of their labels."""
    folder = root / "nsddata/freesurfer/fsaverage/label"
    for atlas, values in surface.labels.items():
        names = {number: name for name, number in NUMBERS.items()}
        if atlas in ATLASES:
            names = dict(enumerate(ATLASES[atlas], start=1))
        write_halves(folder, f"{atlas}.mgz", values.astype(np.int32))
        text = "".join(f"{value} {name}\n" for value, name in sorted((names | {0: "Unknown"}).items()))
        make(folder / f"{atlas}.mgz.ctab").write_text(text)


def write_betas(root: Path, subject: int, session: int, betas: np.ndarray, surface: Surface) -> None:
    """Write one session's betas.

    Parameters
    ----------
    root : Path
        Root of the tree.
    subject, session : int
        Count from 1.
    betas : array of shape (n_trials, n_brain), int16
        Percent signal change times 300, over the voxels of the brain mask.
    surface : Surface
    """
    percent = betas.T[surface.voxels] / np.float32(BETA_UNIT)
    write_halves(_folder(root, subject), f"betas_session{session:02d}.mgh", percent)


def write_noise_ceiling(root: Path, subject: int, ncsnr: np.ndarray, surface: Surface) -> None:
    """Write ncsnr.mgh of each hemisphere from one value per brain voxel."""
    write_halves(_folder(root, subject), "ncsnr.mgh", ncsnr[surface.voxels].astype(np.float32))


def _folder(root, subject):
    return root / "nsddata_betas/ppdata" / subject_name(subject) / SPACE / BETAS_VERSION


def write_halves(folder: Path, name: str, values: np.ndarray) -> None:
    """Write values (n_vertices,) or (n_vertices, n_trials) as a file of each hemisphere, the left one's first."""
    for side, half in zip(HEMISPHERES, np.split(values, 2)):
        image = nibabel.MGHImage(half.reshape(len(half), 1, 1, *half.shape[1:]), np.eye(4))
        content = image.to_bytes()
        # Packed without the time of day, so that equal values are equal files.
        packed = gzip.compress(content, 4, mtime=0) if name.endswith(".mgz") else content
        make(folder / f"{side}.{name}").write_bytes(packed)
