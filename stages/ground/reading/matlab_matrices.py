"""Matrices of a MATLAB file of any version, as MATLAB shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from stages.ground.reading.hdf5_files import check_own, hdf5_file
from stages.ground.reading.matlab_files import read_mat

# What MATLAB calls a variable or a field; HDF5 keeps the insides of its cells under other names.
_VARIABLE = re.compile(r"[A-Za-z]\w*(\.\w+)*", re.ASCII)


def read_matrices(path: str | Path, remedy: str = "copy the file again") -> dict[str, NDArray]:
    """Read every matrix of numbers in a file.

    >>> import scipy.io
    >>> path = getfixture("tmp_path") / "roi.mat"
    >>> scipy.io.savemat(path, {"W": np.ones((3, 2)), "roi": {"validindices": [4.0, 7.0]}, "name": "V1"})
    >>> {name: matrix.shape for name, matrix in read_matrices(path).items()}
    {'W': (3, 2), 'roi.validindices': (1, 2)}

    Parameters
    ----------
    path : path
        Of version 7.3 (HDF5) or before.
    remedy : str
        What to do about a file that cannot be read, for the message.

    Returns
    -------
    matrices : dict of str to array of two axes
        Fields of structs count as variables, ``D.data``.

    Raises
    ------
    InputError
        The file is absent or damaged.
    """
    if Path(path).is_file() and h5py.is_hdf5(path):
        found: dict[str, NDArray] = {}
        with hdf5_file(path, remedy) as file:
            file.visititems(lambda name, item: _collect_hdf5(name, item, found))
    else:
        content = read_mat(path, remedy)
        found = {key: matrix for name, value in content.items() for key, matrix in _matrices(name, value)}
    return {name: matrix for name, matrix in found.items() if _VARIABLE.fullmatch(name)}


def _collect_hdf5(name: str, item: Any, found: dict[str, NDArray]) -> None:
    text = item.attrs.get("MATLAB_class") == b"char"
    if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.dtype.kind in "biuf" and not text:
        check_own(item)
        # MATLAB's columns are HDF5's rows.
        found[name.replace("/", ".")] = item[()].T


def _matrices(name: str, value: Any) -> Iterator[tuple[str, NDArray]]:
    if isinstance(value, np.ndarray) and value.ndim == 2:
        if value.dtype.names and value.size == 1:
            for field in value.dtype.names:
                yield from _matrices(f"{name}.{field}", value[field].item())
        elif value.dtype.kind in "biuf":
            yield name, value
