"""Cortex as a picture: values of places on a flat map, drawn into a square of pixels and read back from it.

NeuroPictor (Huo et al. 2024) reads responses as a 256 x 256 picture of the flattened visual cortex: the rows and columns around
the wanted places are cut out of a flat map of the whole cortex, brought to the square bilinearly, and set to zero elsewhere.
Its own map and mask come with its data; a raster made here is an own one, and says so in `origin`.

A place is put on the middle of the pixel in which it lies, so that it is moved by half a pixel at most. That pixel holds the
place's own value. Pixels between places hold the linear interpolation over a triangle of places, and those beside them, up to
half way to where a neighbour would be, the nearest place's value. Places that share a pixel are averaged there, and
`SurfaceRaster.alone` tells which do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.spatial import Delaunay, QhullError, cKDTree
from torch import Tensor

from stages.ground.checks import Number, check
from stages.ground.errors import InputError

SIDE = 256
"""Rows and columns of NeuroPictor's picture."""
MARGIN = (1, 10)
"""Rows and columns of the whole map that are kept around the wanted places."""
ROWS = 1024
"""Rows of the map of the whole cortex, from which those margins are counted."""
LONGEST = 3.0
"""An edge so many times as long as the usual distance of neighbours spans a gap, over which nothing is drawn."""


@dataclass(frozen=True, eq=False)
class SurfaceRaster:
    """Places on a flat map and the pixels that they fall on.

    >>> flat = np.array([[0, 0], [4, 0], [0, 4], [4, 4]], dtype=float)
    >>> raster = SurfaceRaster.of_flat(flat, side=8)
    >>> drawn = raster.to_raster(torch.tensor([[1.0, 2, 3, 4]]))
    >>> drawn.shape, raster.to_vertices(drawn).tolist()
    (torch.Size([1, 1, 8, 8]), [[1.0, 2.0, 3.0, 4.0]])

    Parameters
    ----------
    pixels : int array of shape (n_places,)
        The pixel of each place, row * side + column, both counted from 0 at the upper left; -1 for a place that is on none,
        which is not drawn and read as zero.
    sheets : int array of shape (n_places,)
        Which sheet a place is on, such as its hemisphere. Nothing is drawn from one sheet to another.
    side : int
        Rows and columns of the picture.
    origin : str
        Where the flat map is from, for whoever reads a score.
    """

    pixels: np.ndarray
    sheets: np.ndarray
    side: int = SIDE
    origin: str = "own raster"

    def __post_init__(self) -> None:
        check("side", self.side, Number(2, whole=True, example=SIDE))
        pixels, sheets = (np.asarray(values) for values in (self.pixels, self.sheets))
        if pixels.ndim != 1 or pixels.dtype.kind not in "iu" or not len(pixels):
            raise InputError(
                f"pixels is {pixels.dtype} {pixels.shape}; expected a whole number for each place, as of_flat makes."
            )
        if sheets.shape != pixels.shape:
            raise InputError(f"There are {len(pixels):,} pixels but sheets is {sheets.shape}; give one for each place.")
        if pixels.min() < -1 or not 0 <= pixels.max() < self.side**2:
            raise InputError(
                f"pixels go from {pixels.min():,} to {pixels.max():,} but a picture of {self.side} x {self.side} has 0 to "
                f"{self.side**2 - 1:,}; make them with of_flat for this side."
            )
        object.__setattr__(self, "pixels", pixels.astype(np.int64))
        object.__setattr__(self, "sheets", sheets.astype(np.int64))

    @classmethod
    def of_flat(
        cls,
        flat: np.ndarray,
        sheets: np.ndarray | None = None,
        side: int = SIDE,
        extent: tuple[float, float] | None = None,
        origin: str = "own raster",
    ) -> SurfaceRaster:
        """The raster of places on a flat map.

        Parameters
        ----------
        flat : array of shape (n_places, 2)
            Right and up on the map, in any unit; NaN for places that are not on it, such as those of the medial wall.
        sheets : int array of shape (n_places,), optional
            By default all are on one.
        side : int
        extent : (float, float), optional
            Lowest and highest place of the whole map, of which `flat` is a part; by default those of `flat`. The whole map has
            1,024 rows, from which the picture is cut out as `crop_box` says.
        origin : str

        Raises
        ------
        InputError
            There are no places, or none is on the map.
        """
        places = np.asarray(flat, dtype=np.float64)
        if places.ndim != 2 or places.shape[1] != 2 or not len(places):
            raise InputError(f"flat has shape {places.shape}; expected (n_places, 2), right and up on the map.")
        there = np.isfinite(places).all(axis=1)
        if not there.any():
            raise InputError(f"None of {len(places):,} places is on the flat map; load a roi that is.")
        right, up = places[there].T
        low, high = (up.min(), up.max()) if extent is None else extent
        pixel = (high - low) / ROWS if high > low else 1.0
        down, across = (high - up) / pixel, (right - right.min()) / pixel
        top, bottom, left, end = crop_box(np.floor(down).astype(int), np.floor(across).astype(int))
        row = np.floor((down - top) / (bottom + 1 - top) * side)
        column = np.floor((across - left) / (end + 1 - left) * side)
        pixels = np.full(len(places), -1, dtype=np.int64)
        pixels[there] = row * side + column
        return cls(pixels, np.zeros(len(places), dtype=int) if sheets is None else np.asarray(sheets), side, origin)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> SurfaceRaster:
        """The raster that `facts` describes, as read from JSON."""
        return cls(np.array(facts["pixels"]), np.array(facts["sheets"]), int(facts["side"]), str(facts["origin"]))

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as plain numbers, for JSON; `from_facts` takes it back."""
        return {
            "pixels": self.pixels.tolist(),
            "sheets": self.sheets.tolist(),
            "side": self.side,
            "origin": self.origin,
        }

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def alone(self) -> np.ndarray:
        """Which places have a pixel of their own, bool (n_places,): these come back unchanged from a picture."""
        counts = np.bincount(self.pixels + 1, minlength=self.side**2 + 1)
        return (self.pixels >= 0) & (counts[self.pixels + 1] == 1)

    @cached_property
    def mask(self) -> np.ndarray:
        """Which pixels are cortex, bool (side, side); all others of a picture are zero."""
        covered = np.zeros(self.side**2, dtype=bool)
        covered[self._weights[0]] = True
        return covered.reshape(self.side, self.side)

    def to_raster(self, patterns: Tensor) -> Tensor:
        """Draw patterns.

        Parameters
        ----------
        patterns : tensor of shape (n, n_places)

        Returns
        -------
        pictures : tensor of shape (n, 1, side, side)
            On the same device and of the same type; zero outside `mask`.

        Raises
        ------
        InputError
            There is another number of values than of places.
        """
        if patterns.ndim != 2 or patterns.shape[1] != len(self):
            raise InputError(
                f"Patterns have shape {tuple(patterns.shape)} but the raster was made for {len(self):,} places; load the same "
                "subject and roi, or make the raster of this one."
            )
        drawn, members, shares, corners, weights = self._on(patterns.device, patterns.dtype)
        spots = (patterns[:, members] * shares).sum(-1)
        pictures = patterns.new_zeros(len(patterns), self.side**2)
        pictures[:, drawn] = (spots[:, corners] * weights).sum(-1)
        return pictures.view(-1, 1, self.side, self.side)

    def to_vertices(self, pictures: Tensor) -> Tensor:
        """Values of the places, (n, n_places), from pictures (n, 1, side, side) as `to_raster` draws them."""
        if tuple(pictures.shape[1:]) != (1, self.side, self.side):
            raise InputError(
                f"Pictures have shape {tuple(pictures.shape)} but the raster has {self.side} x {self.side} pixels; expected "
                f"(n, 1, {self.side}, {self.side})."
            )
        pixels = torch.as_tensor(self.pixels, device=pictures.device)
        return pictures.flatten(1)[:, pixels.clamp_min(0)] * (pixels >= 0)

    def _on(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
        kept = self.__dict__.setdefault("_tensors", {})
        if (device, dtype) not in kept:
            kept[device, dtype] = tuple(
                torch.as_tensor(array, device=device, dtype=dtype if array.dtype.kind == "f" else None)
                for array in self._weights
            )
        return kept[device, dtype]

    @cached_property
    def _weights(self) -> tuple[np.ndarray, ...]:
        """Pixels that are drawn; the places of each spot and their shares; the three spots of each pixel and their weights.

        A spot is a pixel with one or several places of one sheet; of two sheets in one pixel the first draws it.
        """
        there = np.flatnonzero(self.pixels >= 0)
        keys = self.sheets[there] * self.side**2 + self.pixels[there]
        spots, spot_of = np.unique(keys, return_inverse=True)
        spot_of = spot_of.reshape(-1)
        sizes = np.bincount(spot_of)
        members = np.zeros((len(spots), sizes.max()), dtype=np.int64)
        shares = np.zeros(members.shape, dtype=np.float64)
        order = np.argsort(spot_of, kind="stable")
        among = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        members[spot_of[order], among] = there[order]
        shares[spot_of[order], among] = 1 / sizes[spot_of[order]]
        corners = np.zeros((self.side**2, 3), dtype=np.int64)
        weights = np.zeros((self.side**2, 3), dtype=np.float64)
        for sheet in np.unique(self.sheets)[::-1]:
            own = np.flatnonzero(spots // self.side**2 == sheet)
            pixels = spots[own] % self.side**2
            _interpolate(np.stack(np.divmod(pixels, self.side), axis=1), own, corners, weights, self.side)
        for sheet in np.unique(self.sheets)[::-1]:
            own = np.flatnonzero(spots // self.side**2 == sheet)
            pixels = spots[own] % self.side**2
            corners[pixels], weights[pixels] = own[:, None], (1.0, 0.0, 0.0)
        drawn = np.flatnonzero(weights.any(axis=1))
        return drawn, members, shares, corners[drawn], weights[drawn]


def crop_box(rows: np.ndarray, columns: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row and first and last column of what is cut out around places of the whole map, after NeuroPictor.

    >>> crop_box(np.array([40, 7]), np.array([100, 130]))
    (6, 41, 90, 140)
    """
    (up, aside), low, high = MARGIN, (rows.min(), columns.min()), (rows.max(), columns.max())
    return int(low[0] - up), int(high[0] + up), int(low[1] - aside), int(high[1] + aside)


def _interpolate(places: np.ndarray, spots: np.ndarray, corners: np.ndarray, weights: np.ndarray, side: int) -> None:
    """Fill in the corners and weights of all pixels of a sheet, whose spots lie at places (n, 2), row and column."""
    tree = cKDTree(places)
    usual = np.median(tree.query(places, k=2)[0][:, 1]) if len(places) > 1 else 1.0
    near = int(np.ceil(usual / 2))
    (top, left), (bottom, right) = (
        np.maximum(places.min(axis=0) - near, 0),
        np.minimum(places.max(axis=0) + near, side - 1),
    )
    grid = np.stack(np.meshgrid(np.arange(top, bottom + 1), np.arange(left, right + 1), indexing="ij"), -1).reshape(
        -1, 2
    )
    pixels = grid[:, 0] * side + grid[:, 1]
    far, nearest = tree.query(grid)
    reached = far <= usual / 2
    corners[pixels[reached]], weights[pixels[reached]] = spots[nearest[reached], None], (1.0, 0.0, 0.0)
    try:
        triangles = Delaunay(places.astype(np.float64))
    except QhullError:
        # Fewer than three, or all on one line: there is nothing between them.
        return
    edges = np.linalg.norm(places[triangles.simplices] - places[np.roll(triangles.simplices, 1, axis=1)], axis=2)
    found = triangles.find_simplex(grid)
    inside = (found >= 0) & (edges.max(axis=1) <= max(LONGEST * np.median(edges), 2.0))[found]
    transform = triangles.transform[found[inside]]
    first = np.einsum("nij,nj->ni", transform[:, :2], grid[inside] - transform[:, 2])
    shares = np.clip(np.concatenate([first, 1 - first.sum(axis=1, keepdims=True)], axis=1), 0, 1)
    corners[pixels[inside]] = spots[triangles.simplices[found[inside]]]
    weights[pixels[inside]] = shares / shares.sum(axis=1, keepdims=True)
