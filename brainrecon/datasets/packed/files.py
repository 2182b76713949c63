"""Files that other repositories packed, read a few rows at a time.

What the layouts of `brainrecon.datasets.packed.reader` share: responses and pictures that stay on disk until a row is asked
for, and damage told in one sentence. Nothing is ever unpickled, as a pickle can run any code.
"""

import re

import h5py
import numpy as np

from brainrecon.datasets.nsd.volumes import one_line
from brainrecon.datasets.subject import check_finite
from stages.ground.errors import InputError

BLOCK_BYTES = 16 * 2**20
"""As stored; converting a block takes a few times as much for a moment."""
ROWS_READ_OVER = 4
"""HDF5 rows no further apart than this are read in one piece: a piece costs more than a few unused rows."""


def find_subjects(path, folders, name):
    """Files of each subject, told by their names.

    Parameters
    ----------
    path : pathlib.Path
        A folder, or one of the files.
    folders : sequence of str
        Glob patterns of the folders to look into, below `path`; "" is `path` itself.
    name : str
        Regular expression of the whole file name with a group ``number``, the subject's.

    Returns
    -------
    found : dict of str to list of pathlib.Path
        ``subj01`` to its files, in the order of `folders`; subjects sorted.
    """
    places = [path] if path.is_file() else [file for folder in folders for file in sorted(path.glob(f"{folder}*"))]
    found = {}
    for file in places:
        match = re.fullmatch(name, file.name)
        if match and file.is_file():
            found.setdefault(f"subj{int(match['number']):02d}", []).append(file)
    return dict(sorted(found.items()))


def require(path, partner):
    """The path, once there is a file; an InputError that names its partner otherwise."""
    if not path.is_file():
        raise InputError(f"There is no {path}, which belongs with {partner.name}; copy it to this place.")
    return path


def pickled(path):
    """The InputError for a file of pickled objects."""
    return InputError(
        f"{path} holds pickled Python objects, which are not read as they could run any code; if you trust the file, "
        "load it with numpy.load(allow_pickle=True), turn it into an array of numbers or of text (astype(float) or "
        "astype(str)) and save that."
    )


class NpyFile:
    """Rows of a ``.npy`` array, mapped from disk.

    Attributes
    ----------
    path : pathlib.Path
    shape : tuple of int
    dtype : numpy.dtype
    """

    def __init__(self, path):
        self.path = path
        try:
            self._values = np.lib.format.open_memmap(path, mode="r")
        except (ValueError, OSError, EOFError) as error:
            if "Python objects" in str(error):
                raise pickled(path) from None
            raise InputError(
                f"{path} cannot be read as a .npy array ({one_line(error)}); copy it again, or save it again with "
                "numpy.save."
            ) from error
        self.shape, self.dtype = self._values.shape, self._values.dtype

    def read(self, rows):
        """The given rows (increasing, no repeats), as stored."""
        return np.asarray(self._values[rows])


class Hdf5File:
    """Rows of a dataset of an HDF5 file, which is opened for each read.

    Attributes
    ----------
    path : pathlib.Path
    shape : tuple of int
    dtype : numpy.dtype
    """

    def __init__(self, path, name):
        self.path, self.name = path, name
        with self._open() as file:
            values = file.get(name)
            if not isinstance(values, h5py.Dataset):
                raise InputError(f"{path} has no dataset '{name}' but {', '.join(file) or 'nothing'}; copy it again.")
            self.shape, self.dtype = values.shape, values.dtype

    def _open(self):
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise InputError(f"{self.path} cannot be read as HDF5 ({one_line(error)}); copy it again.") from error

    def read(self, rows):
        """The given rows (increasing, no repeats), as stored."""
        values = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        pieces = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) > ROWS_READ_OVER) + 1)
        with self._open() as file:
            for piece in pieces if len(rows) else ():
                first, last = rows[piece[0]], rows[piece[-1]]
                try:
                    values[piece] = file[self.name][first : last + 1][rows[piece] - first]
                except OSError as error:
                    raise InputError(
                        f"{self.path}: '{self.name}' cannot be read ({one_line(error)}); copy it again."
                    ) from error
        return values


class _Rows:
    """Chosen rows of a file, read in blocks and converted when indexed by int, slice, or array of ints or bools."""

    def __init__(self, file, rows):
        self.file = file
        self.rows = np.arange(file.shape[0]) if rows is None else np.asarray(rows, dtype=np.int64)

    def __len__(self):
        return len(self.rows)

    def _read(self, index):
        wanted = self.rows[index]
        rows, inverse = np.unique(wanted, return_inverse=True)
        values = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        row_bytes = self.file.dtype.itemsize * int(np.prod(self.file.shape[1:]))
        n_rows = max(1, BLOCK_BYTES // max(1, row_bytes))
        for start in range(0, len(rows), n_rows):
            values[start : start + n_rows] = self._converted(self.file.read(rows[start : start + n_rows]))
        # The usual case, increasing rows, is not copied once more.
        return values if np.array_equal(rows, wanted) else values[inverse.reshape(np.shape(wanted))]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)


class Betas(_Rows):
    """Responses on disk, an array of shape (n_trials, n_voxels), float32, checked for NaN when read.

    Parameters
    ----------
    file : NpyFile or Hdf5File
        (n, n_voxels), any real numbers.
    rows : array of int, shape (n_trials,), optional
        0-based rows of the file; by default all.
    divisor : float
        What the stored values are divided by.

    Raises
    ------
    InputError
        The file holds no numbers (n, n_voxels).
    """

    dtype, ndim = np.dtype(np.float32), 2

    def __init__(self, file, rows=None, divisor=1):
        if len(file.shape) != 2 or 0 in file.shape or file.dtype.kind not in "fiu":
            raise InputError(
                f"{file.path} holds {file.dtype} {file.shape}; expected responses, numbers (n, n_voxels): "
                "copy the original file again."
            )
        super().__init__(file, rows)
        self.divisor = np.float32(divisor)

    @property
    def shape(self):
        return (len(self.rows), self.file.shape[1])

    def __getitem__(self, index):
        index, columns = index if isinstance(index, tuple) else (index, slice(None))
        return self._read(index)[..., columns]

    def _converted(self, stored):
        values = stored.astype(np.float32) / self.divisor
        check_finite(values, str(self.file.path))
        return values


class Pictures(_Rows):
    """Pictures on disk, an array of shape (n_stimuli, height, width, 3), uint8, converted when read.

    Parameters
    ----------
    file : NpyFile, Hdf5File, or the like
        (n, height, width, 3), or (n, 3, height, width) with `channels_first`; uint8 or real.
    rows : array of int, shape (n_stimuli,), optional
        0-based rows of the file; by default all.
    white : float
        What stands for white where the numbers are real: 1 or 255.
    channels_first : bool

    Raises
    ------
    InputError
        The file has another layout or too few pictures; on reading, a value is out of range.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, file, rows=None, white=255, channels_first=False):
        channels, layout = (1, "(n, 3, height, width)") if channels_first else (3, "(n, height, width, 3)")
        if len(file.shape) != 4 or file.shape[channels] != 3 or (file.dtype.kind != "f" and file.dtype != np.uint8):
            raise InputError(
                f"{file.path} holds {file.dtype} {file.shape}; expected pictures {layout}, uint8 or real numbers from "
                f"0 to {white}: copy the original file again."
            )
        super().__init__(file, rows)
        if len(self.rows) and not 0 <= self.rows.min() <= self.rows.max() < file.shape[0]:
            raise InputError(
                f"Picture {self.rows.max() if self.rows.min() >= 0 else self.rows.min()} (counted from 0) was shown "
                f"but {file.path} holds {file.shape[0]:,}; take responses and pictures from the same source."
            )
        self.white, self.channels_first = white, channels_first

    @property
    def shape(self):
        height_width = self.file.shape[2:] if self.channels_first else self.file.shape[1:3]
        return (len(self.rows), *height_width, 3)

    def __getitem__(self, index):
        return self._read(index)

    def _converted(self, stored):
        pictures = as_uint8(stored, self.white, self.file.path)
        return pictures.transpose(0, 2, 3, 1) if self.channels_first else pictures


def as_uint8(pictures, white, path):
    """Round pictures in 0 to `white` to 0 to 255; uint8 stays as it is.

    Raises
    ------
    InputError
        A value lies outside 0 to `white`, or all lie so low that another number must stand for white.
    """
    if pictures.dtype == np.uint8 or not len(pictures):
        return pictures.astype(np.uint8, copy=False)
    levels = np.rint(pictures.astype(np.float32) * np.float32(255 / white))
    highest = float(pictures.max())
    if not (levels.min() >= 0 and levels.max() <= 255):
        raise InputError(
            f"Pictures in {path} run from {float(pictures.min()):.4g} to {highest:.4g}; expected 0 to {white}: "
            "copy the original file again."
        )
    if 0 < highest <= white / 255:
        raise InputError(
            f"Pictures in {path} have {highest:.3g} as their highest value but {white} is white here; multiply them so "
            f"that they span 0 to {white}."
        )
    return levels.astype(np.uint8)
