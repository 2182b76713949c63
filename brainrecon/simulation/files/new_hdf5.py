"""Write HDF5 onto a disk that may be full: the library itself ends the process if what it holds back cannot be written."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a new file for writing; if a write fails, the block goes on and the error is raised at its end.

    >>> with new_hdf5(getfixture("tmp_path") / "betas.hdf5") as file:
    ...     file["betas"] = [1, 2]

    Parameters
    ----------
    path : pathlib.Path
        Its folder exists.

    Raises
    ------
    OSError
        The first that a write met, such as a full disk.
    """
    with open(path, "w+b", buffering=0) as raw:
        disk = _Patient(raw)
        with h5py.File(disk, "w") as file:
            yield file
        if disk.error is not None:
            raise disk.error


class _Patient(io.RawIOBase):
    """A file whose writes succeed as far as HDF5 can tell; the first error is kept."""

    def __init__(self, raw):
        self._raw, self.error = raw, None

    def write(self, content):
        if self.error is None:
            view = memoryview(content).cast("B")
            try:
                while view:
                    view = view[self._raw.write(view) :]
            except OSError as error:
                error.filename = self._raw.name
                self.error = error
        return len(content)

    def readinto(self, buffer):
        count = self._raw.readinto(buffer)
        if self.error is not None:
            # What could not be written is zeros.
            memoryview(buffer).cast("B")[count:] = bytes(len(buffer) - count)
        return count

    def seek(self, place, whence=io.SEEK_SET):
        return self._raw.seek(place, whence)

    def tell(self):
        return self._raw.tell()

    def truncate(self, size=None):
        return self._raw.truncate(size)

    def flush(self):
        """Nothing is held back."""

    def readable(self):
        return True

    def writable(self):
        return True

    def seekable(self):
        return True
