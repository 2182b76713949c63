"""NumPy's .npy and .npz: numbers and text, whose sizes the file itself can hold; nothing is unpickled."""

from __future__ import annotations

import io
import math
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from stages.ground.errors import InputError
from stages.ground.reading.wall import one_line, reading
from weights.compression import MOST_BY_COMPRESSION

_LONGEST_HEADER = 65_536


class PickledError(InputError):
    """An array is made of Python objects, which are not unpickled: no damage, but nothing that can be read."""


def read_npy(path: str | Path, mapped: bool = False, remedy: str = "save it again with numpy.save") -> np.ndarray:
    """Read an array, in memory or mapped read-only.

    >>> path = getfixture("tmp_path") / "betas.npy"
    >>> np.save(path, np.eye(2))
    >>> read_npy(path).shape
    (2, 2)

    Parameters
    ----------
    path : path
    mapped : bool
        Leave the values on disk until they are used.
    remedy : str
        What to do about a file that cannot be read, for the message.

    Raises
    ------
    InputError
        The file is absent, damaged, no plain array, or of another size than its header says.
    """
    with reading(path, "a .npy array", remedy), open(path, "rb") as file:
        shape, fortran, dtype = _header(file, path)
        room = Path(path).stat().st_size - file.tell()
        if (needed := _bytes(shape, dtype)) != room:
            raise InputError(
                f"{path} says that it holds {dtype} {shape}, which is {needed:,} bytes, but has {room:,}; {remedy}."
            )
        if mapped and needed:
            return checked_letters(np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C"))
        values = checked_letters(np.fromfile(file, dtype, math.prod(shape)))
        return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def npy_of_bytes(content: bytes, where: str, remedy: str = "save it again with numpy.save") -> np.ndarray:
    """Read an array from the bytes of a .npy file, such as a member of an archive.

    >>> file = io.BytesIO()
    >>> np.save(file, np.eye(2))
    >>> npy_of_bytes(file.getvalue(), "a member").shape
    (2, 2)

    Parameters
    ----------
    content : bytes
    where : str
        What they are, for the message.
    remedy : str
        What to do about a file that cannot be read, for the message.

    Raises
    ------
    InputError
        They are damaged, no plain array, or another number than their header says.
    """
    file = io.BytesIO(content)
    try:
        shape, fortran, dtype = _header(file, where)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where} cannot be read as a .npy array ({one_line(error)}); {remedy}.") from None
    room = len(content) - file.tell()
    if (needed := _bytes(shape, dtype)) != room:
        raise InputError(
            f"{where} says that it holds {dtype} {shape}, which is {needed:,} bytes, but has {room:,}; {remedy}."
        )
    values = np.frombuffer(content, dtype, math.prod(shape), file.tell())
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


class NpzFile:
    """The arrays of one .npz, each read when it is looked up and checked against its header and its checksum.

    >>> path = getfixture("tmp_path") / "mine.npz"
    >>> np.savez(path, betas=np.eye(2))
    >>> with npz_file(path) as archive:
    ...     print(archive.names, archive.read("betas").shape)
    ['betas'] (2, 2)

    Made by `npz_file`.

    Attributes
    ----------
    names : list of str
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile, remedy: str) -> None:
        self._path, self._archive, self._remedy = path, archive, remedy
        self._members = {
            member.filename.removesuffix(".npy"): member
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }
        self.names = list(self._members)

    def read(self, name: str) -> np.ndarray:
        """Return one array."""
        shape, fortran, dtype = self.header(name)
        values, done = np.empty(math.prod(shape), dtype), 0
        for piece in self._pieces(name, 2**24 // max(dtype.itemsize, 1) + 1):
            values[done : done + len(piece)] = piece
            done += len(piece)
        with reading(self._path, f"'{name}' of a .npz archive", self._remedy):
            checked_letters(values)
        return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)

    def header(self, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
        """Shape of an array, whether it lies column by column, and its type; refused if the file cannot hold so much."""
        with self._opened(name) as (_, header):
            return header

    def blocks(self, name: str, n_rows: int) -> Iterator[np.ndarray]:
        """Yield `n_rows` rows at a time, the last ones fewer, of an array that lies row by row."""
        shape, fortran, _ = self.header(name)
        if fortran:
            raise InputError(
                f"{name} of {self._path} is stored by columns; save it again with numpy.ascontiguousarray and numpy.savez."
            )
        for piece in self._pieces(name, n_rows * math.prod(shape[1:])):
            yield piece.reshape(-1, *shape[1:])

    def _pieces(self, name: str, length: int) -> Iterator[np.ndarray]:
        """Yield the values as they lie in the file, `length` at a time."""
        with self._opened(name) as (file, (shape, _, dtype)):
            left = math.prod(shape)
            while left:
                content = file.read(min(left, length) * dtype.itemsize)
                if len(content) < min(left, length) * dtype.itemsize:
                    raise EOFError(f"'{name}' ends before its last {left:,} values")
                left -= min(left, length)
                yield np.frombuffer(content, dtype)
            # The checksum is compared at the end.
            if file.read(1):
                raise ValueError(f"'{name}' has more bytes than its header says")

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[IO[bytes], tuple[tuple[int, ...], bool, np.dtype]]]:
        member = self._members[name]
        with self._archive.open(member) as file:
            shape, fortran, dtype = _header(file, f"'{name}' in {self._path}")
            needed, room = _bytes(shape, dtype), member.file_size - file.tell()
            if needed != room or member.file_size > MOST_BY_COMPRESSION * max(member.compress_size, 1):
                raise InputError(
                    f"'{name}' in {self._path} says that it holds {dtype} {shape}, which is {needed:,} bytes, but has "
                    f"{room:,}, from {member.compress_size:,} compressed ones; {self._remedy}."
                )
            yield file, (shape, fortran, dtype)


@contextmanager
def npz_file(path: str | Path, remedy: str = "save it again with numpy.savez") -> Iterator[NpzFile]:
    """Open a .npz; what is wrong with it is told in one sentence, also when its arrays are read within the block.

    >>> path = getfixture("tmp_path") / "mine.npz"
    >>> np.savez(path, betas=np.eye(2))
    >>> with npz_file(path) as archive:
    ...     archive.names
    ['betas']

    Parameters
    ----------
    path : path
    remedy : str
        What to do about a file that cannot be read, for the message.
    """
    with reading(path, "a .npz archive", remedy), zipfile.ZipFile(path) as archive:
        yield NpzFile(Path(path), archive, remedy)


def _header(file: IO[bytes], where: str | Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    # Read as NumPy's own reader does, after a look at the length that is claimed.
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(file, max_header_size=_LONGEST_HEADER)
    elif version == (2, 0):
        shape, fortran, dtype = npy.read_array_header_2_0(file, max_header_size=_LONGEST_HEADER)
    else:
        raise ValueError(f"version {version} of the format")
    if dtype.hasobject or dtype.kind not in "biufcUSMm":
        held = "holds pickled Python objects, which could run any code" if dtype.hasobject else f"is of {dtype}"
        raise (PickledError if dtype.hasobject else InputError)(
            f"{where} {held} and is neither numbers nor text; save it as a plain array, for example "
            "numpy.asarray(values, dtype=str) for text or dtype=numpy.float32 for betas."
        )
    if any(length < 0 for length in shape):
        raise ValueError(f"a shape of {shape}")
    return shape, fortran, dtype


def checked_letters(values: np.ndarray) -> np.ndarray:
    """The same values; if they are text, each letter is one that Unicode has."""
    if values.dtype.kind == "U" and values.nbytes:
        codes = values.reshape(-1).view(values.dtype.str[0] + "u4")
        # Halves of pairs, from 0xD800 on, are no letters, and can be written nowhere.
        wrong = codes[(codes > sys.maxunicode) | ((codes >= 0xD800) & (codes <= 0xDFFF))]
        if len(wrong):
            raise ValueError(f"it holds text with a letter of the number {wrong[0]:,}, which Unicode does not have")
    return values


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return math.prod(shape) * dtype.itemsize
