"""The named arrays of one file: NumPy's .npz, HDF5 of any writer, MATLAB's .mat of either kind."""

from collections.abc import Mapping
from functools import partial

import h5py
import numpy as np

from brainrecon.datasets.hdf5_rows import Hdf5Rows
from stages.ground.errors import InputError
from stages.ground.reading.hdf5_files import check_own, dataset, hdf5_file, linked
from stages.ground.reading.matlab_files import read_mat
from stages.ground.reading.numpy_files import npz_file
from stages.ground.reading.wall import reading

SUFFIXES = (".npz", ".h5", ".hdf5", ".mat")
AGAIN = "copy or save it again"


class NamedArrays(Mapping):
    """Name -> array of one file, read when a name is looked up.

    Groups of HDF5, structs of MATLAB and names with a slash are flattened: ``rois/V1`` becomes ``rois_V1``. Text is
    an array of str, whatever its kind in the file. Numbers in HDF5 stay on disk, see
    `brainrecon.datasets.hdf5_rows.Hdf5Rows`. Nothing is unpickled.

    Parameters
    ----------
    path : pathlib.Path
        A file with one of `SUFFIXES`.

    Raises
    ------
    InputError
        The file is absent, damaged, or of another kind; on look-up, what a name holds is no array of text or numbers.
    """

    def __init__(self, path):
        self.path = path
        if not path.is_file():
            raise InputError(f"There is no file {path}; `brainrecon data template FOLDER` explains what it holds.")
        if path.suffix.lower() == ".npz":
            readers = _npz_readers(path)
        elif h5py.is_hdf5(path):
            readers = _hdf5_readers(path)
        elif path.suffix.lower() == ".mat":
            readers = _matlab_readers(path)
        else:
            with reading(path, "HDF5", AGAIN):
                raise ValueError("it does not begin as one")
        self._readers = {name.replace("/", "_"): reader for name, reader in readers.items()}

    def __getitem__(self, name):
        return self._readers[name]()

    def __contains__(self, name):
        return name in self._readers

    def __iter__(self):
        return iter(self._readers)

    def __len__(self):
        return len(self._readers)


def _no_pickle(path, name, kind):
    return InputError(
        f"'{name}' in {path} is {kind}, which is neither numbers nor text; save it as a plain array, for example "
        "numpy.asarray(values, dtype=str) for text or dtype=numpy.float32 for betas."
    )


def _npz_readers(path):
    def read(name):
        with npz_file(path, AGAIN) as archive:
            return _plain(path, name, archive.read(name))

    with npz_file(path, AGAIN) as archive:
        return {name: partial(read, name) for name in archive.names}


def _plain(path, name, values):
    """Numbers as they are, text as str."""
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8")
    if values.dtype.kind not in "biufU":
        raise _no_pickle(path, name, f"an array of {values.dtype}")
    return values


def _hdf5_readers(path):
    with hdf5_file(path, AGAIN) as file:
        names = []
        # MATLAB marks what it saves; all of its arrays have their axes in reverse.
        marked = ["#refs#" in file]

        def visit(name, entry):
            if isinstance(entry, h5py.Dataset) and entry.shape is not None and name[0] != "#":
                check_own(entry)
                names.append(name)
                marked.append("MATLAB_class" in entry.attrs)

        file.visititems(visit)
        for name in file:
            # Links that lead nowhere, round in circles or out of the file are not visited.
            linked(file, name)
    return {name: partial(_read_hdf5, path, name, any(marked)) for name in names}


def _read_hdf5(path, name, matlab):
    with hdf5_file(path, AGAIN) as file:
        found = dataset(file, name)
        kind = found.attrs.get("MATLAB_class", b"")
        if matlab and kind == b"char":
            return _characters(found)
        if matlab and kind == b"cell":
            return _texts(path, name, [_cell(file[entry]) for entry in found[()].T.flat], found.shape[::-1])
        if h5py.check_string_dtype(found.dtype):
            values = np.asarray(found.asstr()[()], dtype=str)
            return values.T if matlab else values
        if found.dtype.kind not in "biuf":
            raise _no_pickle(path, name, f"an array of {found.dtype}")
        if found.ndim == 0:
            return np.asarray(found[()])
    return Hdf5Rows(path, name, reverse=matlab)


def _characters(dataset):
    """A MATLAB char array, one row per text, as str."""
    codes = dataset[()].T.astype(np.uint16)
    return np.array(["".join(map(chr, row)).rstrip() for row in np.atleast_2d(codes)])


def _cell(entry):
    if entry.attrs.get("MATLAB_empty", 0):
        return ""
    return _characters(entry)[0] if entry.attrs.get("MATLAB_class") == b"char" else entry[()]


def _matlab_readers(path):
    def read(name):
        return _matlab_value(path, name, content[name])

    content = {}
    for name, value in read_mat(path, AGAIN).items():
        names = getattr(getattr(value, "dtype", None), "names", None)
        if names and value.size == 1:
            content |= {f"{name}_{part}": value[part].flat[0] for part in names}
        else:
            content[name] = value
    return {name: partial(read, name) for name in content}


def _matlab_value(path, name, value):
    if not isinstance(value, np.ndarray):
        raise _no_pickle(path, name, f"a {type(value).__name__}")
    if value.dtype == object:
        return _texts(path, name, value.flat, value.shape)
    if value.dtype.kind == "U":
        return np.char.rstrip(value)
    return _plain(path, name, value)


def _texts(path, name, cells, shape):
    """Cells of a MATLAB cell array as str: each a text or one number."""
    texts = []
    for cell in cells:
        values = np.asarray(cell)
        if values.size > 1 or values.dtype.kind not in "biufU":
            raise _no_pickle(path, name, "a cell array of arrays")
        text = values.flat[0] if values.size else ""
        texts.append(str(int(text)) if isinstance(text, np.floating) and text.is_integer() else str(text))
    return np.array(texts, dtype=str).reshape(shape)
