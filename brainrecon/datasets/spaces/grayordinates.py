"""Where values are in CIFTI files: vertices of each hemisphere, and voxels of what lies below the cortex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from brainrecon.datasets.spaces.space import checked_values
from brainrecon.datasets.spaces.surface_places import FLAT, SurfacePlaces
from stages.ground.errors import InputError

GRAYORDINATES = "grayordinates.npy"
PREFIX = "CIFTI_STRUCTURE_"
HEMISPHERES = (f"{PREFIX}CORTEX_LEFT", f"{PREFIX}CORTEX_RIGHT")
MESHES = {32_492: "fsLR 32k", 59_292: "fsLR 59k", 163_842: "fsLR 164k"}
"""Vertices of a hemisphere -> the mesh, as the Human Connectome Project names it."""
STANDARD = {91_282: (29_696, 29_716), 59_412: (29_696, 29_716)}
"""Of how many values in the usual order those of the left and then the right cortex come first."""
NOWHERE = -1


def mesh_of(n_vertices: int) -> str:
    """The name of a mesh of so many vertices in each hemisphere.

    >>> mesh_of(32_492), mesh_of(12)
    ('fsLR 32k', 'a mesh of 12 vertices')
    """
    return MESHES.get(n_vertices, f"a mesh of {n_vertices:,} vertices")


@dataclass(frozen=True, eq=False)
class Grayordinates:
    """The places of a subject's values in a CIFTI file.

    >>> from nibabel.cifti2 import BrainModelAxis
    >>> left, right = (BrainModelAxis.from_mask(np.ones(2, bool), name=f"CORTEX_{side}") for side in ("LEFT", "RIGHT"))
    >>> below = BrainModelAxis.from_mask(np.ones((1, 1, 1), bool), affine=np.eye(4), name="THALAMUS_LEFT")
    >>> places = Grayordinates.of_axis(left + right + below)
    >>> len(places), {name: int(mask.sum()) for name, mask in places.parts().items()}
    (5, {'left': 2, 'right': 2, 'cortex': 4, 'subcortex': 1, 'thalamus_left': 1})
    >>> places.surface is None, places.columns([3, 0]).surface.right.tolist()
    (True, [True, False])

    Parameters
    ----------
    structures : tuple of str
        Names as CIFTI has them, ``CIFTI_STRUCTURE_CORTEX_LEFT``, each once.
    n_vertices : tuple of int
        Vertices of the whole surface of each structure; 0 if it is made of voxels.
    places : int array of shape (n_places, 4)
        Number of the structure among `structures`, and x, y, z of a voxel, or the vertex, -1, -1; all but the -1 count from 0.
    volume : (int, int, int)
        (x, y, z) of the volume that voxels are in; (0, 0, 0) if there are none.
    affine : array of shape (4, 4), float
        From (x, y, z) to millimetres.
    mesh : str
    flat, extent, flat_origin
        As of `brainrecon.datasets.spaces.surface_places.SurfacePlaces`; NaN for voxels.
    """

    kind: ClassVar[str] = "grayordinates"
    unit: ClassVar[str] = "grayordinates"
    structures: tuple[str, ...]
    n_vertices: tuple[int, ...]
    places: np.ndarray
    volume: tuple[int, int, int] = (0, 0, 0)
    affine: np.ndarray | None = None
    mesh: str = ""
    flat: np.ndarray | None = None
    extent: tuple[float, float] = (0.0, 0.0)
    flat_origin: str = ""

    @classmethod
    def of_axis(cls, axis: Any, where: object = "The file") -> Grayordinates:
        """The places of a `nibabel.cifti2.BrainModelAxis`; an InputError with `where` if they are none."""
        structures = tuple(dict.fromkeys(map(str, axis.name)))
        sizes = {str(name): int(size) for name, size in axis.nvertices.items()}
        n_vertices = tuple(sizes.get(name, 0) for name in structures)
        number = {name: place for place, name in enumerate(structures)}
        places = np.full((len(axis), 4), NOWHERE, dtype=np.int64)
        places[:, 0] = [number[str(name)] for name in axis.name]
        on_surface = np.array(n_vertices)[places[:, 0]] > 0
        places[on_surface, 1] = axis.vertex[on_surface]
        places[~on_surface, 1:] = axis.voxel[~on_surface]
        volume, affine = (0, 0, 0), None
        if not on_surface.all():
            if axis.volume_shape is None or axis.affine is None:
                raise InputError(f"{where} has voxels but does not say in which volume; copy the file again.")
            volume, affine = tuple(map(int, axis.volume_shape)), np.asarray(axis.affine, dtype=np.float64)
        cortex = [size for name, size in zip(structures, n_vertices) if name in HEMISPHERES]
        found = cls(structures, n_vertices, places, volume, affine, mesh_of(cortex[0]) if cortex else "")
        found.check(where)
        return found

    def check(self, where: object) -> None:
        """Raise an InputError with `where` unless every place is there, and none is there twice."""
        number = self.places[:, 0]
        if len(number) and not ((number >= 0) & (number < len(self.structures))).all():
            raise InputError(f"{where} has places of a structure that it does not name; copy it again.")
        on_surface = self._on_surface
        vertices, voxels = self.places[on_surface, 1], self.places[~on_surface, 1:]
        sizes = np.array(self.n_vertices, dtype=np.int64)[number[on_surface]]
        if ((vertices < 0) | (vertices >= sizes)).any() or ((voxels < 0) | (voxels >= np.array(self.volume))).any():
            raise InputError(
                f"{where} has places outside their surface or volume; vertices and voxels count from 0: copy it again."
            )
        if len(np.unique(self.places, axis=0)) < len(self.places):
            raise InputError(f"{where} has a vertex or voxel twice; copy it again.")

    def __len__(self) -> int:
        return len(self.places)

    @property
    def _on_surface(self) -> np.ndarray:
        return (
            np.array(self.n_vertices, dtype=np.int64)[self.places[:, 0]] > 0 if self.structures else np.zeros(0, bool)
        )

    def of_structure(self, name: str) -> np.ndarray:
        """Which places are in a structure, bool (n_places,)."""
        number = self.structures.index(name) if name in self.structures else NOWHERE - 1
        return self.places[:, 0] == number

    def parts(self) -> dict[str, np.ndarray]:
        """Masks (n_places,) of the hemispheres, ``cortex``, ``subcortex`` and its structures; those that have a place."""
        left, right = map(self.of_structure, HEMISPHERES)
        found = {"left": left, "right": right, "cortex": left | right, "subcortex": ~(left | right)}
        others = [name for name in self.structures if name not in HEMISPHERES]
        found |= {name.removeprefix(PREFIX).lower(): self.of_structure(name) for name in others}
        return {name: mask for name, mask in found.items() if mask.any()}

    @property
    def surface(self) -> SurfacePlaces | None:
        """The places on the mesh if all are cortical, else None."""
        left, right = map(self.of_structure, HEMISPHERES)
        if not (left | right).all():
            return None
        sizes = dict(zip(self.structures, self.n_vertices))
        either = max(sizes.values(), default=0)
        whole = tuple(sizes.get(name, either) for name in HEMISPHERES)
        return SurfacePlaces(
            self.mesh, (whole[0], whole[1]), right, self.places[:, 1], self.flat, self.extent, self.flat_origin
        )

    def columns(self, chosen: Any) -> Grayordinates:
        """Some of the places, chosen like columns of the patterns."""
        flat = None if self.flat is None else self.flat[chosen]
        about = (self.volume, self.affine, self.mesh, flat, self.extent, self.flat_origin)
        return Grayordinates(self.structures, self.n_vertices, self.places[chosen], *about)

    def look_up(self, other: Grayordinates, values: np.ndarray, where: object) -> np.ndarray:
        """Values (n_maps, n_others) of other places at these, 0 if a place is not among them.

        An InputError with `where` if the others are of another mesh.
        """
        ours, theirs = (dict(zip(one.structures, one.n_vertices)) for one in (self, other))
        if any(ours[name] != theirs[name] for name in HEMISPHERES if name in ours and name in theirs):
            raise InputError(
                f"{where} is of {other.mesh} but the responses are of {self.mesh}; take one of the same mesh."
            )
        names = sorted({*ours, *theirs})
        wanted, there = self._codes(names), other._codes(names)
        order = np.argsort(there)
        at = np.searchsorted(there, wanted, sorter=order).clip(max=len(there) - 1)
        return np.where(there[order[at]] == wanted, values[:, order[at]], 0)

    def _codes(self, names: list[str]) -> np.ndarray:
        """A number for each place, the same for the same place elsewhere."""
        structure = np.array([names.index(name) for name in self.structures])[self.places[:, 0]]
        x, y, z = (self.places[:, 1:] + 1).T
        return ((structure * 2**20 + x) * 2**12 + y) * 2**12 + z

    def with_flat_map(self, found: Any) -> Grayordinates:
        """The same places with a `brainrecon.datasets.flat_maps.FlatMap` of both hemispheres."""
        sizes = dict(zip(self.structures, self.n_vertices))
        flat = np.full((len(self), 2), np.nan, dtype=np.float32)
        for start, name in zip((0, sizes.get(HEMISPHERES[0], 0)), HEMISPHERES):
            inside = self.of_structure(name)
            flat[inside] = found.flat[start + self.places[inside, 1]]
        about = (self.volume, self.affine, self.mesh, flat, found.extent, found.origin)
        return Grayordinates(self.structures, self.n_vertices, self.places, *about)

    def facts(self) -> dict[str, Any]:
        """As `brainrecon.datasets.spaces.space.Space` says."""
        return {
            "structures": list(self.structures),
            "n_vertices": list(self.n_vertices),
            "volume": list(self.volume),
            "affine": None if self.affine is None else np.asarray(self.affine).tolist(),
            "mesh": self.mesh,
            "extent": list(self.extent),
            "flat_origin": self.flat_origin,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """As `brainrecon.datasets.spaces.space.Space` says."""
        return {GRAYORDINATES: self.places} | ({} if self.flat is None else {FLAT: self.flat})

    def files(self, values: Any) -> dict[str, tuple[str, bytes]]:
        """One CIFTI-2 file."""
        return {".dscalar.nii": ("", self.to_cifti(values).to_bytes())}

    def to_cifti(self, values: Any, outside: float = np.nan) -> Any:
        """A map, or several, of a value for each place.

        Parameters
        ----------
        values : array of shape (n_places,) or (n_maps, n_places)
        outside : float
            What other vertices of a surface get; 0 where the values are whole numbers or bools.

        Returns
        -------
        image : nibabel.cifti2.Cifti2Image
            Every vertex of each surface, the medial wall too, and then the voxels that there are; float32, or int32 where the
            values are whole numbers.

        Raises
        ------
        InputError
            There is another number of values than of places.
        """
        from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ScalarAxis

        values = checked_values(values, self)
        values = np.atleast_2d(values)
        dtype, outside = (np.int32, 0) if values.dtype.kind in "biu" else (np.float32, outside)
        names, vertices, voxels, maps = [], [], [], []
        for name, size in zip(self.structures, self.n_vertices):
            inside = np.flatnonzero(self.of_structure(name))
            if size:
                own = np.full((len(values), size), outside, dtype=dtype)
                own[:, self.places[inside, 1]] = values[:, inside]
                vertices.append(np.arange(size))
                voxels.append(np.full((size, 3), NOWHERE))
            else:
                own = values[:, inside].astype(dtype)
                vertices.append(np.full(len(inside), NOWHERE))
                voxels.append(self.places[inside, 1:])
            names += [name] * own.shape[1]
            maps.append(own)
        sizes = {name: size for name, size in zip(self.structures, self.n_vertices) if size}
        axis = BrainModelAxis(
            np.array(names, dtype=object),
            voxel=np.concatenate(voxels),
            vertex=np.concatenate(vertices),
            affine=self.affine,
            volume_shape=self.volume if self.affine is not None else None,
            nvertices=sizes,
        )
        rows = ScalarAxis([f"map {number}" for number in range(1, len(values) + 1)])
        image = Cifti2Image(np.concatenate(maps, axis=1), (rows, axis))
        image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SCALARS")
        return image
