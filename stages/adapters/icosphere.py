"""Meshes of the sphere with 10 n^2 + 2 vertices, and maps between spheres by nearest vertex.

An icosahedron whose edges are cut into n parts and whose points are put on the sphere. The meshes of Cortex2Image (Gu et al.
2023) have 92, 492, 2,562, 7,842 and 32,492 vertices, n = 3, 7, 16, 28 and 57, the last as many as fs_LR 32k: they are no
subdivisions of each other, so that values go from one to the next by the nearest vertex. FreeSurfer's fsaverage meshes have
such numbers too (n = 4 to 128). Only the number of vertices is theirs: which vertex comes first is decided here, so that values
of either are brought over by their own spheres, see `SphereMap`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.spatial import ConvexHull, cKDTree

from stages.ground.checks import Number, check
from stages.ground.errors import InputError

LEVELS = (92, 492, 2562, 7842, 32492)
"""Vertices of the meshes of Cortex2Image, from coarse to fine."""


@dataclass(frozen=True, eq=False)
class Icosphere:
    """A mesh of the unit sphere.

    >>> sphere = icosphere(3)
    >>> len(sphere), sphere.faces.shape, sphere.neighbours.shape
    (92, (180, 3), (92, 7))

    Attributes
    ----------
    vertices : array of shape (n_vertices, 3), float64
        On the unit sphere.
    faces : int array of shape (2 * n_vertices - 4, 3)
        Corners of each triangle, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    faces: np.ndarray

    def __len__(self) -> int:
        return len(self.vertices)

    @cached_property
    def neighbours(self) -> np.ndarray:
        """Each vertex and its six neighbours, int (n_vertices, 7); one of the 12 with five stands twice in its own row."""
        pairs = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        order = np.lexsort(pairs.T[::-1])
        firsts, seconds = pairs[order].T
        counts = np.bincount(firsts, minlength=len(self))
        rows = np.repeat(np.arange(len(self))[:, None], 7, axis=1)
        rows[firsts, 1 + np.arange(len(firsts)) - np.repeat(np.cumsum(counts) - counts, counts)] = seconds
        return rows


@lru_cache(maxsize=16)
def icosphere(n: int) -> Icosphere:
    """The icosahedron with edges cut into n parts, on the unit sphere.

    >>> [len(icosphere(n)) for n in (1, 2, 3, 7)]
    [12, 42, 92, 492]

    Parameters
    ----------
    n : int
        1 or more; 57 for the 32,492 vertices of fs_LR 32k.

    Returns
    -------
    sphere : Icosphere
        The same vertices in the same order each time; from the north pole down.
    """
    check("n", n, Number(1, whole=True, example=57))
    golden = (1 + np.sqrt(5)) / 2
    ends = np.array([(0, s, t * golden) for s in (-1, 1) for t in (-1, 1)], dtype=float)
    corners = np.concatenate([ends, np.roll(ends, 1, axis=1), np.roll(ends, 2, axis=1)]) / np.sqrt(1 + golden**2)
    faces = ConvexHull(corners).simplices
    steps = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]) / n
    points = np.einsum("pk,fkd->fpd", steps, corners[faces]).reshape(-1, 3)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    # Faces share their edges; 1e-6 is far below the distance of neighbours and far above rounding.
    _, first = np.unique(np.round(points, 6) + 0.0, axis=0, return_index=True)
    vertices = points[first]
    vertices = vertices[
        np.lexsort((np.round(np.arctan2(vertices[:, 1], vertices[:, 0]), 6), -np.round(vertices[:, 2], 6)))
    ]
    triangles = ConvexHull(vertices).simplices
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    inwards = np.einsum("fd,fd->f", np.cross(b - a, c - a), a) < 0
    triangles[inwards] = triangles[inwards][:, ::-1]
    start = triangles.argmin(axis=1)
    triangles = triangles[np.arange(len(triangles))[:, None], (start[:, None] + np.arange(3)) % 3]
    return Icosphere(vertices, triangles[np.lexsort(triangles.T[::-1])].astype(np.int64))


def icosphere_of(n_vertices: int) -> Icosphere:
    """The mesh with so many vertices.

    >>> len(icosphere_of(492))
    492

    Raises
    ------
    InputError
        No mesh has that many.
    """
    check("n_vertices", n_vertices, Number(12, whole=True, example=32492))
    n = round(np.sqrt((n_vertices - 2) / 10))
    if 10 * n * n + 2 != n_vertices:
        raise InputError(
            f"No icosphere has {n_vertices:,} vertices; they have 10 n^2 + 2, the nearest {10 * n * n + 2:,}."
        )
    return icosphere(n)


@dataclass(frozen=True, eq=False)
class SphereMap:
    """Values of one sphere's vertices on another's, by the nearest vertex.

    >>> coarse, fine = icosphere(3), icosphere(7)
    >>> there, back = SphereMap.between(coarse.vertices, fine.vertices), SphereMap.between(fine.vertices, coarse.vertices)
    >>> values = np.arange(92.0)
    >>> bool((back(there(values)) == values).all())
    True

    Attributes
    ----------
    nearest : int array of shape (n_target,)
        The vertex of the source that each vertex of the target takes its value from.
    n_source : int
    """

    nearest: np.ndarray
    n_source: int

    @classmethod
    def between(cls, source: np.ndarray, target: np.ndarray) -> SphereMap:
        """The map from a sphere to another: vertices (n, 3) about one centre, of any radius; directions alone count.

        Of vertices that are equally near the first is taken.

        Raises
        ------
        InputError
            Coordinates of another shape, or a vertex at the centre.
        """
        units = []
        for name, vertices in (("source", source), ("target", target)):
            places = np.asarray(vertices, dtype=np.float64)
            if places.ndim != 2 or places.shape[1] != 3 or not len(places):
                raise InputError(f"The {name} sphere has shape {places.shape}; expected (n_vertices, 3).")
            radius = np.linalg.norm(places, axis=1, keepdims=True)
            if not (np.isfinite(radius).all() and (radius > 0).all()):
                raise InputError(
                    f"A vertex of the {name} sphere lies at its centre or nowhere; give a sphere about the origin."
                )
            units.append(places / radius)
        _, nearest = cKDTree(units[0]).query(units[1])
        return cls(nearest.astype(np.int64), len(units[0]))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values (n_target,) or (n_maps, n_target) of any type, from values (n_source,) or (n_maps, n_source)."""
        given = np.asarray(values)
        if given.ndim not in (1, 2) or given.shape[-1] != self.n_source:
            raise InputError(
                f"Values have shape {given.shape} but the source has {self.n_source:,} vertices; give one value for each vertex."
            )
        return given[..., self.nearest]
