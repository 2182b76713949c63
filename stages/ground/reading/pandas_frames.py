"""Tables that pandas keeps in HDF5, read without PyTables and without unpickling: where each column's numbers lie.

``DataFrame.to_hdf`` in its own ("fixed") format writes a group with

    axis0                           names of the columns
    axis1                           names of the rows
    block0_items, block0_values     the columns of one type, and their values (rows, columns)
    block1_items, ...               those of another type

Names are texts of one length or whole numbers. Mixed names, and values that are no numbers, are pickled Python objects, which
could run any code when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from stages.ground.errors import InputError
from stages.ground.reading.hdf5_files import dataset, hdf5_file, linked

AXIS, ITEMS, VALUES = "axis0", "block{}_items", "block{}_values"


@dataclass(frozen=True)
class StoredFrame:
    """Where the columns of a table lie in a file.

    Attributes
    ----------
    path : pathlib.Path
    blocks : dict of str to tuple of str
        Name of each dataset of values (n_rows, n_columns), and the names of its columns.
    n_rows : int
    """

    path: Path
    blocks: dict[str, tuple[str, ...]]
    n_rows: int

    @property
    def columns(self) -> list[str]:
        """The names of all columns, block by block."""
        return [name for names in self.blocks.values() for name in names]

    def column(self, name: str) -> NDArray:
        """The values of one column, (n_rows,)."""
        block = next(block for block, names in self.blocks.items() if name in names)
        with hdf5_file(self.path) as file:
            return np.asarray(dataset(file, block)[:, self.blocks[block].index(name)])


def stored_frame(path: str | Path, remedy: str = "copy the original file again") -> StoredFrame:
    """Look up where the columns of the one table of a file lie; no values are read.

    >>> path = getfixture("tmp_path") / "table.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["responses/axis0"] = np.array([b"voxel_id", b"0", b"1"])
    ...     file["responses/block0_items"] = np.array([b"0", b"1"])
    ...     file["responses/block0_values"] = np.ones((5, 2))
    ...     file["responses/block1_items"] = np.array([b"voxel_id"])
    ...     file["responses/block1_values"] = np.arange(5)[:, None]
    >>> frame = stored_frame(path)
    >>> frame.n_rows, frame.columns, frame.column("voxel_id").tolist()
    (5, ['0', '1', 'voxel_id'], [0, 1, 2, 3, 4])

    Parameters
    ----------
    path : path
    remedy : str
        What to do about a file that holds none, for the message.

    Returns
    -------
    frame : StoredFrame

    Raises
    ------
    InputError
        The file cannot be read, holds no table or several, or one in another format or with pickled parts; or the parts of the
        table do not fit each other.
    """
    path = Path(path)
    with hdf5_file(path, remedy) as file:
        group = _table(file, remedy)
        blocks: dict[str, tuple[str, ...]] = {}
        n_rows = set()
        while ITEMS.format(len(blocks)) in group:
            items, values = (f"{group.name}/{part.format(len(blocks))}".strip("/") for part in (ITEMS, VALUES))
            names, stored = _names(dataset(file, items, remedy), remedy), dataset(file, values, remedy)
            if stored.dtype.kind not in "biuf":
                raise InputError(
                    f"'{values}' in {path} holds {_kind(stored)} where numbers were expected; save the table again with columns "
                    "of numbers alone."
                )
            if stored.ndim != 2 or stored.shape[1] != len(names):
                raise InputError(
                    f"'{values}' in {path} is {stored.shape} for {len(names):,} columns; expected rows x columns: {remedy}."
                )
            blocks[values] = names
            n_rows.add(stored.shape[0])
        columns = [name for names in blocks.values() for name in names]
        listed = _names(dataset(file, f"{group.name}/{AXIS}".strip("/"), remedy), remedy)
    if len(n_rows) != 1 or len(set(columns)) != len(columns) or sorted(listed) != sorted(columns):
        raise InputError(
            f"The table in {path} lists {len(listed):,} columns and its blocks hold {len(columns):,} in "
            f"{' or '.join(f'{rows:,}' for rows in sorted(n_rows)) or 'no'} rows, which do not fit each other; {remedy}."
        )
    return StoredFrame(path, blocks, n_rows.pop())


def _table(file: h5py.File, remedy: str) -> h5py.Group:
    """The one group that is a table in the fixed format: the file itself, or a group in it."""
    if AXIS in file:
        return file
    groups = {name: found for name in file if isinstance(found := linked(file, name), h5py.Group)}
    tables = [group for group in groups.values() if AXIS in group]
    if len(tables) == 1:
        return tables[0]
    path = file.filename
    if tables:
        raise InputError(f"{path} holds {len(tables)} tables, {', '.join(groups)}; keep one of them in the file.")
    if query := next((name for name, group in groups.items() if "table" in group), None):
        raise InputError(
            f"'{query}' in {path} is a pandas table in the format 'table'; save it again with to_hdf(..., format='fixed')."
        )
    raise InputError(f"{path} holds {', '.join(file) or 'nothing'} and no pandas table; {remedy}.")


def _names(stored: h5py.Dataset, remedy: str) -> tuple[str, ...]:
    """Names of columns, if they are stored as texts or as whole numbers."""
    path, name = stored.file.filename, stored.name.strip("/")
    plain = stored.dtype.kind in "Siu" or h5py.check_string_dtype(stored.dtype)
    if not plain:
        raise InputError(
            f"'{name}' in {path} holds {_kind(stored)}, which are not opened; save the table again with names that are all text."
        )
    if stored.ndim != 1:
        raise InputError(f"'{name}' in {path} is {stored.shape}; expected a name for each column: {remedy}.")
    return tuple(one.decode("utf-8") if isinstance(one, bytes) else str(one) for one in stored[()])


def _kind(stored: h5py.Dataset) -> str:
    return "pickled Python objects" if stored.dtype.hasobject else str(stored.dtype)
