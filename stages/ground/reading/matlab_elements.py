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

MOST_ARRAYS = 2_000_000
"""Within one variable, as cells and fields; it takes 10 s to visit as many. The rest is left."""
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18)
"""Types of numbers, and of text, which are the last three."""
_SHORT, _WHOLE = (1, 16), (5, 6)
_CELL, _STRUCT, _OBJECT, _TEXT, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_OF_ARRAYS = (_CELL, _STRUCT, _OBJECT, _FUNCTION)
_ARRAYS = range(6, 16)
_COMPLEX = 0x800
# Some programs write texts of no letters with the length that they had.
_LONGEST_BLANK = 2**20
# Of names.
_LONGEST_VALUES = 2**24
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
            kind, length = _Elements(_Plain(file), order).tag()
            if length == 0:
                # SciPy goes no further either.
                return
            if kind == _COMPRESSED:
                _Elements(_Packed(file, length), order).check_array()
            else:
                file.seek(start)
                _Elements(_Plain(file), order).check_array()
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


class _Elements:
    """Elements one after the other, of a file or of one variable that is compressed."""

    def __init__(self, stream: _Plain | _Packed, order: str) -> None:
        self._stream, self._order, self._left = stream, order, MOST_ARRAYS

    def tag(self) -> tuple[int, int]:
        """Type and length in bytes of an array, or of a compressed one."""
        kind, length = self._numbers("II", self._stream.read(8))
        return kind, length

    def check_array(self) -> None:
        """Go through one array and all that is in it."""
        kind, length = self.tag()
        if kind != _MATRIX:
            raise ValueError(f"an element has the type {kind} where an array has to be")
        self._left -= 1
        if length == 0 or self._left < 0:
            return
        _, _, flags, _ = self._numbers("4I", self._stream.read(16))
        kind = flags & 0xFF
        if kind == _OPAQUE:
            for what in ("a name", "a system of types", "the name of a class"):
                self._values(what, _SHORT)
            self.check_array()
            return
        content = self._values("a shape", _WHOLE)
        shape = self._numbers(f"{len(content) // 4}i", content[: len(content) // 4 * 4])
        if len(shape) < 2 or min(shape) < 0:
            raise ValueError(f"an array has the shape {shape}")
        self._values("a name", _SHORT)
        if kind in _ARRAYS or kind == _SPARSE:
            for _ in range((2 if flags & _COMPLEX else 1) + (2 if kind == _SPARSE else 0)):
                self._pass_numbers()
        elif kind == _TEXT:
            if self._pass_numbers() == 0 and math.prod(shape) > _LONGEST_BLANK:
                raise ValueError(f"a text has the shape {shape} and no letters")
        elif kind in _OF_ARRAYS:
            for _ in range(self._n_within(kind, shape)):
                self.check_array()
                if self._left < 0:
                    return
        else:
            raise ValueError(f"an array has the class {kind}, which MATLAB does not know")

    def _n_within(self, kind: int, shape: tuple[int, ...]) -> int:
        """How many arrays a cell array, a structure, an object or a function consists of."""
        if kind == _FUNCTION:
            return 1
        if kind == _CELL:
            return math.prod(shape)
        if kind == _OBJECT:
            self._values("the name of a class", _SHORT)
        content = self._values("the length of names", _WHOLE)
        longest = self._numbers("i", content[:4])[0] if len(content) >= 4 else 0
        names = self._values("names", _SHORT)
        if longest < 1:
            raise ValueError(f"names are {longest} letters long")
        return math.prod(shape) * (len(names) // longest)

    def _element(self) -> tuple[int, int, bytes | None]:
        """Type and length of an element, and its bytes if they stand within its first eight."""
        head = self._stream.read(8)
        kind, length = self._numbers("II", head)
        if kind >> 16:
            return kind & 0xFFFF, kind >> 16, head[4 : 4 + (kind >> 16)]
        return kind, length, None

    def _pass_numbers(self) -> int:
        """Pass over an element; its bytes."""
        kind, length, content = self._element()
        if kind not in _NUMBERS:
            raise ValueError(f"an element has the type {kind} where numbers have to be")
        if content is None:
            self._stream.skip(-(-length // 8) * 8)
        return length

    def _values(self, what: str, kinds: tuple[int, ...]) -> bytes:
        """The bytes of a short element."""
        kind, length, content = self._element()
        if kind not in kinds:
            raise ValueError(f"an element has the type {kind} where {what} has to be")
        if length > _LONGEST_VALUES:
            raise ValueError(f"{what} has {length:,} bytes")
        if content is None:
            content = self._stream.read(length)
            self._stream.skip(-length % 8)
        return content

    def _numbers(self, code: str, content: bytes) -> tuple[int, ...]:
        return struct.unpack(self._order + code, content)
