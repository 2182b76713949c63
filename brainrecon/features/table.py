"""A feature table on disk: runs of neighbouring columns, so that a block of columns is one stretch of the file.

`values.npy` is a plain array file of shape (n_runs, n_stimuli, 32): the first 32 columns for all stimuli, then the next
32; zeros fill up the last run. Stage one goes through a table by columns, many times what memory holds; in a file that
is written row by row it would have to seek once for each stimulus of each block.
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows, as_slice
from weights.seals import broken
from weights.whole_files import whole_file

# Runs read at a time: long enough for numpy's loops, short enough to meet them in the processor's cache.
_RUNS_AT_ONCE = 32
# Bytes rearranged at a time; three times as many are in memory.
_BYTES_AT_ONCE = 1 << 28


@dataclass(frozen=True)
class Table:
    """One target's values for the stimuli of a split, on disk, in one of the ways in which they may lie.

    `numpy.asarray(table)` reads the whole table, float32 (n_stimuli, n_targets). ``table[rows]`` reads some stimuli, chosen as
    of any lazy array (`stages.ground.lazy_rows`); ``table.columns(start, stop)`` reads some columns.

    Attributes
    ----------
    folder : Path
    stimulus_ids : tuple of str
        Order of the rows.
    shape : tuple of int
        (n_stimuli, n_targets).
    dtype : numpy.dtype
        Of the file, float32 or float16; values are read as float32 from either.
    """

    folder: Path
    stimulus_ids: tuple[str, ...]
    shape: tuple[int, int]
    dtype: np.dtype

    @property
    def path(self):
        """The file of values, there once it is whole."""
        return self.folder / "values.npy"

    @property
    def nbytes(self):
        """Bytes of the values on disk."""
        return math.prod(self.file_shape) * self.dtype.itemsize

    def rows(self, start, stop):
        """Values of stimuli `start` to `stop`, float32 (stop - start, n_targets); raises what `columns` raises.

        In a table by columns a row is scattered over the whole file: for some rows of a table of test stimuli.
        """
        self._check("Rows", start, stop, self.shape[0])
        return self[start:stop]

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        return self.columns(0, self.shape[1]).astype(dtype or np.float32, copy=False)

    def check(self):
        """Refuse a file of values that is not this table's, or not what was written; a large one is read once for it."""
        with self.opened():
            pass
        if damage := broken(self.folder, [self.path.name]):
            raise self._damaged(damage)

    @contextmanager
    def opened(self):
        """Give the file of values, at its first value; an InputError if it is not this table's, whole."""
        try:
            file = open(self.path, "rb")
        except OSError as error:
            raise self._damaged(error.strerror) from None
        with file:
            try:
                np.lib.format.read_magic(file)
                shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
            except Exception as error:
                raise self._damaged(str(error).splitlines()[0]) from None
            if (shape, by_columns, dtype) != (self.file_shape, False, self.dtype):
                raise self._damaged(f"it holds {dtype} {shape}, expected {self.dtype} {self.file_shape}")
            size, expected = os.fstat(file.fileno()).st_size, file.tell() + self.nbytes
            if size != expected:
                raise self._damaged(f"it has {size:,} bytes, expected {expected:,}")
            yield file

    def _check(self, what, start, stop, available):
        if not 0 <= start <= stop <= available:
            raise InputError(
                f"{what} {start:,} to {stop:,} were asked of the feature table {self.folder.name}, which has {available:,}; "
                f"ask for a range within 0 to {available:,}."
            )

    def _damaged(self, reason):
        return InputError(
            f"{self.path} cannot be used ({reason}); delete the folder {self.folder} and run `brainrecon features` or "
            "`brainrecon fit` again."
        )


@dataclass(frozen=True)
class FeatureTable(Table):
    """One target's values for the stimuli of a split, on disk, by columns.

    >>> import numpy as np
    >>> from brainrecon.features.store import FeatureStore
    >>> class Colour:
    ...     name, takes, shape, n_targets, preprocessing = "colour", "images", (3,), 3, {}
    ...     def encode(self, images, batch_size=64):
    ...         return np.asarray(images, dtype=np.float32).mean(axis=(1, 2))
    >>> pictures = np.full((5, 8, 8, 3), 100, dtype=np.uint8)
    >>> store = FeatureStore("features")
    >>> table: FeatureTable = store.encode(Colour(), pictures, list("abcde"), dataset="plain", checkpoint="none")
    >>> np.asarray(table).shape, table[[2, 0]].shape, table.columns(0, 2).shape
    ((5, 3), (2, 3), (5, 2))

    Rows are scattered over the file, so read blocks of `columns` if it can be helped.

    Attributes
    ----------
    folder, stimulus_ids, shape, dtype
        See `Table`.
    COLUMN_RUN : int
        Columns that lie together in the file. Blocks that start and end at its multiples read nothing in vain.
    """

    COLUMN_RUN: ClassVar[int] = 32

    @property
    def file_shape(self):
        """(n_runs, n_stimuli, columns of a run) of the file; fewer columns than a run has are a run of their own."""
        n_stimuli, n_targets = self.shape
        width = min(self.COLUMN_RUN, n_targets)
        return -(-n_targets // width), n_stimuli, width

    def columns(self, start, stop, out=None):
        """Read columns `start` to `stop` for all stimuli, from one stretch of the file.

        Parameters
        ----------
        start, stop : int
        out : array of shape (n_stimuli, stop - start), float32, C-contiguous, optional
            Where to put them: memory that is used again costs less than memory that is new.

        Returns
        -------
        array of shape (n_stimuli, stop - start), float32, C-contiguous

        Raises
        ------
        InputError
            Columns that the table does not have; a file that is missing, damaged or another table's.
        """
        self._check("Columns", start, stop, self.shape[1])
        _, n_stimuli, width = self.file_shape
        first, last = start // width, -(-stop // width)
        whole = (last - first) * width
        values = out if out is not None and whole == stop - start else np.empty((n_stimuli, whole), dtype=np.float32)
        runs = values.reshape(n_stimuli, last - first, width)
        buffer = np.empty((min(_RUNS_AT_ONCE, last - first), n_stimuli, width), dtype=self.dtype)
        with self.opened() as file:
            # Read, not mapped: a map fetches a cold file page fault by page fault.
            file.seek(first * n_stimuli * width * self.dtype.itemsize, os.SEEK_CUR)
            for run in range(0, last - first, _RUNS_AT_ONCE):
                part = buffer[: last - first - run]
                if file.readinto(part) != part.nbytes:
                    raise self._damaged("it ended while it was read")
                runs[:, run : run + len(part)] = part.transpose(1, 0, 2)
        if values is out:
            return out
        offset = start - first * width
        wanted = values[:, offset : offset + stop - start]
        if out is None:
            return np.ascontiguousarray(wanted)
        out[...] = wanted
        return out

    def runs(self, start, stop):
        """Columns `start` to `stop`, multiples of `COLUMN_RUN`, as they lie in the file.

        Returns
        -------
        array of shape (n_runs, n_stimuli, COLUMN_RUN), of the file's dtype
        """
        self._check("Columns", start, stop, self.shape[1])
        _, n_stimuli, width = self.file_shape
        values = np.empty(((stop - start) // width, n_stimuli, width), dtype=self.dtype)
        with self.opened() as file:
            file.seek(start * n_stimuli * self.dtype.itemsize, os.SEEK_CUR)
            if file.readinto(values) != values.nbytes:
                raise self._damaged("it ended while it was read")
        return values

    def block(self, rows, columns):
        """Some neighbouring rows and columns, both slices, in the file's type."""
        with self.opened() as file:
            runs = np.memmap(file, self.dtype, mode="r", offset=file.tell(), shape=self.file_shape)
            values = runs[:, rows].transpose(1, 0, 2).reshape(runs[0, rows].shape[0], -1)
        return values[:, : self.shape[1]][:, columns]

    def __getitem__(self, index):
        return TableRows(self)[index]


class TableRows(LazyRows):
    """A feature table as rows: values of stimuli, (n_stimuli, n_targets) float32.

    Parameters
    ----------
    table : FeatureTable
    """

    def __init__(self, table):
        super().__init__(table.shape, np.float32)
        self._table = table

    def _read(self, rows):
        table = self._table
        with table.opened() as file:
            runs = np.memmap(file, table.dtype, mode="r", offset=file.tell(), shape=table.file_shape)
            values = runs[:, as_slice(rows)].transpose(1, 0, 2).astype(np.float32, order="C")
        return values.reshape(len(rows), -1)[:, : self.shape[1]]


def arrange(rows, table):
    """Write a table's file; it takes its name when it is whole.

    Parameters
    ----------
    rows : array of shape (n_stimuli, n_targets)
        In the table's dtype; blocks of its columns are read, so that it need not fit into memory.
    table : FeatureTable

    Yields
    ------
    n_runs : int
        How many runs are written.
    """
    n_runs, n_stimuli, width = table.file_shape
    at_once = max(_BYTES_AT_ONCE // (n_stimuli * width * table.dtype.itemsize), 1)
    header = {"descr": np.lib.format.dtype_to_descr(table.dtype), "fortran_order": False, "shape": table.file_shape}
    # Written, not mapped: a full disk is an error then, and not the end of the process.
    with whole_file(table.path) as partial, open(partial, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, n_runs, at_once):
            last = min(first + at_once, n_runs)
            own = rows[:, first * width : last * width]
            block = np.zeros((n_stimuli, (last - first) * width), dtype=table.dtype)
            block[:, : own.shape[1]] = own
            file.write(np.ascontiguousarray(block.reshape(n_stimuli, last - first, width).transpose(1, 0, 2)))
            yield last
        file.flush()
