"""Where the values of a folder of arrays are, as it is stored: see `brainrecon.datasets.arrays.folder`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from brainrecon.datasets.spaces.grayordinates import GRAYORDINATES, Grayordinates
from brainrecon.datasets.spaces.sensors import SENSORS, Sensors
from brainrecon.datasets.spaces.space import Space
from brainrecon.datasets.spaces.surface_places import FLAT, SURFACE, SurfacePlaces
from brainrecon.datasets.spaces.voxel_grid import GRID, VoxelGrid
from stages.ground.errors import InputError
from stages.ground.reading.numpy_files import read_npy


class StoredKind(NamedTuple):
    """How a kind of space is stored beside arrays.

    Attributes
    ----------
    name : str
        Its entry of subject.json.
    file : str
        The file that goes with the entry.
    what : str
        What the file holds, a phrase.
    read : callable
        ``read(path, facts, n_voxels) -> space``.
    others : dict of str to str
        Further files and what each holds.
    """

    name: str
    file: str
    what: str
    read: Callable[[Path, dict, int], Space]
    others: dict[str, str] = {}


def read_space(path, facts, n_voxels):
    """Where the values of a folder of arrays are, None if the folder does not say.

    Parameters
    ----------
    path : pathlib.Path
    facts : dict
        Of subject.json.
    n_voxels : int

    Returns
    -------
    space : brainrecon.datasets.spaces.space.Space or None

    Raises
    ------
    InputError
        An entry or a file is damaged, or does not go with the other; or two kinds of space are there at once.
    """
    there = [kind for kind in KINDS if kind.name in facts or (path / kind.file).exists()]
    if len(there) > 1:
        one, other = there[:2]
        raise InputError(
            f"{path} says twice where its values are, as {one.name} ({one.file}) and as {other.name} ({other.file}); remove the "
            "files and the entry in subject.json of one of them."
        )
    return there[0].read(path, facts, n_voxels) if there else None


def read_grid(path, facts, n_voxels):
    """Where the voxels are in a volume; as `read_space`."""
    try:
        shape, affine = tuple(map(int, facts["grid"]["shape"])), np.array(facts["grid"]["affine"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path / 'subject.json'} has {json.dumps(facts.get('grid'))[:100]} as grid; expected shape [x, y, z] and affine, "
            f"four rows of four numbers, which go with {GRID}."
        ) from None
    indices = _read(path / GRID)
    if indices.shape != (n_voxels, 3) or indices.dtype.kind not in "iu" or len(shape) != 3 or affine.shape != (4, 4):
        raise InputError(
            f"{path / GRID} is {indices.dtype} {indices.shape} in a grid of {shape}; expected whole numbers ({n_voxels}, 3), "
            "the x, y, z of each voxel."
        )
    if len(indices) and not ((indices >= 0) & (indices < np.array(shape))).all():
        raise InputError(f"{path / GRID} has places outside the grid of {shape}; indices count from 0.")
    return VoxelGrid(shape, affine, indices)


def read_surface(path, facts, n_voxels):
    """Where the values are on a surface; as `read_space`."""
    try:
        about = facts["surface"]
        mesh, (left, right) = str(about["mesh"]), map(int, about["n_vertices"])
        low, high = map(float, about.get("extent", (0, 0)))
        origin = str(about.get("flat_origin", ""))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"{path / 'subject.json'} has {json.dumps(facts.get('surface'))[:100]} as surface; expected mesh, a name, and "
            f"n_vertices [left, right], which go with {SURFACE}."
        ) from None
    indices = _whole_numbers(
        path / SURFACE, (n_voxels, 2), "0 for the left and 1 for the right hemisphere, and the vertex"
    )
    sizes = np.array([left, right])
    if not (np.isin(indices[:, 0], (0, 1)).all() and (indices[:, 1] >= 0).all()) or (
        (indices[:, 1] >= sizes[indices[:, 0]]).any()
    ):
        raise InputError(
            f"{path / SURFACE} has vertices that hemispheres of {left:,} and {right:,} do not have; they count from 0."
        )
    flat = _read_flat(path, n_voxels)
    return SurfacePlaces(mesh, (left, right), indices[:, 0] == 1, indices[:, 1], flat, (low, high), origin)


def read_grayordinates(path, facts, n_voxels):
    """Where the values are among grayordinates; as `read_space`."""
    try:
        about = facts["grayordinates"]
        structures, sizes = tuple(map(str, about["structures"])), tuple(map(int, about["n_vertices"]))
        volume, mesh, origin = tuple(map(int, about["volume"])), str(about["mesh"]), str(about.get("flat_origin", ""))
        affine = None if about["affine"] is None else np.array(about["affine"], dtype=np.float64)
        low, high = map(float, about.get("extent", (0, 0)))
        if len(sizes) != len(structures) or len(volume) != 3 or (affine is not None and affine.shape != (4, 4)):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"{path / 'subject.json'} has {json.dumps(facts.get('grayordinates'))[:100]} as grayordinates; expected structures, "
            f"n_vertices of each, volume [x, y, z], affine and mesh, which go with {GRAYORDINATES}."
        ) from None
    places = _whole_numbers(
        path / GRAYORDINATES, (n_voxels, 4), "the structure, and its vertex or the x, y, z of a voxel"
    )
    flat = _read_flat(path, n_voxels)
    found = Grayordinates(structures, sizes, places.astype(np.int64), volume, affine, mesh, flat, (low, high), origin)
    found.check(path / GRAYORDINATES)
    return found


def _read_flat(path, n_voxels):
    flat = _read(path / FLAT) if (path / FLAT).exists() else None
    if flat is not None and (flat.shape != (n_voxels, 2) or flat.dtype.kind != "f"):
        raise InputError(
            f"{path / FLAT} is {flat.dtype} {flat.shape}; expected numbers ({n_voxels}, 2), right and up on the flat map."
        )
    return None if flat is None else flat.astype(np.float32)


def read_sensors(path, facts, n_voxels):
    """Which channel and time each value is; as `read_space`."""
    try:
        about = facts["sensors"]
        channels, times = about["channels"], np.array(about["times"], dtype=np.float64)
        is_list = isinstance(channels, list) and all(isinstance(name, str) for name in channels)
        if not is_list or times.ndim != 1 or not np.isfinite(times).all():
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path / 'subject.json'} has {json.dumps(facts.get('sensors'))[:100]} as sensors; expected channels, a list of "
            f"names, and times, a list of seconds, which go with {SENSORS}."
        ) from None
    indices = _whole_numbers(path / SENSORS, (n_voxels, 2), "the channel and the sample of each value")
    if not ((indices >= 0) & (indices < (len(channels), len(times)))).all():
        raise InputError(
            f"{path / SENSORS} has places that {len(channels):,} channels and {len(times):,} times do not have; they count "
            "from 0."
        )
    return Sensors(tuple(channels), times, indices)


def _whole_numbers(path, shape, what):
    """A file of places; an InputError unless it holds whole numbers of a shape, which are `what`."""
    indices = _read(path)
    if indices.shape != shape or indices.dtype.kind not in "iu":
        raise InputError(f"{path} is {indices.dtype} {indices.shape}; expected whole numbers {shape}: {what}.")
    return indices


def _read(path):
    if not path.exists():
        raise InputError(
            f"{path} is missing; `brainrecon data prepare` writes it, or leave its entry out of subject.json."
        )
    return read_npy(path)


KINDS = (
    StoredKind("grid", GRID, "the x, y, z of each voxel", read_grid),
    StoredKind(
        "surface",
        SURFACE,
        "the hemisphere and vertex of each value",
        read_surface,
        {FLAT: "where each value is on a flat map"},
    ),
    StoredKind(
        "grayordinates",
        GRAYORDINATES,
        "the structure of each value, and its vertex or voxel",
        read_grayordinates,
        {FLAT: "where each value is on a flat map"},
    ),
    StoredKind("sensors", SENSORS, "the channel and the sample of each value", read_sensors),
)
"""The kinds of space that a folder of arrays keeps."""
