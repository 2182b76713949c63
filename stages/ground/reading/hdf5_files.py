"""HDF5: datasets whose values lie in the file itself, and are no more than it can hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from stages.ground.errors import InputError
from stages.ground.reading.trial import TRIAL
from stages.ground.reading.wall import reading
from weights.compression import MOST_BY_COMPRESSION


@contextmanager
def hdf5_file(path: str | Path, remedy: str = "copy the file again", **options: int) -> Iterator[h5py.File]:
    """Open a file for reading; what is wrong with it is told in one sentence, also when it is read within the block.

    >>> path = getfixture("tmp_path") / "betas.hdf5"
    >>> with h5py.File(path, "w") as file: file["betas"] = [1, 2]
    >>> with hdf5_file(path) as file: print(dataset(file, "betas")[()])
    [1 2]

    Parameters
    ----------
    path : path
    remedy : str
        What to do about a file that cannot be read, for the message.
    **options
        Of `h5py.File`, such as `rdcc_nbytes`.
    """
    with reading(path, "HDF5", remedy):
        TRIAL.check(path, "HDF5")
        with h5py.File(path, "r", **options) as file:
            yield file


def dataset(group: h5py.Group, name: str, remedy: str = "copy the original file again") -> h5py.Dataset:
    """Return a dataset of a file or group, whose values are its own.

    Parameters
    ----------
    group : h5py.Group
        Of a file that `hdf5_file` has opened.
    name : str
    remedy : str
        What to do where there is no such dataset, for the message.

    Raises
    ------
    InputError
        There is no such dataset; or its values lie in another file, by a link, a virtual set or external storage; or it
        claims more values than the file can hold.
    """
    path = group.file.filename
    found = linked(group, name)
    if not isinstance(found, h5py.Dataset):
        kind, names = ("", group) if found is None else ("a group of that name, with ", found)
        held = kind + (", ".join(names) or "nothing")
        raise InputError(f"{path} has no dataset '{name}' but {held}; {remedy}.")
    check_own(found)
    return found


def linked(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """Return what a name stands for in a file, None for nothing; a link into another file is refused."""
    here, path = group, group.file.filename
    for part in name.strip("/").split("/"):
        link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise InputError(
                f"'{name}' in {path} is a link into another file, {link.filename!r}, which is not followed; copy the values into "
                "the file, for example with h5repack."
            )
        here = here[part]
        if here.file.filename != path:
            # A soft link whose way goes through a link into another file.
            raise InputError(
                f"'{name}' in {path} leads into another file, {here.file.filename!r}, which is not read; copy the values into "
                "the file, for example with h5repack."
            )
    return here


def check_own(found: h5py.Dataset) -> None:
    """Raise an InputError unless a dataset's values lie in its own file, and are no more than it can hold."""
    path, name = found.file.filename, found.name.strip("/")
    if found.is_virtual or found.external:
        how = "a virtual set over other files" if found.is_virtual else f"stored outside, in {found.external[0][0]!r}"
        raise InputError(
            f"'{name}' in {path} is {how}, which is not read; copy the values into the file, for example with h5repack."
        )
    if found.shape is None:
        raise InputError(f"'{name}' in {path} is empty; copy the original file again.")
    claimed, stored = math.prod(found.shape) * found.dtype.itemsize, found.id.get_storage_size()
    # A filter after another one shrinks what the first has left.
    most = stored * MOST_BY_COMPRESSION ** min(found.id.get_create_plist().get_nfilters(), 2)
    # Text and other values of any length lie elsewhere in the file.
    if claimed > max(most, 2**20) and not found.dtype.hasobject:
        raise InputError(
            f"'{name}' in {path} claims {found.dtype} {found.shape}, which is {claimed:,} bytes, but {stored:,} are stored; copy "
            "the original file again."
        )
    if found.dtype.hasobject and math.prod(found.shape) * 16 > Path(path).stat().st_size * MOST_BY_COMPRESSION:
        raise InputError(
            f"'{name}' in {path} claims {math.prod(found.shape):,} entries, more than the file can hold; copy the original file "
            "again."
        )
