"""What a pickled NumPy array is made of: the few names that a pickle needs for one, and what stands for them here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from stages.ground.reading.numpy_files import checked_letters

_MOST_AXES = 32
_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,6}")
_OBJECTS = re.compile(r"O[48]?")

_OF_ARRAYS = {f"numpy.{core}.multiarray": ("_reconstruct", "scalar") for core in ("core", "_core")}
_OF_BUFFERS = {f"numpy.{core}.numeric": ("_frombuffer",) for core in ("core", "_core")}
_PLAIN = {"numpy": ("ndarray", "dtype"), "_codecs": ("encode",), "__builtin__": ("bytes",), "builtins": ("bytes",)}
NAMES = _OF_ARRAYS | _OF_BUFFERS | _PLAIN
"""Module -> the names of it that a pickled array is made of."""


class Name(str):
    """What a pickle names, as a word: ``numpy.ndarray``."""


class Raw(NamedTuple):
    """Bytes as they lie in the file; `is_text` for those that Python 2 took for text."""

    view: memoryview
    is_text: bool = False


class Type:
    """Stands for a type of numbers, until its order of bytes is told."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.order: Any = "="

    @property
    def dtype(self) -> np.dtype:
        if not _NUMBERS.fullmatch(self.code):
            raise ValueError(f"it holds an array of type {self.code[:20]!r}, which is neither numbers nor text")
        return np.dtype(self.code).newbyteorder(self.order)


class Array:
    """Stands for an array, until its content is told: a NumPy array, or a list of objects and its shape."""

    content: Any = None
    shape: tuple[int, ...] = ()


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
    return array_of((1,), kind, "C", content)[0].item()


def _of_buffer(content: Raw, kind: Type, shape: tuple[int, ...], order: str, axes: Any = None) -> np.ndarray:
    if text_of(order) == "K" and axes is not None:
        return array_of(shape, kind, "C", content).transpose(axes)
    return array_of(shape, kind, text_of(order), content)


def array_of(shape: Any, kind: Type, order: Any, content: Any) -> Any:
    """An array over bytes of the file, or a list of objects as it is."""
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if len(sizes) > _MOST_AXES or any(type(size) is not int or not 0 <= size < 2**63 for size in sizes):
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


CALLS: dict[str, Callable] = {
    "_reconstruct": lambda *_: Array(),
    "scalar": _scalar,
    "dtype": lambda code, *_: Type(text_of(code)),
    "_frombuffer": _of_buffer,
    "encode": _encoded,
    "bytes": lambda: Raw(memoryview(b"")),
}
"""What is called -> what is done in its place."""
