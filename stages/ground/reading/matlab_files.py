"""MATLAB's files of version 4 to 7.2; those of 7.3 are HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scipy.io
import scipy.sparse

from stages.ground.errors import InputError
from stages.ground.reading.matlab_elements import check_elements
from stages.ground.reading.trial import TRIAL
from stages.ground.reading.wall import reading


def read_mat(path: str | Path, remedy: str = "copy the file again", **options: Any) -> dict[str, Any]:
    """Read the variables of a file, dict of name to array.

    >>> path = getfixture("tmp_path") / "design.mat"
    >>> scipy.io.savemat(path, {"sharedix": [1, 2]})
    >>> read_mat(path)["sharedix"].tolist()
    [[1, 2]]

    Parameters
    ----------
    path : path
    remedy : str
        What to do about a file that cannot be read, for the message.
    **options
        Of `scipy.io.loadmat`, such as `squeeze_me`.

    Raises
    ------
    InputError
        The file is absent or damaged, or holds a sparse matrix.
    """
    with reading(path, "a MATLAB file", remedy):
        check_elements(path)
        TRIAL.check(path, "MATLAB")
        with open(path, "rb") as file:
            content = scipy.io.loadmat(file, **options)
    sparse = [name for name, value in content.items() if scipy.sparse.issparse(value)]
    if sparse:
        raise InputError(f"'{sparse[0]}' in {path} is a sparse matrix; save it as full(...) in MATLAB, or {remedy}.")
    return {name: value for name, value in content.items() if not name.startswith("__")}
