"""The elements of MATLAB's files of version 5 to 7.2: each begins with its type and its length in bytes.

SciPy looks a type up in a table of 20 without a look at the number, so that a damaged one ends the process, or gives values
of another type. Here the elements are visited in the order in which SciPy reads them, and their types are checked.
Numbers, which are nearly all of a file, are passed over.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import IO

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
"""Bytes of one, by the type of an element. The last three are text."""
_SHORT, _WHOLE = (1, 16), (5, 6)
_CELL, _STRUCT, _OBJECT, _TEXT, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_ARRAYS = range(6, 16)
_COMPLEX = 0x800
_PIECE = 2**16


def check_elements(path: str | Path) -> None:
    """Raise a ValueError if an element has a type that no reader knows, or none that can stand in its place.

    >>> path = getfixture("tmp_path") / "design.mat"
    >>> import scipy.io
    >>> scipy.io.savemat(path, {"sharedix": [1, 2]})
    >>> check_elements(path)

    Files of version 4, and those of 7.3, which are HDF5, have no elements, and are left alone.

    Parameters
    ----------
    path : path
    """
    with open(path, "rb") as file:
        head = file.read(128)
        if len(head) < 128 or 0 in head[:4] or 1 not in head[124:126] or head[126:128] not in (b"IM", b"MI"):
            return
        order = "<" if head[126:128] == b"IM" else ">"
        size = Path(path).stat().st_size
        while (start := file.tell()) < size:
            kind, length = _full_tag(_Plain(file), order)
            if length == 0:
                # SciPy goes no further either.
                return
            if kind == _COMPRESSED:
                _check_matrix(_Packed(file, length), order)
            else:
                file.seek(start)
                _check_matrix(_Plain(file), order)
            file.seek(start + 8 + length)


class _Plain:
    """Bytes of a file from where it stands."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, length: int) -> bytes:
        content = self._file.read(length)
        if len(content) < length:
            raise ValueError("it ends within an element")
        return content

    def skip(self, length: int) -> None:
        self._file.seek(length, 1)


class _Packed:
    """Bytes that are compressed, of which no more are unpacked than are asked for."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file, self._left = file, length
        self._unpack = zlib.decompressobj()
        self._ready, self._to_skip = b"", 0

    def read(self, length: int) -> bytes:
        while self._to_skip:
            self._to_skip -= len(self._some(min(self._to_skip, _PIECE)))
        content = b""
        while len(content) < length:
            content += self._some(length - len(content))
        return content

    def skip(self, length: int) -> None:
        self._to_skip += length

    def _some(self, most: int) -> bytes:
        """At least a byte."""
        while True:
            packed = self._unpack.unconsumed_tail or self._file.read(min(self._left, _PIECE))
            self._left -= 0 if self._unpack.unconsumed_tail else len(packed)
            content = self._unpack.decompress(packed, most)
            if content:
                return content
            if not packed or self._unpack.eof:
                raise ValueError("it ends within an element")


_Stream = _Plain | _Packed


def _full_tag(stream: _Stream, order: str) -> tuple[int, int]:
    kind, length = struct.unpack(f"{order}II", stream.read(8))
    return kind, length


def _check_matrix(stream: _Stream, order: str) -> None:
    """Go through one array and all that is in it."""
    kind, length = _full_tag(stream, order)
    if kind != _MATRIX:
        raise ValueError(f"an element has the type {kind} where an array has to be")
    if length == 0:
        return
    _, _, flags, _ = struct.unpack(f"{order}4I", stream.read(16))
    kind = flags & 0xFF
    if kind == _OPAQUE:
        for what in ("a name", "a system of types", "the name of a class"):
            _values(stream, order, what, _SHORT)
        _check_matrix(stream, order)
        return
    content = _values(stream, order, "dimensions", _WHOLE)
    shape = struct.unpack(f"{order}{len(content) // 4}i", content[: len(content) // 4 * 4])
    _values(stream, order, "a name", _SHORT)
    if kind in _ARRAYS or kind in (_TEXT, _SPARSE):
        for _ in range((2 if flags & _COMPLEX and kind != _TEXT else 1) + (2 if kind == _SPARSE else 0)):
            _pass_numbers(stream, order)
        return
    if kind not in (_CELL, _STRUCT, _OBJECT, _FUNCTION):
        raise ValueError(f"an array has the class {kind}, which MATLAB does not know")
    n_each = 1
    if kind == _OBJECT:
        _values(stream, order, "the name of a class", _SHORT)
    if kind in (_STRUCT, _OBJECT):
        content = _values(stream, order, "the length of names", _WHOLE)
        longest = struct.unpack(f"{order}i", content[:4])[0] if len(content) >= 4 else 0
        names = _values(stream, order, "names", _SHORT)
        if longest < 1:
            raise ValueError(f"names are {longest} letters long")
        n_each = len(names) // longest
    for _ in range(1 if kind == _FUNCTION else math.prod(shape) * n_each):
        _check_matrix(stream, order)


def _element(stream: _Stream, order: str) -> tuple[int, int, bytes | None]:
    """Type and length of an element, and its bytes if they stand within its first eight."""
    head = stream.read(8)
    kind, length = struct.unpack(f"{order}II", head)
    if kind >> 16:
        return kind & 0xFFFF, kind >> 16, head[4 : 4 + (kind >> 16)]
    return kind, length, None


def _pass_numbers(stream: _Stream, order: str) -> None:
    kind, length, content = _element(stream, order)
    if kind not in _NUMBERS:
        raise ValueError(f"an element has the type {kind} where numbers have to be")
    if content is None:
        stream.skip(-(-length // 8) * 8)


def _values(stream: _Stream, order: str, what: str, kinds: tuple[int, ...]) -> bytes:
    """The bytes of a short element."""
    kind, length, content = _element(stream, order)
    if kind not in kinds:
        raise ValueError(f"an element has the type {kind} where {what} had to be")
    if content is None:
        content = stream.read(length)
        stream.skip(-length % 8)
    return content
