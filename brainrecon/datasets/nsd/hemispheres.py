"""NSD's single-trial betas on the cortical surface: a file of each hemisphere for a session.

    fsaverage       {lh,rh}.betas_sessionNN.mgh, (n_vertices, 1, 1, n_trials) float32, percent signal change
    nativesurface   {lh,rh}.betas_sessionNN.hdf5, ``betas`` (n_trials, n_vertices) int16, percent signal change times 300

The left hemisphere's vertices come first. How many there are the files say.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from brainrecon.datasets.spaces.surface_places import HEMISPHERES
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.hdf5_files import dataset, hdf5_file
from stages.ground.reading.nifti_files import nifti_values, open_nifti

BLOCK_BYTES = 64 * 2**20


class HemisphereFiles(NamedTuple):
    """The file of each hemisphere.

    >>> str(HemisphereFiles(Path("lh.ncsnr.mgh"), Path("rh.ncsnr.mgh")))
    'lh.ncsnr.mgh and rh.ncsnr.mgh'
    """

    lh: Path
    rh: Path

    def __str__(self) -> str:
        return f"{self.lh} and {self.rh.name}"


def session_files(folder: Path, suffix: str) -> dict[int, HemisphereFiles]:
    """Sessions of which a folder has a hemisphere, by number, in order; none if there is none."""
    numbers = set()
    for path in visible(folder, f"?h.betas_session*{suffix}"):
        if number := re.fullmatch(r"[lr]h\.betas_session(\d+)", path.name.removesuffix(suffix)):
            numbers.add(number[1])
    named = {int(number): f"betas_session{number}{suffix}" for number in sorted(numbers)}
    return {session: hemisphere_files(folder, name) for session, name in sorted(named.items())}


def hemisphere_files(folder: Path, name: str) -> HemisphereFiles:
    """The files of both hemispheres of a name, there or not."""
    return HemisphereFiles(*(folder / f"{side}.{name}" for side in HEMISPHERES))


def check_both(sessions: dict[int, HemisphereFiles]) -> None:
    """Raise an InputError if a session lacks a hemisphere."""
    for session, files in sessions.items():
        for path in files:
            if not path.is_file():
                raise InputError(
                    f"Session {session} has one hemisphere only: {path} is not there; add it, or ask for other sessions."
                )


def session_shape(files: HemisphereFiles) -> tuple[int, tuple[int]]:
    """Number of trials of a session, and of vertices of both hemispheres, from the files' headers.

    Raises
    ------
    InputError
        A file cannot be opened or has another layout, or the hemispheres have other numbers of trials.
    """
    (left_trials, left), (right_trials, right) = (_shape(path) for path in files)
    if left_trials != right_trials:
        raise InputError(
            f"{files.lh} has {left_trials:,} trials but {files.rh.name} {right_trials:,}; copy both from the same session."
        )
    return left_trials, (left + right,)


def n_vertices(files: HemisphereFiles) -> tuple[int, int]:
    """Vertices of the left and of the right hemisphere."""
    left, right = (_shape(path)[1] for path in files)
    return left, right


def _shape(path: Path) -> tuple[int, int]:
    """(n_trials, n_vertices) of one hemisphere."""
    if path.suffix == ".hdf5":
        with hdf5_file(path) as file:
            shape = dataset(file, "betas").shape
        if len(shape) != 2:
            raise InputError(f"{path} holds betas {shape}; expected (trials, vertices): copy the file again.")
        return shape
    shape = tuple(map(int, open_nifti(path).shape))
    if len(shape) != 4 or shape[1:3] != (1, 1):
        raise InputError(f"{path} has shape {shape}; expected (vertices, 1, 1, trials): copy the file again.")
    return shape[3], shape[0]


def read_session(files: HemisphereFiles, mask: np.ndarray) -> np.ndarray:
    """Vertices of one session, as stored.

    Parameters
    ----------
    files : HemisphereFiles
    mask : bool array of shape (n_left + n_right,)

    Returns
    -------
    stored : array of shape (n_trials, n_chosen)
        In the files' own type and scale. Reads about 64 MB at a time.

    Raises
    ------
    InputError
        A file is damaged.
    """
    n_left = n_vertices(files)[0]
    parts = [_read(path, inside) for path, inside in zip(files, (mask[:n_left], mask[n_left:]))]
    return np.concatenate(parts, axis=1)


def _read(path: Path, mask: np.ndarray) -> np.ndarray:
    chosen = np.flatnonzero(mask)
    if path.suffix == ".hdf5":
        with hdf5_file(path) as file:
            betas = dataset(file, "betas")
            step = max(1, BLOCK_BYTES // (betas.shape[1] * betas.dtype.itemsize))
            blocks = [betas[start : start + step][:, chosen] for start in range(0, len(betas), step)]
    else:
        with nifti_values(path) as values:
            step = max(1, BLOCK_BYTES // (len(mask) * values.dtype.itemsize))
            starts = range(0, values.shape[3], step)
            blocks = [np.asanyarray(values[:, 0, 0, start : start + step])[chosen].T for start in starts]
    stored = np.concatenate(blocks)
    return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def first_trial(files: HemisphereFiles) -> np.ndarray:
    """Values of all vertices on a session's first trial, (n_left + n_right,), from .mgh files."""
    halves = []
    for path in files:
        with nifti_values(path) as values:
            halves.append(np.asanyarray(values[:, 0, 0, 0]))
    return np.concatenate(halves)


def read_map(files: HemisphereFiles) -> np.ndarray | None:
    """One value for each vertex of both hemispheres, (n_vertices,); None if a file is not there.

    Raises
    ------
    InputError
        A file is damaged or holds something else.
    """
    if not all(path.is_file() for path in files):
        return None
    return np.concatenate([read_half(path) for path in files])


def read_half(path: Path) -> np.ndarray:
    """One value for each vertex of a hemisphere, (n_vertices,), from an .mgh or .mgz file."""
    with nifti_values(path) as values:
        found = np.asanyarray(values)
    if found.ndim != 3 or found.size != max(found.shape):
        raise InputError(f"{path} has shape {found.shape}; expected (vertices, 1, 1): copy the file again.")
    return found.reshape(-1).astype(found.dtype.newbyteorder("="))
