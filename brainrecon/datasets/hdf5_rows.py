"""Rows of one dataset of an HDF5 file, read when they are asked for."""

from contextlib import contextmanager

import h5py
import numpy as np

from brainrecon.datasets.nsd.volumes import DAMAGE, one_line
from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows

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
        with opened(path) as file:
            dataset = file.get(name)
            if not isinstance(dataset, h5py.Dataset):
                raise InputError(
                    f"{path} has no dataset '{name}' but {', '.join(file) or 'nothing'}; copy the original file again."
                )
            shape, dtype = dataset.shape, dataset.dtype.newbyteorder("=")
        super().__init__(shape[::-1] if reverse else shape, dtype)

    def _read(self, rows):
        pieces = np.split(rows, np.flatnonzero(np.diff(rows) > ROWS_READ_OVER) + 1)
        with opened(self.path) as file:
            dataset = file[self.name]
            if len(pieces) == 1:
                return self._piece(dataset, rows)
            values, done = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype), 0
            for piece in pieces:
                values[done : done + len(piece)] = self._piece(dataset, piece)
                done += len(piece)
        return values

    def _piece(self, dataset, rows):
        """Increasing rows by one reading of all from the first to the last."""
        first, last = rows[0], rows[-1] + 1
        values = dataset[..., first:last].T if self.reverse else dataset[first:last]
        if len(values) > len(rows):
            values = values[rows - first]
        return values.astype(self.dtype, copy=False)


@contextmanager
def opened(path):
    """An open HDF5 file; damage that is met on opening or reading is an InputError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except (*DAMAGE, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as HDF5 ({one_line(error)}); copy the file again.") from error
