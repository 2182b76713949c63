"""Where values are on the cortical surface: the way back from a pattern to a map of each hemisphere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from brainrecon.datasets.spaces.space import checked_values

HEMISPHERES = ("lh", "rh")
STRUCTURES = {"lh": "CortexLeft", "rh": "CortexRight"}
"""As GIFTI calls them."""
IN_WORDS = {"lh": "left hemisphere", "rh": "right hemisphere"}
SURFACE, FLAT = "vertex_indices.npy", "flat_places.npy"


@dataclass(frozen=True, eq=False)
class SurfacePlaces:
    """The places of a subject's values on a mesh of each hemisphere.

    >>> places = SurfacePlaces.of_mask("fsaverage5", np.array([True, False, True, True]), n_left=2)
    >>> places.right.tolist(), places.vertices.tolist()
    ([False, True, True], [0, 0, 1])
    >>> {side: image.darrays[0].data.tolist() for side, image in places.to_gifti([5, 6, 7]).items()}
    {'lh': [5, 0], 'rh': [6, 7]}

    Parameters
    ----------
    mesh : str
        Its name, such as "fsaverage".
    n_vertices : (int, int)
        Of the whole left and of the whole right hemisphere.
    right : bool array of shape (n_places,)
        Whether a place is in the right hemisphere, in the order of the columns of the patterns.
    vertices : int array of shape (n_places,)
        Number of the vertex in its hemisphere, from 0.
    flat : array of shape (n_places, 2), float32, optional
        Right and up on a flat map, whose hemispheres lie beside each other.
    extent : (float, float)
        Lowest and highest place of that whole map.
    flat_origin : str
        Where the flat map is from.
    """

    kind: ClassVar[str] = "surface"
    unit: ClassVar[str] = "vertices"
    mesh: str
    n_vertices: tuple[int, int]
    right: np.ndarray
    vertices: np.ndarray
    flat: np.ndarray | None = None
    extent: tuple[float, float] = (0.0, 0.0)
    flat_origin: str = ""

    @classmethod
    def of_mask(cls, mesh: str, mask: np.ndarray, n_left: int, **flat: Any) -> SurfacePlaces:
        """The vertices of a mask over both hemispheres, bool (n_left + n_right,), the left one first."""
        chosen = np.flatnonzero(mask)
        right = chosen >= n_left
        return cls(mesh, (n_left, len(mask) - n_left), right, np.where(right, chosen - n_left, chosen), **flat)

    def __len__(self) -> int:
        return len(self.vertices)

    def columns(self, chosen: Any) -> SurfacePlaces:
        """Some of the places, chosen like columns of the patterns."""
        flat = None if self.flat is None else self.flat[chosen]
        return SurfacePlaces(
            self.mesh, self.n_vertices, self.right[chosen], self.vertices[chosen], flat, self.extent, self.flat_origin
        )

    def facts(self) -> dict[str, Any]:
        """As `brainrecon.datasets.spaces.space.Space` says."""
        return {
            "mesh": self.mesh,
            "n_vertices": list(self.n_vertices),
            "extent": list(self.extent),
            "flat_origin": self.flat_origin,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """As `brainrecon.datasets.spaces.space.Space` says."""
        flat = {} if self.flat is None else {FLAT: self.flat}
        return {SURFACE: np.stack([self.right.astype(np.int64), self.vertices], axis=1)} | flat

    def files(self, values: Any) -> dict[str, tuple[str, bytes]]:
        """A GIFTI file of each hemisphere."""
        images = self.to_gifti(values).items()
        return {f".{side}.func.gii": (IN_WORDS[side], image.to_bytes()) for side, image in images}

    def to_gifti(self, values: Any, outside: float = np.nan) -> dict[str, Any]:
        """A map of each hemisphere, or several, of a value for each place.

        Parameters
        ----------
        values : array of shape (n_places,) or (n_maps, n_places)
        outside : float
            What other vertices get; 0 where the values are whole numbers or bools.

        Returns
        -------
        images : dict of str to nibabel.GiftiImage
            ``lh`` and ``rh``, each with a data array for each map; float32, or int32 where the values are whole numbers.

        Raises
        ------
        InputError
            There is another number of values than of places.
        """
        from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiMetaData

        values = checked_values(values, self)
        dtype, outside = (np.int32, 0) if values.dtype.kind in "biu" else (np.float32, outside)
        images = {}
        for side, there, size in zip(HEMISPHERES, (~self.right, self.right), self.n_vertices):
            maps = np.full((*values.shape[:-1], size), outside, dtype=dtype)
            maps[..., self.vertices[there]] = values[..., there]
            about = GiftiMetaData({"AnatomicalStructurePrimary": STRUCTURES[side]})
            arrays = [GiftiDataArray(one, intent="NIFTI_INTENT_NONE") for one in np.atleast_2d(maps)]
            images[side] = GiftiImage(meta=about, darrays=arrays)
        return images
