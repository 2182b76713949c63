"""BData, the Kamitani laboratory's file format: one matrix whose columns are voxels and facts about the samples.

``/dataset`` (n_samples, n_columns)                 voxels and sample metadata, side by side
``/metadata/key`` (n_keys,)                         names of groups of columns: VoxelData, ROI_V1, Run, ...
``/metadata/value`` (n_keys, n_columns)             1 where the column belongs to the key, NaN elsewhere; keys
                                                    such as voxel_x hold a number for each voxel instead
``/vmap/<key>/<number>``                            what the numbers in a key's column stand for, optional

Older files write ``dataSet`` and ``metaData``. MATLAB's own files (v7.3) hold the same, every matrix turned.
"""

import re
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from brainrecon.datasets.voxels import Regions
from stages.ground.errors import InputError
from stages.ground.reading.hdf5_files import check_own, hdf5_file, linked
from weights.suggestions import did_you_mean

LAYOUTS = (("dataset", "metadata"), ("dataSet", "metaData"))
BLOCK_BYTES = 32 * 2**20
CHUNK_CACHE_BYTES = 64 * 2**20
COORDINATES = ("voxel_x", "voxel_y", "voxel_z")
"""Keys that hold the place of each voxel, in millimetres."""
COLUMN_GAP = 512
"""Unwanted columns between wanted ones that are read along: one long read is cheaper than two short ones."""
ROW_GAP = 8
SIGNS = re.compile(r"[()=|+&-]")


class BData:
    """A BData file, opened for each read; between reads it holds nothing but the names of its keys.

    Parameters
    ----------
    path : path
        HDF5, or a `.mat` file of version 7.3.

    Attributes
    ----------
    path : pathlib.Path
    keys : tuple of str
    n_samples, n_columns : int
    dtype : numpy.dtype
        As stored.

    Raises
    ------
    InputError
        The file is absent, damaged or of another layout.
    """

    def __init__(self, path):
        self.path = Path(path)
        with self._open() as file:
            self._names = next((names for names in LAYOUTS if all(name in file for name in names)), None)
            if self._names is None:
                raise InputError(
                    f"{self.path} holds {', '.join(map(str, file)) or 'nothing'}; expected /dataset and /metadata of "
                    "a BData file: copy the file again."
                )
            dataset, value = self._matrices(file)
            # MATLAB stores columns first, so that HDF5 sees every matrix turned.
            self._turned = "MATLAB_class" in dataset.attrs
            self.n_samples, self.n_columns = dataset.shape[::-1] if self._turned else dataset.shape
            self.dtype = dataset.dtype
            n_keys, width = value.shape[::-1] if self._turned else value.shape
            self.keys = tuple(_texts(file, file[self._names[1]]["key"]))
        if (len(self.keys), self.n_columns) != (n_keys, width):
            raise InputError(
                f"{self.path} has {self.n_columns:,} columns and {len(self.keys)} keys, but its metadata describe "
                f"{width:,} columns and {n_keys} keys; copy the file again."
            )

    def __repr__(self):
        return f"BData({self.path}, {self.n_samples:,} samples, {self.n_columns:,} columns, {len(self.keys)} keys)"

    def metadata(self, key):
        """A key's value for each column, (n_columns,) float64: 1 where the column belongs to it, else mostly NaN."""
        place = self._place(key)
        with self._open() as file:
            value = self._matrices(file)[1]
            return np.asarray(value[:, place] if self._turned else value[place], dtype=np.float64)

    def get(self, key):
        """The columns of a key for all samples, (n_samples, n_columns of the key) float64; meant for sample metadata."""
        return self._read(self.metadata(key) == 1, slice(None), np.float64)

    def coordinates(self, columns):
        """Where the voxels of some columns are, (n_voxels, 3) millimetres; None if the file does not say."""
        if not set(COORDINATES) <= set(self.keys):
            return None
        return np.stack([self.metadata(key)[columns] for key in COORDINATES], axis=1)

    def column(self, key):
        """The one column of a key, (n_samples,) float64; an InputError if it has none or several."""
        values = self.get(key)
        if values.shape[1] != 1:
            raise InputError(
                f"Key {key} of {self.path} has {values.shape[1]:,} columns; expected one: copy the file again."
            )
        return values[:, 0]

    def columns(self, expression, prefix=""):
        """The columns that an expression selects.

        Parameters
        ----------
        expression : str
            Keys, joined as in `brainrecon.datasets.voxels`: ``VoxelData - (ROI_V1 | ROI_V2)``. A key stands for the
            columns where it is 1, ``KEY = 2`` for those where it is 2.
        prefix : str
            May be left out of keys: with ``ROI_``, ``V1`` finds ``ROI_V1`` and ``V*`` does not find ``VoxelData``.

        Returns
        -------
        selected : array of shape (n_columns,), bool

        Raises
        ------
        InputError
            No such key, or no such expression.
        """
        return self.regions(prefix).select(expression)

    def regions(self, prefix=""):
        """The keys as regions of columns, see `columns`; those with the prefix are listed first."""
        # A key with a sign in it cannot be told from two keys.
        keys = {key: key for key in self.keys if not SIGNS.search(key)}
        prefixed = {key.removeprefix(prefix): key for key in keys if prefix and key.startswith(prefix)}
        named = keys | prefixed
        names = tuple(prefixed or keys)
        return Regions(
            self.path,
            names,
            mask_of=lambda name: self.metadata(named[name]) == 1,
            aliases=tuple(name for name in keys if name not in names),
            equal=lambda name, number: self.metadata(named[name]) == number,
            may_be_empty=True,
        )

    def has_labels(self, key):
        """Whether the file says what the numbers of a key stand for."""
        with self._open() as file:
            return f"vmap/{key}" in file

    def labels(self, key):
        """What a key's column stands for, a str for each sample; "" where it holds NaN.

        Raises
        ------
        InputError
            The file has no labels for the key, or none for a number that occurs.
        """
        numbers = self.column(key)
        with self._open() as file:
            if f"vmap/{key}" not in file:
                raise InputError(f"{self.path} has no labels for {key}; use its numbers, or copy the file again.")
            written = {number: _text(label[()]) for number, label in file[f"vmap/{key}"].items()}
        try:
            table = {float(number): label for number, label in written.items()}
        except ValueError as error:
            raise InputError(f"{self.path} labels no numbers of {key} ({error}); copy the file again.") from None
        absent = [number for number in np.unique(numbers[~np.isnan(numbers)]) if number not in table]
        if absent:
            raise InputError(
                f"{self.path} has labels for {len(table):,} numbers of {key} but none for {absent[0]:g}; copy it again."
            )
        return ["" if np.isnan(number) else table[number] for number in numbers]

    def read(self, columns, rows=None):
        """Some columns of some samples.

        Parameters
        ----------
        columns : array of bool, shape (n_columns,), or of int
        rows : array of bool, shape (n_samples,), or of int, optional
            By default all. Ints in any order, repeats allowed.

        Returns
        -------
        values : array of shape (n_rows, n_wanted), float32
            In the order of `rows` and `columns`. Besides the result, about 32 MB are held at a time, and up to
            64 MB of chunks where the file is compressed.
        """
        return self._read(columns, slice(None) if rows is None else rows, np.float32)

    def _read(self, columns, rows, dtype):
        rows, columns = np.arange(self.n_samples)[rows], np.arange(self.n_columns)[columns]
        # HDF5 reads increasing spans: read those, and put the result in the order asked for.
        sorted_rows, row_places = np.unique(rows, return_inverse=True)
        sorted_columns, column_places = np.unique(columns, return_inverse=True)
        values = np.empty((len(sorted_rows), len(sorted_columns)), dtype=dtype)
        with self._open() as file:
            dataset = self._matrices(file)[0]
            for left, right in _spans(sorted_columns, COLUMN_GAP, self.n_columns):
                wide = slice(*np.searchsorted(sorted_columns, (left, right)))
                height = max(1, BLOCK_BYTES // ((right - left) * dataset.dtype.itemsize))
                for top, bottom in _spans(sorted_rows, ROW_GAP, height):
                    high = slice(*np.searchsorted(sorted_rows, (top, bottom)))
                    block = dataset[left:right, top:bottom].T if self._turned else dataset[top:bottom, left:right]
                    values[high, wide] = block[sorted_rows[high] - top][:, sorted_columns[wide] - left]
        for axis, places in enumerate((row_places.reshape(-1), column_places.reshape(-1))):
            if not np.array_equal(places, np.arange(values.shape[axis])):
                values = np.take(values, places, axis=axis)
        return values

    def _place(self, key):
        if key not in self.keys:
            raise InputError(
                f"{self.path} has no key {key!r}; it has {', '.join(self.keys)}{did_you_mean(key, self.keys)}."
            )
        return self.keys.index(key)

    @contextmanager
    def _open(self):
        """The open file; damage met on opening or reading becomes an InputError."""
        if not self.path.is_file():
            raise InputError(f"There is no file {self.path}; copy it to this place.")
        if _is_old_matlab(self.path):
            raise InputError(f"{self.path} is a MATLAB file before v7.3; save it with '-v7.3' in MATLAB.")
        with hdf5_file(self.path, rdcc_nbytes=CHUNK_CACHE_BYTES) as file:
            yield file

    def _matrices(self, file):
        """``/dataset`` and ``/metadata/value``, once they are what the format says."""
        dataset, metadata = (linked(file, name) for name in self._names)
        parts = [linked(metadata, name) for name in ("key", "value")] if isinstance(metadata, h5py.Group) else [None]
        for name, part in {self._names[0]: dataset, f"{self._names[1]}/value": parts[-1]}.items():
            if not isinstance(part, h5py.Dataset) or part.ndim != 2 or part.dtype.kind not in "fiu":
                found = f"{part.dtype} {part.shape}" if isinstance(part, h5py.Dataset) else "no matrix"
                raise InputError(
                    f"/{name} of {self.path} is {found}; expected numbers in rows and columns: copy it again."
                )
            check_own(part)
        if not isinstance(parts[0], h5py.Dataset):
            raise InputError(f"/{self._names[1]} of {self.path} has no names of keys; copy the file again.")
        check_own(parts[0])
        return dataset, parts[1]


def _spans(indices, gap, longest):
    """Cover increasing ints by spans (start, stop) that bridge small gaps and are no longer than told."""
    if not len(indices):
        return []
    breaks = np.flatnonzero(np.diff(indices) > gap)
    starts, stops = indices[np.r_[0, breaks + 1]], indices[np.r_[breaks, -1]] + 1
    return [
        (first, min(first + longest, int(stop)))
        for start, stop in zip(starts, stops)
        for first in range(int(start), int(stop), longest)
    ]


def _texts(file, dataset):
    """The strings of a dataset; MATLAB's cells hold references to rows of character codes."""
    values = np.ravel(dataset[()])
    if dataset.dtype.kind == "O" and h5py.check_ref_dtype(dataset.dtype):
        return ["".join(chr(code) for code in np.ravel(file[reference][()])) for reference in values]
    return [_text(value) for value in values]


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_old_matlab(path):
    with open(path, "rb") as file:
        return file.read(10) == b"MATLAB 5.0"
