"""Maps of a CIFTI file as rows, read when they are asked for."""

import numpy as np

from stages.ground.lazy_rows import LazyRows
from stages.ground.reading.cifti_files import read_maps


class CiftiRows(LazyRows):
    """Maps of an opened file, (n_maps, n_places); the file is open only while it is read.

    Parameters
    ----------
    maps : stages.ground.reading.cifti_files.CiftiMaps
    columns : int array, optional
        Some of the places; those alone are read.
    """

    takes_any_order = True

    def __init__(self, maps, columns=None):
        self._maps, self._columns = maps, columns
        n_places = maps.shape[1] if columns is None else len(columns)
        super().__init__((maps.shape[0], n_places), np.float32)

    def _read(self, rows):
        columns = slice(None) if self._columns is None else self._columns
        return read_maps(self._maps, rows, columns).astype(np.float32, copy=False)

    def _of_columns(self, places):
        return CiftiRows(self._maps, places if self._columns is None else self._columns[places])
