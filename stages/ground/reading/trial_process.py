"""The program of the process that tries files: it reads one after the other, and answers with a line if it outlives it.

`trial` starts it by its path, with what it may import as the first line of its input. It imports nothing of ours, so that
it starts quickly. What a library raises here is not told: the reader itself meets it again.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from itertools import islice
from typing import Any

ENOUGH = 1.0
"""Seconds of the processor after which the rest of an HDF5 file is left: 5,000 objects take as long."""
MOST_BYTES, MOST_CHUNKS = 2**24, 2000
"""Of the values of an HDF5 file that are read, beside the first and the last chunk of every dataset."""
_MOST_MEMBERS = 5000


def main() -> None:
    """Answer requests, lines of JSON, until there are no more because the other process has ended."""
    # Ctrl-C goes to both processes; the other one says what becomes of this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.dup(1)
    # A library may print.
    os.dup2(2, 1)
    sys.path[:] = json.loads(sys.stdin.buffer.readline())
    os.write(answers, b"ready\n")
    for line in sys.stdin.buffer:
        kind, seconds, path = json.loads(line)
        answer = b"raised\n"
        with suppress(Exception):
            library, read = _READERS[kind]
            import_module(library)
            _limit(seconds)
            read(os.fsdecode(path.encode("latin1")), seconds)
            answer = b"read\n"
        _limit(0)
        os.write(answers, answer)
    # Nothing is left to be tidied up.
    os._exit(0)


def _limit(seconds: float) -> None:
    """End this process after so much time of the processor: a slow disk is no fault of the file. 0 for no limit."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _read_mat(path: str, seconds: float) -> None:
    import scipy.io

    with open(path, "rb") as file:
        scipy.io.loadmat(file)


def _read_hdf5(path: str, seconds: float) -> None:
    """Read every object that is in the file itself: its attributes, the index of its chunks, and some of its values."""
    import h5py

    started = time.process_time()
    with h5py.File(path, "r") as file:
        waiting: list[Any] = [file["/"]]
        seen: set[int] = set()
        left = MOST_BYTES
        while waiting and time.process_time() - started < ENOUGH:
            # A file of many objects takes its time; one step does not.
            _limit(seconds)
            item = waiting.pop()
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            with suppress(Exception):
                for name in item.attrs:
                    with suppress(Exception):
                        item.attrs[name]
            with suppress(Exception):
                if isinstance(item, h5py.Group):
                    waiting += _members(item)
                elif isinstance(item, h5py.Dataset):
                    left -= _values(item, left, waiting)


def _members(group: Any) -> list[Any]:
    import h5py

    found = []
    for name in islice(group, _MOST_MEMBERS):
        with suppress(Exception):
            # No link is followed: it may lead out of the file.
            if isinstance(group.get(name, getlink=True), h5py.HardLink):
                found.append(group[name])
    return found


def _values(dataset: Any, left: int, waiting: list[Any]) -> int:
    """Read the values if they are `left` bytes at most, else some at both ends; how many bytes. What they refer to waits."""
    import h5py

    if dataset.is_virtual or dataset.external or not dataset.size:
        return 0
    # Goes through the whole index.
    n_chunks = dataset.id.get_num_chunks() if dataset.chunks else 1
    if dataset.nbytes <= left and n_chunks <= MOST_CHUNKS:
        values = dataset[...]
        if h5py.check_ref_dtype(dataset.dtype) is h5py.Reference:
            for reference in islice(values.flat, _MOST_MEMBERS):
                with suppress(Exception):
                    waiting.append(dataset.file[reference])
        return int(dataset.nbytes)
    piece = dataset.chunks or (1,) * dataset.ndim
    if math.prod(piece) * dataset.dtype.itemsize <= MOST_BYTES:
        dataset[tuple(slice(0, length) for length in piece)]
        dataset[tuple(slice((whole - 1) // length * length, whole) for whole, length in zip(dataset.shape, piece))]
    return 0


_READERS = {"HDF5": ("h5py", _read_hdf5), "MATLAB": ("scipy.io.matlab", _read_mat)}


if __name__ == "__main__":
    main()
