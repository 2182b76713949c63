"""NIfTI volumes, and FreeSurfer's MGH, which are read alike: numbers whose shape the file can hold."""

from __future__ import annotations

import bz2
import gzip
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from stages.ground.errors import InputError
from stages.ground.reading.wall import reading
from weights.compression import MOST_BY_COMPRESSION

PACKED = (".gz", ".bz2", ".zst", ".mgz")
"""Ends of the names of files that are compressed."""
_WITH_CHECKSUM: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".mgz": gzip.open, ".bz2": bz2.open}


def open_nifti(path: str | Path, remedy: str = "copy the file again", **options: bool) -> nibabel.Nifti1Image:
    """Open a volume; its values are read by `nifti_values`.

    >>> path = getfixture("tmp_path") / "mask.nii.gz"
    >>> nibabel.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4)).to_filename(path)
    >>> open_nifti(path).shape
    (2, 2, 2)

    Parameters
    ----------
    path : path
    remedy : str
        What to do about a file that cannot be read, for the message.
    **options
        Of `nibabel.load`, such as `keep_file_open`.

    Raises
    ------
    InputError
        The file is absent, damaged, holds colours in place of numbers, or claims more values than it can hold.
    """
    with reading(path, _kind(path), remedy):
        image: nibabel.Nifti1Image = nibabel.load(path, **options)  # type: ignore[assignment]
        dtype, shape = image.get_data_dtype(), image.shape
        if dtype.kind not in "iuf":
            raise InputError(f"{path} holds values of type {dtype}; expected whole or real numbers: {remedy}.")
        bits = _stored_bits(path, image.header)
        if bits and bits != 8 * dtype.itemsize:
            raise InputError(
                f"{path} says that a value has {bits} bits and is of type {dtype}, which has {8 * dtype.itemsize}: {remedy}."
            )
        if any(length < 1 for length in shape):
            raise InputError(f"{path} says that its shape is {shape}; expected 1 or more along every axis: {remedy}.")
        claimed, size = math.prod(shape) * dtype.itemsize, Path(path).stat().st_size
        offset = image.dataobj.offset if hasattr(image.dataobj, "offset") else 0
        packed = str(path).endswith(PACKED)
        if claimed > (size * MOST_BY_COMPRESSION if packed else size - offset):
            raise InputError(
                f"{path} says that it holds {dtype} {shape}, which is {claimed:,} bytes, more than its {size:,} can be; {remedy}."
            )
    return image


def _kind(path: str | Path) -> str:
    return "MGH" if Path(path).suffix in (".mgh", ".mgz") else "NIfTI"


def _stored_bits(path: str | Path, header: nibabel.nifti1.Nifti1Header) -> int:
    """Bits of a value as the file's header says; 0 if it does not. On opening they are made to agree with the type."""
    if not isinstance(header, nibabel.nifti1.Nifti1Header):
        return 0
    with nibabel.openers.ImageOpener(str(path)) as file:
        return int(type(header).from_fileobj(file, check=False)["bitpix"])


@contextmanager
def nifti_values(path: str | Path, remedy: str = "copy the file again") -> Iterator[Any]:
    """Give the values of a volume, to be read within the block as an array's; errors as of `open_nifti`.

    >>> path = getfixture("tmp_path") / "betas.nii.gz"
    >>> nibabel.Nifti1Image(np.ones((2, 2, 2, 9), np.int16), np.eye(4)).to_filename(path)
    >>> with nifti_values(path) as values: print(int(values[..., 2:].sum()))
    56

    A packed file goes on from where the last reading ended, so that the last volumes are best read last. Its checksum,
    which stands behind the last value, is checked at the end of the block.
    """
    image = open_nifti(path, remedy)
    with reading(path, _kind(path), remedy):
        unpacked = _WITH_CHECKSUM.get(Path(path).suffix)
        if unpacked is None:
            yield image.dataobj
            return
        with unpacked(path, "rb") as stream:
            yield type(image).from_stream(stream).dataobj
            while stream.read(2**20):
                pass


def read_nifti(path: str | Path, remedy: str = "copy the file again") -> np.ndarray:
    """Read the values of a volume, in the file's own type where it is not scaled; errors as of `open_nifti`.

    >>> path = getfixture("tmp_path") / "mask.nii.gz"
    >>> nibabel.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4)).to_filename(path)
    >>> int(read_nifti(path).sum())
    8
    """
    with nifti_values(path, remedy) as values:
        return np.asanyarray(values)
