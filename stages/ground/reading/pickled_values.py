"""Pickles of plain values: dictionaries, lists, text, numbers and NumPy arrays, read without running what the file says.

Python's own reader imports what a pickle names, and calls it. Here a small interpreter follows the instructions of pickle's
protocols 2 to 5 and builds plain values alone. The names that a pickled array needs are known to it as words; no name is ever
looked up, imported or called, and any other name is refused. The numbers of an array stay in the file, which is mapped.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from stages.ground.reading.numpy_files import checked_letters
from stages.ground.reading.wall import reading

MOST_INSTRUCTIONS = 5_000_000
"""Of one pickle; lists of 100,000 names take 300,000."""
DEEPEST = 50
"""Lists and dictionaries inside each other."""
_LONGEST_NAME = 200
_MOST_AXES = 32
_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,6}")
_OBJECTS = re.compile(r"O[48]?")

_OF_ARRAYS = {f"numpy.{core}.multiarray": ("_reconstruct", "scalar") for core in ("core", "_core")}
_OF_BUFFERS = {f"numpy.{core}.numeric": ("_frombuffer",) for core in ("core", "_core")}
_PLAIN = {"numpy": ("ndarray", "dtype"), "_codecs": ("encode",), "__builtin__": ("bytes",), "builtins": ("bytes",)}
NAMES = _OF_ARRAYS | _OF_BUFFERS | _PLAIN
"""Module -> the names of it that a pickled array is made of."""


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
        content = memoryview(np.memmap(path, np.uint8, "r"))
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


class Name(str):
    """What a pickle names, as a word: ``numpy.ndarray``."""


class Raw(NamedTuple):
    """Bytes as they lie in the file; `is_text` for those that Python 2 took for text."""

    view: memoryview
    is_text: bool = False


class Type:
    """Stands for a type of numbers, until its order of bytes is told."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    @property
    def dtype(self) -> np.dtype:
        if not _NUMBERS.fullmatch(self.code):
            raise ValueError(f"it holds an array of type {self.code[:20]!r}, which is neither numbers nor text")
        return np.dtype(self.code).newbyteorder(self.order)


class Array:
    """Stands for an array, until its content is told: a NumPy array, or a list of objects and its shape."""

    content: Any = None
    shape: tuple[int, ...] = ()


class Deferred:
    """Stands for something that is made when all was read."""

    def made(self) -> Any:
        raise NotImplementedError


class Machine:
    """Follows the instructions of one pickle.

    Parameters
    ----------
    content : memoryview
        Of bytes: the whole file.
    place : int
        Where the pickle begins in it.
    names : dict of str to tuple of str
        Module -> names that it may use.
    calls : dict of str to callable
        Further names that are called -> ``call(*arguments)``, which makes a plain value or a `Deferred`.
    outside : callable, optional
        ``outside(reference)`` for what a pickle refers to beside itself.

    Attributes
    ----------
    place : int
        Where the next instruction is.
    """

    def __init__(
        self,
        content: memoryview,
        place: int = 0,
        names: dict[str, tuple[str, ...]] = NAMES,
        calls: dict[str, Callable] | None = None,
        outside: Callable | None = None,
    ) -> None:
        self.content, self.place = content, place
        self._names, self._outside = names, outside
        self._calls = {
            "_reconstruct": lambda *_: Array(),
            "scalar": _scalar,
            "dtype": lambda code, *_: Type(text_of(code)),
            "_frombuffer": _of_buffer,
            "encode": _encoded,
            "bytes": lambda: Raw(memoryview(b"")),
        } | (calls or {})
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What the pickle holds; values are made plain by `plain`."""
        for _ in range(MOST_INSTRUCTIONS):
            begin = self.place
            code = self._take(1)[0]
            if code == 0x2E:  # STOP
                if len(self._stack) != 1 or self._marks:
                    raise ValueError("it ends before its values are complete")
                return self._stack[0]
            if code not in _INSTRUCTIONS:
                raise ValueError(f"the instruction {code:#04x} at byte {begin:,} is none that plain values need")
            try:
                _INSTRUCTIONS[code](self)
            except (IndexError, KeyError, TypeError, AttributeError, struct.error, OverflowError):
                raise ValueError(f"its instruction {code:#04x} at byte {begin:,} makes no sense there") from None
        raise ValueError(f"it has more than {MOST_INSTRUCTIONS:,} instructions")

    def _take(self, size: int) -> memoryview:
        end = self.place + size
        if end > len(self.content):
            raise EOFError(f"it ends {end - len(self.content):,} bytes too early")
        found, self.place = self.content[self.place : end], end
        return found

    def _number(self, code: str) -> Any:
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop_to_mark(self) -> list:
        mark = self._marks.pop()
        if mark > len(self._stack):
            raise IndexError
        found = self._stack[mark:]
        del self._stack[mark:]
        return found

    def _line(self) -> str:
        found = bytes(self.content[self.place : self.place + _LONGEST_NAME])
        line, end, _ = found.partition(b"\n")
        if not end:
            raise ValueError("it has a name without an end")
        self.place += len(line) + 1
        return line.decode()

    def _name(self, module: str, name: str) -> None:
        if name not in self._names.get(module, ()):
            raise ValueError(f"it asks for {module[:_LONGEST_NAME]}.{name[:_LONGEST_NAME]}, which plain values do not need")
        self._push(Name(f"{module}.{name}"))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._name(text_of(module), text_of(name))

    def _call(self) -> None:
        arguments, name = self._stack.pop(), self._stack.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise TypeError
        self._push(self._calls[name.rpartition(".")[2]](*arguments))

    def _build(self) -> None:
        state, value = self._stack.pop(), self._stack[-1]
        if isinstance(value, Type):
            _, value.order, *structure = state
            value.order = text_of(value.order)
            if value.order not in ("<", ">", "|", "=") or any(part is not None for part in structure[:3]):
                raise ValueError("it holds an array of several numbers in one, or of a byte order that there is not")
        elif isinstance(value, Array) and value.content is None:
            _, shape, kind, fortran, content = state
            value.content, value.shape = _array(shape, kind, "F" if fortran else "C", content), shape
        else:
            raise TypeError

    def _append(self, values: list) -> None:
        if not isinstance(self._stack[-1], list):
            raise TypeError
        self._stack[-1].extend(values)

    def _set(self, pairs: list) -> None:
        found = self._stack[-1]
        if not isinstance(found, dict) or len(pairs) % 2:
            raise TypeError
        for key, value in zip(pairs[::2], pairs[1::2]):
            key = text_of(key) if isinstance(key, Raw) else key
            if type(key) not in (str, int):
                raise ValueError(f"it has a {type(key).__name__} as a key, where text or a whole number was expected")
            if key in found:
                raise ValueError(f"its key {str(key)[:40]!r} is there twice")
            found[key] = value

    def _refer(self) -> None:
        if self._outside is None:
            raise ValueError("it refers to something beside itself")
        self._push(self._outside(self._stack.pop()))

    def _tuple(self, size: int) -> None:
        if size > len(self._stack):
            raise IndexError
        found = tuple(self._stack[-size:])
        del self._stack[-size:]
        self._push(found)

    def _protocol(self) -> None:
        if (version := self._number("<B")) > 5:
            raise ValueError(f"it is of protocol {version}")

    def _frame(self) -> None:
        if self._number("<Q") > len(self.content) - self.place:
            raise EOFError("it ends within a frame")


def _of(code: str, is_text: bool = False) -> Callable[[Machine], None]:
    """Bytes after their number."""
    return lambda machine: machine._push(Raw(machine._take(machine._number(code)), is_text))


def _unicode(code: str) -> Callable[[Machine], None]:
    return lambda machine: machine._push(str(machine._take(machine._number(code)), "utf-8"))


def _numbered(code: str) -> Callable[[Machine], None]:
    return lambda machine: machine._push(machine._number(code))


def _constant(value: Any) -> Callable[[Machine], None]:
    return lambda machine: machine._push(value)


def _put(code: str) -> Callable[[Machine], None]:
    return lambda machine: machine._memo.__setitem__(machine._number(code), machine._stack[-1])


def _get(code: str) -> Callable[[Machine], None]:
    return lambda machine: machine._push(machine._memo[machine._number(code)])


_INSTRUCTIONS: dict[int, Callable[[Machine], None]] = {
    code[0]: follow
    for code, follow in {
        b"\x80": Machine._protocol,
        b"\x95": Machine._frame,
        b"(": lambda machine: machine._marks.append(len(machine._stack)),
        b"N": _constant(None),
        b"\x88": _constant(True),
        b"\x89": _constant(False),
        b"J": _numbered("<i"),
        b"K": _numbered("<B"),
        b"M": _numbered("<H"),
        b"G": _numbered(">d"),
        b"\x8a": lambda machine: machine._push(
            int.from_bytes(machine._take(machine._number("<B")), "little", signed=True)
        ),
        b"U": _of("<B", is_text=True),
        b"T": _of("<I", is_text=True),
        b"C": _of("<B"),
        b"B": _of("<I"),
        b"\x8e": _of("<Q"),
        b"\x96": _of("<Q"),
        b"\x8c": _unicode("<B"),
        b"X": _unicode("<I"),
        b"\x8d": _unicode("<Q"),
        b"]": lambda machine: machine._push([]),
        b"}": lambda machine: machine._push({}),
        b")": _constant(()),
        b"\x85": lambda machine: machine._tuple(1),
        b"\x86": lambda machine: machine._tuple(2),
        b"\x87": lambda machine: machine._tuple(3),
        b"t": lambda machine: machine._push(tuple(machine._pop_to_mark())),
        b"a": lambda machine: machine._append([machine._stack.pop()]),
        b"e": lambda machine: machine._append(machine._pop_to_mark()),
        b"s": lambda machine: machine._set([machine._stack.pop(-2), machine._stack.pop()]),
        b"u": lambda machine: machine._set(machine._pop_to_mark()),
        b"c": lambda machine: machine._name(machine._line(), machine._line()),
        b"\x93": Machine._stack_global,
        b"R": Machine._call,
        b"b": Machine._build,
        b"q": _put("<B"),
        b"r": _put("<I"),
        b"\x94": lambda machine: machine._memo.__setitem__(len(machine._memo), machine._stack[-1]),
        b"h": _get("<B"),
        b"j": _get("<I"),
        b"Q": Machine._refer,
    }.items()
}


def text_of(value: Any) -> str:
    """Text, also as Python 2 wrote it; a TypeError for anything else."""
    if isinstance(value, Raw):
        return bytes(value.view).decode("latin-1")
    if type(value) is not str:
        raise TypeError
    return value


def _encoded(text: str, encoding: str) -> Raw:
    """How Python 3 writes bytes in protocol 2: as text whose letters are the bytes."""
    if text_of(encoding).replace("-", "") != "latin1":
        raise ValueError("it holds bytes as text of another encoding than latin1")
    return Raw(memoryview(text_of(text).encode("latin-1")))


def _scalar(kind: Type, content: Raw) -> Any:
    return _array((1,), kind, "C", content)[0].item()


def _of_buffer(content: Raw, kind: Type, shape: tuple[int, ...], order: str, axes: Any = None) -> np.ndarray:
    if text_of(order) == "K" and axes is not None:
        return _array(shape, kind, "C", content).transpose(axes)
    return _array(shape, kind, text_of(order), content)


def _array(shape: Any, kind: Type, order: Any, content: Any) -> Any:
    """An array over bytes of the file, or a list of objects as it is."""
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if len(sizes) > _MOST_AXES or any(type(size) is not int or size < 0 for size in sizes):
        # What is no number is not shown: it could hold itself many times over.
        raise ValueError("it holds an array whose shape is none")
    if isinstance(content, list) and isinstance(kind, Type) and _OBJECTS.fullmatch(kind.code):
        if len(content) != math.prod(sizes) or len(sizes) > 1:
            raise ValueError(f"it holds {len(content):,} objects in an array of shape {str(sizes)[:80]}")
        return content
    if not isinstance(content, Raw) or order not in ("C", "F"):
        raise TypeError
    dtype = kind.dtype
    if (needed := math.prod(sizes) * dtype.itemsize) != len(content.view):
        raise ValueError(
            f"it says that it holds {dtype} {str(sizes)[:80]}, which is {needed:,} bytes, but has {len(content.view):,}"
        )
    if not needed:
        return np.zeros(sizes, dtype)
    return checked_letters(np.ndarray(sizes, dtype, content.view, order=order))


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
