"""A feature table by rows: all values of a stimulus are one stretch of the file.

`values.npy` is a plain array file of shape (n_stimuli, n_targets). A network that is trained takes some stimuli from anywhere in
every step, and all of their values; in a table by columns a row would be scattered over the whole file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainrecon.features.table import Table
from stages.ground.lazy_rows import LazyRows, MappedRows
from weights.whole_files import whole_file


@dataclass(frozen=True)
class RowTable(Table):
    """One target's values for the stimuli of a split, on disk, by rows.

    >>> from brainrecon.features.store import FeatureStore
    >>> class Colour:
    ...     name, takes, shape, n_targets, preprocessing = "colour", "images", (3,), 3, {}
    ...     def encode(self, images, batch_size=64):
    ...         return np.asarray(images, dtype=np.float32).mean(axis=(1, 2))
    >>> pictures, store = np.full((5, 8, 8, 3), 100, dtype=np.uint8), FeatureStore("features")
    >>> table: RowTable = store.encode(
    ...     Colour(), pictures, list("abcde"), dataset="plain", checkpoint="none", dtype="float16", by="rows"
    ... )
    >>> table[[2, 0]].dtype, table.stored((3, 1))[[2, 0]].shape, table.stored((3, 1)).dtype
    (dtype('float32'), (2, 3, 1), dtype('float16'))

    Attributes
    ----------
    folder, stimulus_ids, shape, dtype
        See `brainrecon.features.table.Table`.
    """

    @property
    def file_shape(self):
        """Of the array in the file: that of the table."""
        return self.shape

    def stored(self, shape=None):
        """Values as they lie in the file, rows (n_stimuli, ...) of its type, read when they are asked for.

        Parameters
        ----------
        shape : tuple of int, optional
            Of the values of a stimulus; flat by default.
        """
        rows = StoredRows(self)
        if shape is None or tuple(shape) == rows.shape[1:]:
            return rows
        return MappedRows(rows, lambda values: values.reshape(-1, *shape), tuple(shape))

    def block(self, rows, columns):
        """Some neighbouring rows and columns, both slices, in the file's type; mapped."""
        with self.opened() as file:
            return np.memmap(file, self.dtype, mode="r", offset=file.tell(), shape=self.shape)[rows, columns]

    def columns(self, start, stop, out=None):
        """Columns `start` to `stop` for all stimuli, float32 (n_stimuli, stop - start); they are scattered over the file."""
        self._check("Columns", start, stop, self.shape[1])
        values = np.empty((len(self), stop - start), dtype=np.float32) if out is None else out
        values[...] = self.block(slice(None), slice(start, stop))
        return values

    def __getitem__(self, index):
        return self.stored()[index].astype(np.float32)


class StoredRows(LazyRows):
    """Values of a table by rows, of the file's type: neighbouring rows are one read.

    Parameters
    ----------
    table : RowTable
    """

    def __init__(self, table):
        super().__init__(table.shape, table.dtype)
        self._table = table

    def _read(self, rows):
        # Read, not mapped: of a map the pages that were read count as the memory of the process.
        values = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        ends = np.flatnonzero(np.diff(rows) != 1) + 1
        with self._table.opened() as file:
            begin = file.tell()
            for start, stop in zip((0, *ends), (*ends, len(rows))):
                file.seek(begin + int(rows[start]) * values[:1].nbytes)
                if file.readinto(values[start:stop]) != values[start:stop].nbytes:
                    raise self._table._damaged("it ended while it was read")
        return values


def write_rows(blocks, table):
    """Write a table's file by rows; it takes its name when it is whole.

    Parameters
    ----------
    blocks : iterable of array of shape (n, n_targets)
        In the table's type, one below the other.
    table : RowTable

    Yields
    ------
    n_rows : int
        How many are written.
    """
    header = {"descr": np.lib.format.dtype_to_descr(table.dtype), "fortran_order": False, "shape": table.file_shape}
    done = 0
    with whole_file(table.path) as partial, open(partial, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block))
            done += len(block)
            yield done
        file.flush()
