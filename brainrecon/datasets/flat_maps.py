"""Flat maps of both hemispheres beside each other: of a folder of one's own, or those that nilearn has of fsaverage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainrecon.datasets.spaces.surface_places import SurfacePlaces
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.flat_files import read_flat

MESHES = {642: "fsaverage3", 2562: "fsaverage4", 10242: "fsaverage5", 40962: "fsaverage6", 163842: "fsaverage"}
"""Vertices of a hemisphere -> FreeSurfer's name. The vertices of each are the first ones of the next."""
BUNDLED = "fsaverage5"
"""The mesh whose flat map comes with nilearn."""
NAMES = {"lh": ("lh*flat*", "flat_left*", "*.L.*flat*"), "rh": ("rh*flat*", "flat_right*", "*.R.*flat*")}
"""How files of flat maps are called: by FreeSurfer, by nilearn, by the Human Connectome Project."""
GAP = 0.02
"""Room between the hemispheres, as a share of the map's height."""


@dataclass(frozen=True, eq=False)
class FlatMap:
    """A flat map of all vertices, those of the left hemisphere first.

    Attributes
    ----------
    flat : array of shape (n_vertices, 2), float32
        Right and up; the right hemisphere is to the right of the left one. NaN for vertices that are not on the map.
    extent : (float, float)
        Lowest and highest place.
    origin : str
    """

    flat: np.ndarray
    extent: tuple[float, float]
    origin: str


def mesh_of(n_vertices: tuple[int, int], otherwise: str) -> str:
    """FreeSurfer's name of a mesh with so many vertices in each hemisphere.

    >>> mesh_of((10242, 10242), "a mesh of one's own"), mesh_of((10, 11), "a mesh of one's own")
    ('fsaverage5', "a mesh of one's own")
    """
    left, right = n_vertices
    return MESHES.get(left, otherwise) if left == right else otherwise


def flat_map(n_vertices: tuple[int, int], folder: str | Path | None = None) -> FlatMap | None:
    """The flat map of a mesh.

    >>> flat_map((10242, 10242)).origin
    "nilearn's fsaverage5"

    Parameters
    ----------
    n_vertices : (int, int)
        Of the left and of the right hemisphere.
    folder : path, optional
        A folder with a flat map of each; by default nilearn's of fsaverage5, which serves fsaverage3 and fsaverage4 too,
        or a larger one that nilearn has fetched before.

    Returns
    -------
    found : FlatMap, or None if there is none of such a mesh

    Raises
    ------
    InputError
        The folder holds no flat map of such a mesh, or a damaged one.
    """
    if folder is not None:
        files = [_own_file(Path(folder), side) for side in NAMES]
        return _beside_each_other(
            [_read(*one) for one in zip(files, n_vertices)], f"{files[0].name} and {files[1].name}"
        )
    mesh = mesh_of(n_vertices, "")
    nilearn_has = _of_nilearn(mesh)
    if nilearn_has is None:
        return None
    # A smaller mesh has the first vertices of the larger.
    return _beside_each_other([_read(*one, first=True) for one in zip(nilearn_has[1], n_vertices)], nilearn_has[0])


def _own_file(folder: Path, side: str) -> Path:
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder} with flat maps; name one that holds lh.*flat* and rh.*flat*.")
    found = [file for name in NAMES[side] for file in visible(folder, name) if file.is_file()]
    if not found:
        raise InputError(
            f"{folder} holds no flat map of the {'left' if side == 'lh' else 'right'} hemisphere; expected a file called "
            f"{' or '.join(NAMES[side])}, a GIFTI surface or a FreeSurfer patch."
        )
    return found[0]


def _of_nilearn(mesh: str) -> tuple[str, list[Path]] | None:
    """Where nilearn has the flat map of a mesh, or of a larger one whose first vertices it is."""
    if not mesh:
        return None
    try:
        from nilearn import datasets
    except ImportError:
        # An extra: whoever lacks it names a flat map.
        return None

    if mesh in list(MESHES.values())[: list(MESHES.values()).index(BUNDLED) + 1]:
        folders, mesh = [Path(datasets.__file__).parent / "data" / BUNDLED], BUNDLED
    else:
        folders = [Path(place) / mesh for place in datasets.get_data_dirs()]
    for folder in folders:
        files = [folder / f"flat_{side}.gii.gz" for side in ("left", "right")]
        if all(file.is_file() for file in files):
            return f"nilearn's {mesh}", files
    return None


def _read(path: Path, n_vertices: int, first: bool = False) -> np.ndarray:
    """Places (n_vertices, 2) of one hemisphere."""
    vertices, places = read_flat(path)
    if first:
        vertices, places = vertices[vertices < n_vertices], places[vertices < n_vertices]
    if vertices[-1] >= n_vertices:
        raise InputError(
            f"{path} has a vertex {vertices[-1]:,} but the betas have {n_vertices:,} vertices; name the flat map of their mesh."
        )
    flat = np.full((n_vertices, 2), np.nan, dtype=np.float32)
    flat[vertices] = places
    return flat


def _beside_each_other(hemispheres: list[np.ndarray], origin: str) -> FlatMap:
    left, right = hemispheres
    low, high = (float(one([one(side[:, 1]) for side in hemispheres])) for one in (np.nanmin, np.nanmax))
    aside = np.nanmax(left[:, 0]) - np.nanmin(right[:, 0]) + GAP * (high - low)
    return FlatMap(np.concatenate([left, right + np.float32([aside, 0])]), (low, high), origin)


def surface_places(subject, space, chosen, sizes, flat):
    """Where the chosen vertices are, on the flat map too if there is one."""
    mesh = mesh_of(sizes, "an average surface") if space == "fsaverage" else f"the surface of {subject}"
    found = flat_map(sizes, flat) if flat is not None or space == "fsaverage" else None
    on_map = {} if found is None else {"flat": found.flat[chosen], "extent": found.extent, "flat_origin": found.origin}
    return SurfacePlaces.of_mask(mesh, chosen, sizes[0], **on_map)


def surface_note(places):
    """How many vertices, of which mesh, and what is known of their flat map."""
    used = f"{len(places):,} of {sum(places.n_vertices):,} vertices of {places.mesh} are used"
    if places.flat is None:
        return f"{used}; no flat map of it: --option flat=FOLDER names one"
    absent = int((~np.isfinite(places.flat)).any(axis=1).sum())
    return f"{used}; the flat map is {places.flat_origin}" + (f", which lacks {absent:,} of them" if absent else "")
