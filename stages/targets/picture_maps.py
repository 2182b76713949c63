"""What targets that are maps of a picture share: one map for each picture, as one row of values."""

from __future__ import annotations

import math

import numpy as np

from stages.ground.checks import uint8_pictures
from stages.ground.pictures import check_levels


class PictureMaps:
    """A map of each picture, flattened with the last axis fastest; a subclass has `shape`, `preprocessing` and `_map`.

    Attributes
    ----------
    shape : tuple of int
        (height, width), or (height, width, channels).
    """

    name = "map"
    takes = "images"
    shape: tuple[int, ...] = ()

    @property
    def n_targets(self):
        """Values per picture."""
        return math.prod(self.shape)

    def encode(self, items, batch_size=32):
        """Compute the maps of pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size.
        batch_size : int
            Pictures that are read at a time; each is looked at alone, so it changes nothing.

        Returns
        -------
        values : array of shape (n, n_targets), float32
            0..1.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            pictures = uint8_pictures(items[start : start + batch_size], f"the target {self.name}")
            for row, picture in enumerate(pictures, start):
                values[row] = np.asarray(self._map(picture), dtype=np.float32).ravel()
        return values

    def _map(self, picture):
        """The map of one uint8 picture (height, width, 3), of `shape`."""
        raise NotImplementedError


def scaled(values):
    """Bring a map to 0..1 by its own least and largest value; a constant one becomes 0 everywhere.

    >>> scaled([[2.0, 4.0], [3.0, 2.0]]).tolist()
    [[0.0, 1.0], [0.5, 0.0]]
    >>> scaled([[7.0, 7.0]]).tolist()
    [[0.0, 0.0]]

    Parameters
    ----------
    values : array of any shape
        Finite.

    Returns
    -------
    array of that shape, float32
    """
    values = np.asarray(values, dtype=np.float64)
    least, most = values.min(), values.max()
    if not most - least > 1e-6 * max(abs(least), abs(most)):
        # The rounding of a constant map would become a pattern of full contrast.
        return np.zeros(values.shape, np.float32)
    return ((values - least) / (most - least)).astype(np.float32)
