"""Responses of trials out of a table whose rows are voxels: only the rows of the voxels that are used are read."""

from __future__ import annotations

import numpy as np

from brainrecon.datasets.hdf5_rows import ROWS_READ_OVER
from brainrecon.datasets.responses import Responses
from brainrecon.datasets.split import NotFiniteError
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_slice
from stages.ground.reading.hdf5_files import dataset, hdf5_file

KEPT_BYTES = 2**30
"""Up to so many bytes of responses, float32, are read at once and kept: of the original's 9,840 trials those of 27,000 voxels."""
BLOCK_BYTES = 32 * 2**20
REMEDY = "leave those voxels out with --mask, or estimate these betas again"


class VoxelRows:
    """The columns of a table that are trials, of the rows that are the chosen voxels.

    If they are few enough, they are read at the first need, in pieces, and kept. Otherwise the asked trials are read each time,
    which looks at every voxel's row again.

    Parameters
    ----------
    frame : stages.ground.reading.pandas_frames.StoredFrame
    trials : sequence of str
        Names of the columns that are trials.
    rows : array of int, shape (n_voxels,)
        Rows of the table.
    kept_bytes : int
    """

    def __init__(self, frame, trials, rows, kept_bytes=KEPT_BYTES):
        self.frame, self.rows, self.n_trials = frame, np.asarray(rows), len(trials)
        self.keeps = 4 * self.n_trials * len(self.rows) <= kept_bytes
        self._kept = None
        places = {name: (block, place) for block, names in frame.blocks.items() for place, name in enumerate(names)}
        found = [places[name] for name in trials]
        # Each block's trials as (places among the trials, places among the block's columns).
        self._blocks = {
            block: np.array([(trial, place) for trial, (own, place) in enumerate(found) if own == block]).T
            for block in dict.fromkeys(block for block, _ in found)
        }

    def read(self, trials):
        """Responses of some trials, float32 (n, n_voxels); trials by their place, increasing or not."""
        if not self.keeps:
            return self._read(trials)
        if self._kept is None:
            self._kept = self._read(np.arange(self.n_trials))
        return self._kept[trials]

    def _read(self, trials):
        values = np.empty((len(trials), len(self.rows)), dtype=np.float32)
        bad = np.zeros(len(self.rows), dtype=bool)
        # Rows of the file in increasing order, and where each goes.
        order = np.argsort(self.rows, kind="stable")
        with hdf5_file(self.frame.path) as file:
            for block, (own, places) in self._blocks.items():
                column_of = np.full(self.n_trials, -1)
                column_of[own] = places
                wanted = np.flatnonzero(column_of[trials] >= 0)
                if not len(wanted):
                    continue
                columns, stored = column_of[trials][wanted], dataset(file, block)
                at_once = max(1, BLOCK_BYTES // max(1, len(columns) * stored.dtype.itemsize))
                for start in range(0, len(order), at_once):
                    voxels = order[start : start + at_once]
                    part = self._rows_of(stored, voxels, columns)
                    bad[voxels] |= ~np.isfinite(part).all(axis=1)
                    # Turned by blocks, as a column of single values costs a line of the cache for each.
                    values[_both(wanted, voxels)] = part.T
        if bad.any():
            raise NotFiniteError(
                f"{bad.sum():,} of {len(bad):,} voxels hold NaN or infinite betas in {self.frame.path}; {REMEDY}.", bad
            )
        return values

    def _rows_of(self, stored, voxels, columns):
        """Some voxels' rows, in increasing order, and some columns, float32; neighbours are read in one piece."""
        rows, first, last = self.rows[voxels], columns.min(), columns.max() + 1
        chosen = as_slice(columns - first)
        part, done = np.empty((len(rows), len(columns)), dtype=np.float32), 0
        for piece in np.split(rows, np.flatnonzero(np.diff(rows) > ROWS_READ_OVER) + 1):
            read = stored[piece[0] : piece[-1] + 1, first:last]
            if len(read) > len(piece):
                read = read[piece - piece[0]]
            part[done : done + len(piece)] = read[:, chosen]
            done += len(piece)
        return part


def _both(rows, columns):
    """An index of all pairs of rows and columns; as slices, which are faster, if they follow each other."""
    index = as_slice(rows), as_slice(columns)
    return index if all(isinstance(one, slice) for one in index) else np.ix_(rows, columns)


class TrialsOfVoxels(Responses):
    """Responses to trials, (n_trials, n_voxels) float32, out of `VoxelRows`, which several splits may share.

    Parameters
    ----------
    store : VoxelRows
    """

    takes_any_order = True

    def __init__(self, store):
        super().__init__((store.n_trials, len(store.rows)), np.float32)
        self._store = store

    def _read(self, rows):
        return self._store.read(rows)


def rows_of_voxels(frame, column, voxel_ids, where):
    """The row of the table of each voxel, by a column that numbers them.

    Parameters
    ----------
    frame : stages.ground.reading.pandas_frames.StoredFrame
    column : str
    voxel_ids : array of int, shape (n_voxels,)
    where : path
        Of the file that says so, for the message.

    Returns
    -------
    rows : array of int, shape (n_voxels,)

    Raises
    ------
    InputError
        There is no such column, or it numbers other voxels.
    """
    if column not in frame.columns:
        first = ", ".join(frame.columns[:3])
        raise InputError(f"{frame.path} has no column {column} but {first}, ...; copy the original file again.")
    stored = frame.column(column)
    order = np.argsort(stored, kind="stable")
    if len(stored) != len(voxel_ids) or not np.array_equal(stored[order], np.sort(voxel_ids)):
        raise InputError(
            f"{frame.path} has {len(stored):,} voxels, {_numbered(stored)}, and {where} {len(voxel_ids):,}, "
            f"{_numbered(voxel_ids)}; take both from one subject."
        )
    return order[np.searchsorted(stored[order], voxel_ids)]


def _numbered(values):
    return f"numbered {values.min():g} to {values.max():g}" if len(values) else "none"
