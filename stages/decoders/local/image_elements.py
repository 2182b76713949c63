"""Local image elements: small rectangles of a coarse picture, at several sizes, and back from them to pixels.

A picture of H x W cells is described by the mean contrast of every h x w rectangle of neighbouring cells that lies in
it, at every position, for several sizes (h, w) (Miyawaki et al. 2008, doi 10.1016/j.neuron.2008.11.004). Elements are
in the order of their sizes, and of one size row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from numbers import Integral

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import sparse

from stages.ground.errors import InputError


def element_sizes(sizes, grid):
    """The sizes that a scale stands for, or a list of sizes once they are checked.

    Parameters
    ----------
    sizes : int or sequence of (int, int)
        A scale s stands for (1, 1), (1, s), (s, 1) and (s, s), height before width; 1 for (1, 1) alone. In a grid of
        one row, what is left of these is (1, 1) and, where it fits, (1, s).
    grid : (int, int)
        Rows and columns of the picture.

    Returns
    -------
    tuple of (int, int)
        Each size once, in the order given.

    Raises
    ------
    InputError
        What is no scale and no list of sizes, a size given twice, or one that the grid has no room for.
    """
    rows, columns = grid
    if _is_count(sizes):
        s = int(sizes)
        named = ((1, 1), (1, s), (s, 1), (s, s)) if s > 1 else ((1, 1),)
        if rows == 1:
            return tuple((h, w) for h, w in named if h == 1 and w <= columns)
    else:
        if not isinstance(sizes, (Sequence, np.ndarray)) or isinstance(sizes, str) or len(sizes) == 0:
            raise InputError(
                f"sizes is {sizes!r}; expected a scale of 1 or more, such as 2, or a list of heights and widths, such as "
                "[(1, 1), (2, 2)]."
            )
        for size in sizes:
            if np.shape(size) != (2,) or not all(_is_count(side) for side in size):
                raise InputError(f"sizes holds {size!r}; expected a height and a width of 1 or more, such as (1, 2).")
        named = tuple((int(h), int(w)) for h, w in sizes)
        if len(set(named)) < len(named):
            raise InputError(f"sizes is {list(named)}, in which a size comes twice; name each size once.")
    if large := [size for size in named if size[0] > rows or size[1] > columns]:
        raise InputError(
            f"Elements of {large[0][0]} x {large[0][1]} cells do not fit into a picture of {rows} x {columns}; "
            "pass smaller sizes."
        )
    return named


class ImageElements:
    """All positions of rectangles of some sizes in a picture.

    Parameters
    ----------
    sizes : int or sequence of (int, int)
        As `element_sizes` takes them.
    grid : (int, int)
        Rows and columns of the picture.

    Attributes
    ----------
    sizes : tuple of (int, int)
        Height and width of each size, in cells.
    grid : tuple of int
    places : array of shape (n_elements, 4), int
        Height, width, and the row and column of the first cell of every element.
    size_index : array of shape (n_elements,), int
        Which of `sizes` each element has.

    Examples
    --------
    >>> elements = ImageElements(2, (10, 10))
    >>> elements.sizes, len(elements)
    (((1, 1), (1, 2), (2, 1), (2, 2)), 361)
    """

    def __init__(self, sizes, grid):
        if np.shape(grid) != (2,) or not all(_is_count(side) for side in grid):
            raise InputError(f"grid is {grid!r}; expected rows and columns of 1 or more, such as (10, 10).")
        self.grid = tuple(int(side) for side in grid)
        self.sizes = element_sizes(sizes, self.grid)
        places = []
        for height, width in self.sizes:
            row, column = np.indices((self.grid[0] - height + 1, self.grid[1] - width + 1)).reshape(2, -1)
            places.append(np.stack([np.full(row.size, height), np.full(row.size, width), row, column], axis=1))
        self.size_index = np.repeat(np.arange(len(places)), [len(part) for part in places])
        self.places = np.concatenate(places)

    def __len__(self):
        return len(self.places)

    @property
    def n_pixels(self):
        """Cells of a picture."""
        return self.grid[0] * self.grid[1]

    def contrasts(self, pictures):
        """Mean of the cells of every element.

        Parameters
        ----------
        pictures : array of shape (n_stimuli, n_rows, n_columns) or (n_stimuli, n_pixels)

        Returns
        -------
        array of shape (n_stimuli, n_elements), float64
            In the unit of `pictures`, within their range.
        """
        pictures = self._pictures(pictures)
        found = np.empty((len(pictures), len(self)))
        for index, (height, width) in enumerate(self.sizes):
            windows = sliding_window_view(pictures, (height, width), axis=(1, 2))
            sums = windows.sum(axis=(-2, -1)).reshape(len(pictures), -1)
            found[:, self.size_index == index] = sums / (height * width)
        return found

    def to_pixels(self, contrasts):
        """Pictures from the elements of each size by itself: a pixel is the mean of the elements that cover it.

        Parameters
        ----------
        contrasts : array of shape (n_stimuli, n_elements)

        Returns
        -------
        array of shape (n_stimuli, n_sizes, n_pixels), float64
            Within the range of `contrasts`. Every size covers every pixel.
        """
        contrasts = self._contrasts(contrasts)
        found = np.empty((len(contrasts), len(self.sizes), self.n_pixels))
        for index in range(len(self.sizes)):
            own = self.size_index == index
            indicators = self.indicators[own]
            found[:, index] = (indicators.T @ contrasts[:, own].T).T / indicators.sum(axis=0)
        return found

    def added(self, contrasts):
        """Pictures in which every element adds its contrast to each of its cells.

        Parameters
        ----------
        contrasts : array of shape (n_stimuli, n_elements)

        Returns
        -------
        array of shape (n_stimuli, n_pixels), float64
        """
        return (self.indicators.T @ self._contrasts(contrasts).T).T

    @cached_property
    def indicators(self):
        """Which pixels each element covers: sparse array of shape (n_elements, n_pixels), 1 or 0."""
        height, width, row, column = self.places.T
        element = np.repeat(np.arange(len(self)), height * width)
        cell = np.concatenate([np.arange(h * w) for h, w in zip(height, width)])
        pixel = (row[element] + cell // width[element]) * self.grid[1] + column[element] + cell % width[element]
        return sparse.csr_array((np.ones(len(pixel)), (element, pixel)), shape=(len(self), self.n_pixels))

    def _pictures(self, pictures):
        pictures = np.asarray(pictures, dtype=np.float64)
        if pictures.shape[1:] not in (self.grid, (self.n_pixels,)):
            raise InputError(
                f"Pictures have shape {pictures.shape} but these elements lie in pictures of "
                f"{self.grid[0]} x {self.grid[1]}; pass arrays of shape (n_stimuli, {self.grid[0]}, {self.grid[1]})."
            )
        return pictures.reshape(-1, *self.grid)

    def _contrasts(self, contrasts):
        contrasts = np.asarray(contrasts, dtype=np.float64)
        if contrasts.ndim != 2 or contrasts.shape[1] != len(self):
            raise InputError(
                f"Contrasts have shape {contrasts.shape} but there are {len(self):,} elements; pass an array of shape "
                f"(n_stimuli, {len(self)})."
            )
        return contrasts


def _is_count(value):
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1
