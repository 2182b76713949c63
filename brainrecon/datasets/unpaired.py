"""Responses without stimuli: files of rows in a folder, a subject each, as an encoder is pretrained on them.

.npy                   rows of shape (n_responses, n_voxels)
.npz, .safetensors     such an array, alone or called "patterns" or "betas"
.h5, .hdf5             likewise
.npz with V1 .. V4     time series of a resting run, (n_moments, n_voxels) of each area: side by side, and averaged in windows
                       (HCP_visual_voxel.npz of MinD-Vis, Chen et al., CVPR 2023)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open

from brainrecon.datasets.hdf5_rows import Hdf5Rows
from stages.adapters.fixed_length import windows
from stages.ground.errors import InputError
from stages.ground.reading.hdf5_files import hdf5_file
from stages.ground.reading.numpy_files import npz_file, read_npy
from stages.ground.reading.wall import reading

SUFFIXES = (".npy", ".npz", ".safetensors", ".h5", ".hdf5")
NAMES = ("patterns", "betas")
AREAS = ("V1", "V2", "V3", "V4")
# A file of this name is its folder's subject.
OF_A_SUBJECT = "HCP_visual_voxel"


def read_unpaired(path, moments=10):
    """Responses of all subjects in a file, or below a folder.

    >>> folder = getfixture("tmp_path")
    >>> np.save(folder / "anna.npy", np.zeros((5, 30), np.float32))
    >>> np.savez(folder / "ben.npz", **{area: np.ones((1200, 4)) for area in AREAS})
    >>> {name: rows.shape for name, rows in read_unpaired(folder).items()}
    {'anna': (5, 30), 'ben': (120, 16)}

    Parameters
    ----------
    path : path
    moments : int
        Of a time series, that are averaged to one response. MinD-Vis takes 10, some 7 seconds.

    Returns
    -------
    responses : dict of str to rows of shape (n_responses, n_voxels)
        By the file's path below the folder without its ending, or by the folder of an `HCP_visual_voxel.npz`; in order of the
        paths. What lies in .npy and HDF5 files stays there until it is asked for.

    Raises
    ------
    InputError
        There is no such file, or one is damaged or holds other arrays.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES)
    files = [one for one in files if one.is_file() and not one.name.startswith(".")]
    if not files:
        what = "holds no such file" if path.is_dir() else "is not there"
        raise InputError(
            f"{path} {what}; expected responses in files of {', '.join(SUFFIXES)}, a subject each, or data as KIND:PATH."
        )
    found = {}
    for file in files:
        place = file.parent if file.stem == OF_A_SUBJECT else file.with_suffix("")
        name = place.name if path.is_file() or place == path else place.relative_to(path).as_posix()
        if name in found:
            raise InputError(
                f"{path} has responses of {name!r} in two files, the second {file.name}; keep one of them."
            )
        found[name] = _checked(_read(file, moments), file)
    return found


def _read(file, moments):
    suffix = file.suffix.lower()
    if suffix == ".npy":
        return read_npy(file, mapped=True)
    if suffix == ".npz":
        with npz_file(file) as archive:
            if set(AREAS) <= set(archive.names):
                return _averaged([archive.read(area) for area in AREAS], file, moments)
            return archive.read(_name(archive.names, file))
    if suffix == ".safetensors":
        with reading(file, "safetensors", "save it again with safetensors.numpy.save_file"):
            with safe_open(file, framework="numpy") as tensors:
                return tensors.get_tensor(_name(list(tensors.keys()), file))
    with hdf5_file(file) as opened:
        name = _name(list(opened), file)
    return Hdf5Rows(file, name)


def _averaged(series, file, moments):
    shapes = {area: one.shape for area, one in zip(AREAS, series)}
    if len({shape[:1] for shape in shapes.values()}) > 1 or any(len(shape) != 2 for shape in shapes.values()):
        told = ", ".join(f"{area} {shape}" for area, shape in shapes.items())
        raise InputError(f"{file} holds {told}; expected series (n_moments, n_voxels) of as many moments in each area.")
    n_moments = len(series[0])
    if n_moments < moments:
        raise InputError(
            f"{file} holds series of {n_moments:,} moments, of which {moments} make a response; give --moments {n_moments} or "
            "fewer."
        )
    return windows(np.concatenate(series, axis=1), n_moments // moments).astype(np.float32)


def _name(names, file):
    """The array among those of a file: the only one, or the one that is called so."""
    known = [name for name in NAMES if name in names] or (names if len(names) == 1 else [])
    if len(known) != 1:
        raise InputError(
            f"{file} holds {', '.join(sorted(names)) or 'no array'}; expected one array of responses, one called "
            f"{' or '.join(map(repr, NAMES))}, or series called {', '.join(AREAS)}: save it again."
        )
    return known[0]


def _checked(rows, file):
    if len(rows.shape) != 2 or 0 in rows.shape or rows.dtype.kind not in "fiu":
        raise InputError(
            f"{file} holds an array of shape {tuple(rows.shape)} and type {rows.dtype}; expected numbers of shape (n_responses, "
            "n_voxels): save a row per response."
        )
    return rows
