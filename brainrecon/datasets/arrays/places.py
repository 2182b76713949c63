"""Where the voxels of a folder of arrays are: in a volume, or on a surface; see `brainrecon.datasets.arrays.folder`."""

import json

import numpy as np

from brainrecon.datasets.surface_places import SurfacePlaces
from brainrecon.datasets.voxel_grid import VoxelGrid
from stages.ground.errors import InputError
from stages.ground.reading.numpy_files import read_npy

GRID, SURFACE, FLAT = "voxel_indices.npy", "vertex_indices.npy", "flat_places.npy"


def facts_of_places(subject):
    """The entries of subject.json that go with the files of `arrays_of_places`."""
    facts = {}
    if subject.grid is not None:
        facts["grid"] = {"shape": list(subject.grid.shape), "affine": subject.grid.affine.tolist()}
    if subject.surface is not None:
        facts["surface"] = {
            "mesh": subject.surface.mesh,
            "n_vertices": list(subject.surface.n_vertices),
            "extent": list(subject.surface.extent),
            "flat_origin": subject.surface.flat_origin,
        }
    return facts


def arrays_of_places(subject):
    """File name -> array."""
    arrays = {}
    if subject.grid is not None:
        arrays[GRID] = subject.grid.indices
    if subject.surface is not None:
        arrays[SURFACE] = np.stack([subject.surface.right.astype(np.int64), subject.surface.vertices], axis=1)
        if subject.surface.flat is not None:
            arrays[FLAT] = subject.surface.flat
    return arrays


def read_grid(path, facts, n_voxels):
    """Where the voxels are in a volume, None if the folder does not say.

    Parameters
    ----------
    path : pathlib.Path
    facts : dict
        Of subject.json.
    n_voxels : int

    Raises
    ------
    InputError
        The entry or the file is damaged, or does not go with the other.
    """
    if "grid" not in facts and not (path / GRID).exists():
        return None
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
    """Where the values are on a surface, None if the folder does not say; as `read_grid`."""
    if "surface" not in facts and not (path / SURFACE).exists():
        return None
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
    indices = _read(path / SURFACE)
    if indices.shape != (n_voxels, 2) or indices.dtype.kind not in "iu":
        raise InputError(
            f"{path / SURFACE} is {indices.dtype} {indices.shape}; expected whole numbers ({n_voxels}, 2): 0 for the left and 1 "
            "for the right hemisphere, and the vertex."
        )
    sizes = np.array([left, right])
    if not (np.isin(indices[:, 0], (0, 1)).all() and (indices[:, 1] >= 0).all()) or (
        (indices[:, 1] >= sizes[indices[:, 0]]).any()
    ):
        raise InputError(
            f"{path / SURFACE} has vertices that hemispheres of {left:,} and {right:,} do not have; they count from 0."
        )
    flat = _read(path / FLAT) if (path / FLAT).exists() else None
    if flat is not None and (flat.shape != (n_voxels, 2) or flat.dtype.kind != "f"):
        raise InputError(
            f"{path / FLAT} is {flat.dtype} {flat.shape}; expected numbers ({n_voxels}, 2), right and up on the flat map."
        )
    flat = None if flat is None else flat.astype(np.float32)
    return SurfacePlaces(mesh, (left, right), indices[:, 0] == 1, indices[:, 1], flat, (low, high), origin)


def _read(path):
    if not path.exists():
        raise InputError(
            f"{path} is missing; `brainrecon data prepare` writes it, or leave its entry out of subject.json."
        )
    return read_npy(path)
