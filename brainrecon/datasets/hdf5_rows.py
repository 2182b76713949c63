"""Rows of one dataset of an HDF5 file, read when they are asked for."""

import numpy as np

from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows
from stages.ground.reading.hdf5_files import dataset, hdf5_file

ROWS_READ_OVER = 4
"""Rows no further apart than this are read in one piece: a piece costs more than a few unused rows."""


class Hdf5Rows(LazyRows):
    """Numbers of one HDF5 dataset; the file is open only while it is read.

    Parameters
    ----------
    path : pathlib.Path
    name : str
        Of the dataset.
    reverse : bool
        Whether the axes lie in the file in reverse, as MATLAB writes them: its last axis is then the rows'.

    Attributes
    ----------
    dtype
        In the machine's byte order.

    Raises
    ------
    InputError
        The file cannot be read, or has no such dataset.
    """

    def __init__(self, path, name, reverse=False):
        self.path, self.name, self.reverse = path, name, reverse
        with hdf5_file(path) as file:
            found = dataset(file, name)
            if found.dtype.kind not in "biufc":
                raise InputError(
                    f"'{name}' in {path} holds {found.dtype}; expected numbers: copy the original file again."
                )
            shape, dtype = found.shape, found.dtype.newbyteorder("=")
        super().__init__(shape[::-1] if reverse else shape, dtype)

    def _read(self, rows):
        pieces = np.split(rows, np.flatnonzero(np.diff(rows) > ROWS_READ_OVER) + 1)
        with hdf5_file(self.path) as file:
            stored = dataset(file, self.name)
            if len(pieces) == 1:
                return self._piece(stored, rows)
            values, done = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype), 0
            for piece in pieces:
                values[done : done + len(piece)] = self._piece(stored, piece)
                done += len(piece)
        return values

    def _piece(self, stored, rows):
        """Increasing rows by one reading of all from the first to the last."""
        first, last = rows[0], rows[-1] + 1
        values = stored[..., first:last].T if self.reverse else stored[first:last]
        if len(values) > len(rows):
            values = values[rows - first]
        return values.astype(self.dtype, copy=False)
