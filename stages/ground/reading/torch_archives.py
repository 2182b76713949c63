"""Files that ``torch.save`` wrote of plain values and tensors, read without torch and without running what they say.

Both forms are read: the ZIP archive that torch writes since version 1.6, and the older one, several pickles with the bytes of all
tensors behind them. The numbers of a tensor stay in the file, which is mapped.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stages.ground.reading.pickle_machine import Machine
from stages.ground.reading.pickled_arrays import NAMES, Name, text_of
from stages.ground.reading.pickled_values import Deferred, plain
from stages.ground.reading.wall import reading

MAGIC = 0x1950A86A20F9469CFC6C
"""The first value of a file in the older form."""
_TYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
_NAMES = NAMES | {
    "torch": tuple(_TYPES),
    "torch._utils": ("_rebuild_tensor", "_rebuild_tensor_v2"),
    "collections": ("OrderedDict",),
}
_LOCAL_HEADER = 30
_MOST_AXES = 32


def read_torch(path: str | Path, remedy: str = "copy the file again") -> Any:
    """Read plain values and tensors.

    >>> import torch
    >>> path = getfixture("tmp_path") / "eeg.pth"
    >>> torch.save({"dataset": [{"eeg": torch.eye(2), "label": 3}]}, path)
    >>> segment = read_torch(path)["dataset"][0]
    >>> segment["label"], segment["eeg"].tolist()
    (3, [[1.0, 0.0], [0.0, 1.0]])

    Parameters
    ----------
    path : path
    remedy : str
        What to do about a file that cannot be read, for the message.

    Returns
    -------
    value : dict, list, ...
        As `stages.ground.reading.pickled_values.read_pickle` has them; a tensor is a NumPy array, read-only and mapped.

    Raises
    ------
    InputError
        The file is absent or damaged, names anything but tensors, or claims more than it holds.
    """
    with reading(path, "plain values and tensors of torch", remedy):
        content = np.memmap(path, np.uint8, "r").data
        return plain(_of_archive(path, content) if content[:4] == b"PK\x03\x04" else _of_pickles(content))


class _Storage:
    """The numbers of tensors: their type, how many, and where they lie, once that is known."""

    def __init__(self, code: str, count: int) -> None:
        self.code, self.count = code, count
        self.view: memoryview | None = None
        self.order: Any = "<"


class _Tensor(Deferred):
    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> None:
        whole = (offset, *size, *stride)
        if not isinstance(storage, _Storage) or any(type(one) is not int or one < 0 for one in whole):
            raise ValueError("it holds a tensor without numbers, a size or a place")
        if len(size) != len(stride) or len(size) > _MOST_AXES:
            raise ValueError(f"it holds a tensor of {len(size)} sizes and {len(stride)} strides")
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)

    def made(self) -> np.ndarray:
        storage, n_values = self.storage, math.prod(self.size)
        dtype = np.dtype(storage.code).newbyteorder(storage.order)
        if not n_values:
            return np.zeros(self.size if all(size < 2**31 for size in self.size) else 0, dtype)
        last = self.offset + sum((size - 1) * step for size, step in zip(self.size, self.stride))
        if storage.view is None or last >= storage.count or n_values > storage.count:
            raise ValueError(f"it holds a tensor of {n_values:,} numbers that reaches beyond its {storage.count:,}")
        strides = [step * dtype.itemsize for step in self.stride]
        return np.ndarray(self.size, dtype, storage.view, self.offset * dtype.itemsize, strides)


class _Storages:
    """The storages that a pickle refers to, by their keys."""

    def __init__(self, found: Callable[[str, _Storage], None] | None = None) -> None:
        self.by_key: dict[str, _Storage] = {}
        self._found = found

    def __call__(self, reference: Any) -> _Storage:
        """What a reference such as ``("storage", torch.FloatStorage, "0", "cpu", 128)`` refers to."""
        kind, name, key, _, count, *part = reference
        if text_of(kind) != "storage" or not isinstance(name, Name) or type(count) is not int or count < 0 or any(part):
            raise ValueError("it refers to something that holds no numbers")
        storage = _Storage(_TYPES[name.rpartition(".")[2]], count)
        key = text_of(key)
        if key not in self.by_key:
            self.by_key[key] = storage
            if self._found is not None:
                self._found(key, storage)
        known = self.by_key[key]
        if (known.code, known.count) != (storage.code, count):
            raise ValueError(f"it says of the numbers {key[:40]!r} twice what they are")
        return known


def _machine(content: memoryview, place: int = 0, storages: _Storages | None = None) -> Machine:
    calls: dict[str, Callable] = {"_rebuild_tensor": _Tensor, "_rebuild_tensor_v2": _Tensor, "OrderedDict": lambda: {}}
    return Machine(content, place, _NAMES, calls, storages)


def _of_archive(path: str | Path, content: memoryview) -> Any:
    with _members(path, content) as (members, bytes_of):
        pickled = next((name for name in members if name.endswith("data.pkl") and name.count("/") == 1), None)
        if pickled is None:
            raise ValueError("it holds no data.pkl, so that torch did not write it")
        root = pickled.removesuffix("data.pkl")
        is_big = f"{root}byteorder" in members and bytes(bytes_of(f"{root}byteorder")[:3]) == b"big"

        def found(key: str, storage: _Storage) -> None:
            if (name := f"{root}data/{key}") not in members:
                raise ValueError(f"it holds no numbers {key[:40]!r}")
            storage.view, storage.order = bytes_of(name), ">" if is_big else "<"
            _check_room(storage, key)

        return _machine(bytes_of(pickled), 0, _Storages(found)).run()


@contextmanager
def _members(path: str | Path, content: memoryview) -> Iterator[tuple[dict, Callable[[str], memoryview]]]:
    """The members of an archive, and where the bytes of each lie in the file."""
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}

        def bytes_of(name: str) -> memoryview:
            member = members[name]
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"its {name[:80]} is compressed, which torch never does")
            header = content[member.header_offset : member.header_offset + _LOCAL_HEADER]
            if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
                raise ValueError(f"its {name[:80]} is not where its list says")
            begin = member.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", header[26:30]))
            found = content[begin : begin + member.file_size]
            if len(found) != member.file_size:
                raise EOFError(f"it ends within {name[:80]}")
            return found

        yield members, bytes_of


def _of_pickles(content: memoryview) -> Any:
    """The older form: a number that marks it, a version, facts of the machine, the values, the keys, and all numbers."""
    machine = _machine(content)
    if machine.run() != MAGIC:
        raise ValueError("it does not begin as a file of torch")
    values = []
    storages = _Storages()
    for part in range(4):
        machine = _machine(content, machine.place, storages if part == 2 else None)
        values.append(machine.run())
    _, facts, found, keys = values
    is_little = not isinstance(facts, dict) or facts.get("little_endian", True)
    place = machine.place
    keys = [text_of(key) for key in keys] if isinstance(keys, list) else []
    if set(keys) != set(storages.by_key):
        raise ValueError("it lists other numbers than its values refer to")
    for key in keys:
        storage = storages.by_key[key]
        if place + 8 > len(content):
            raise EOFError(f"it ends before the numbers {key[:40]!r}")
        (count,) = struct.unpack("<q", content[place : place + 8])
        if count != storage.count:
            raise ValueError(f"it says that there are {storage.count:,} numbers and then {count:,}")
        end = place + 8 + count * np.dtype(storage.code).itemsize
        storage.view, storage.order = content[place + 8 : end], "<" if is_little else ">"
        _check_room(storage, key)
        place = end
    if place != len(content):
        raise ValueError(f"{len(content) - place:,} bytes follow its end")
    return found


def _check_room(storage: _Storage, key: str) -> None:
    needed, room = storage.count * np.dtype(storage.code).itemsize, len(storage.view or b"")
    if needed > room:
        raise EOFError(f"its numbers {key[:40]!r} take {needed:,} bytes but there are {room:,}")
