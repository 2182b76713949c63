"""Pickles of plain values: dictionaries, lists, text, numbers and NumPy arrays, read without running what the file says.

Python's own reader imports what a pickle names, and calls it. Here a small interpreter follows the instructions of pickle's
protocols 2 to 5 and builds plain values alone. The names that a pickled array needs are known to it as words; no name is ever
looked up, imported or called, and any other name is refused. The numbers of an array stay in the file, which is mapped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from stages.ground.reading.pickle_machine import Machine
from stages.ground.reading.pickled_arrays import Array, Raw, text_of
from stages.ground.reading.wall import reading

DEEPEST = 50
"""Lists and dictionaries inside each other."""


def read_pickle(path: str | Path, remedy: str = "copy the file again") -> Any:
    """Read plain values from a pickle, alone in its file or in a .npy of one Python object.

    >>> path = getfixture("tmp_path") / "eeg.npy"
    >>> np.save(path, {"times": np.arange(3) / 100, "ch_names": ["Oz", "O1"]}, allow_pickle=True)
    >>> found = read_pickle(path)
    >>> found["ch_names"], found["times"].tolist()
    (['Oz', 'O1'], [0.0, 0.01, 0.02])

    Parameters
    ----------
    path : path
    remedy : str
        What to do about a file that cannot be read, for the message.

    Returns
    -------
    value : dict, list, tuple, str, bytes, int, float, bool, None, or array
        Arrays are read-only and mapped: their numbers are read when they are used.

    Raises
    ------
    InputError
        The file is absent or damaged, names anything but arrays, or claims more than it holds.
    """
    with reading(path, "a pickle of plain values", remedy):
        start = _start(path)
        content = np.memmap(path, np.uint8, "r").data
        machine = Machine(content, start)
        value = machine.run()
        if machine.place != len(content):
            raise ValueError(f"{len(content) - machine.place:,} bytes follow its end")
        return plain(value)


def _start(path: str | Path) -> int:
    """Where the pickle begins in the file."""
    with open(path, "rb") as file:
        if file.read(6) != npy.MAGIC_PREFIX:
            return 0
        file.seek(0)
        read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
        if not dtype.hasobject:
            raise ValueError(f"it is a plain array, {dtype} {shape}")
        return file.tell()


class Deferred:
    """Stands for something that is made when all was read."""

    def made(self) -> Any:
        raise NotImplementedError


def plain(value: Any) -> Any:
    """What was read, without anything that stands for something else.

    Parameters
    ----------
    value : object
        As `Machine.run` returns it.

    Raises
    ------
    ValueError
        It holds itself, is nested too deep, or holds something that is no value.
    """
    return _Plain().of(value, 0)


class _Plain:
    """One look through values, each of them once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Any]] = {}
        self._open: set[int] = set()

    def of(self, value: Any, depth: int) -> Any:
        if value is None or type(value) in (bool, int, float, str) or isinstance(value, np.ndarray):
            return value
        if isinstance(value, Raw):
            return text_of(value) if value.is_text else bytes(value.view)
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._open:
            raise ValueError("it holds a list that is part of itself")
        if depth > DEEPEST:
            raise ValueError(f"its lists are nested more than {DEEPEST} deep")
        self._open.add(id(value))
        found = self._made(value, depth + 1)
        self._open.discard(id(value))
        # The value stays with its number, which another could get otherwise.
        self._known[id(value)] = value, found
        return found

    def _made(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {key: self.of(part, depth) for key, part in value.items()}
        if isinstance(value, Deferred):
            return value.made()
        if isinstance(value, Array) and isinstance(value.content, np.ndarray):
            return value.content
        if isinstance(value, Array) and isinstance(value.content, list):
            parts = [self.of(part, depth) for part in value.content]
            return parts if value.shape else parts[0]
        # Types of a class of their own, such as a name, are no values.
        if type(value) in (list, tuple):
            return type(value)(self.of(part, depth) for part in value)
        raise ValueError("it holds a name or a type in the place of a value")
