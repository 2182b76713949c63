"""The file of a table, made of the batches that were encoded or of the same table as it lies the other way."""

from __future__ import annotations

import numpy as np

from brainrecon.features.row_table import RowTable, write_rows
from brainrecon.features.table import arrange
from weights.whole_files import named_errors

# Bytes of rows arranged at a time; of a table by columns, every run of columns of such a block is a read of its own.
_BYTES_AT_ONCE = 1 << 28


class Batches:
    """The batches of a table as one array, of which blocks are read: ``batches[rows, columns]``, both slices.

    Parameters
    ----------
    files : sequence of path
        One below the other.
    table : brainrecon.features.table.Table
        Their type and width are its own.
    batch_size : int
        Rows of every batch but the last.
    """

    def __init__(self, files, table, batch_size):
        self._files, self._batch_size = list(files), batch_size
        self._dtype, self._n_targets = table.dtype, table.shape[1]

    def __getitem__(self, index):
        rows, columns = index
        first, last, _ = rows.indices(len(self._files) * self._batch_size)
        begin = first // self._batch_size
        files = self._files[begin : -(-last // self._batch_size)]
        values = np.concatenate(
            [np.memmap(file, self._dtype, mode="r").reshape(-1, self._n_targets)[:, columns] for file in files]
        )
        return values[first - begin * self._batch_size : last - begin * self._batch_size]


class OtherWay:
    """A table as an array of which blocks are read, in the type of its file: ``values[rows, columns]``, both slices.

    Parameters
    ----------
    table : brainrecon.features.table.Table
        Whole.
    """

    def __init__(self, table):
        self._table = table

    def __getitem__(self, index):
        return self._table.block(*index)


def arrange_table(values, table, progress, label):
    """Write a table's file; it takes its name when it is whole.

    Parameters
    ----------
    values : Batches or OtherWay
    table : brainrecon.features.table.Table
    progress : callable
        Called with (label, done, total).
    label : str
    """
    try:
        with named_errors(table.path):
            if isinstance(table, RowTable):
                at_once = max(_BYTES_AT_ONCE // (table.nbytes // len(table)), 1)
                parts = [slice(first, min(first + at_once, len(table))) for first in range(0, len(table), at_once)]
                written, total = write_rows((values[part, :] for part in parts), table), len(table)
            else:
                written, total = arrange(values, table), table.file_shape[0]
            for done in written:
                progress(label, done, total)
    except FileNotFoundError:
        # Without locks another machine may have arranged them, and taken them away.
        if not table.path.exists():
            raise
