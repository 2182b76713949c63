"""NIfTI volumes: numbers whose shape the file can hold."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np

from stages.ground.errors import InputError
from stages.ground.reading.wall import reading
from weights.compression import MOST_BY_COMPRESSION


def open_nifti(path: str | Path, remedy: str = "copy the file again", **options: bool) -> nibabel.Nifti1Image:
    """Open a volume; its values are read when they are asked for, best within `reading`.

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
    with reading(path, "NIfTI", remedy):
        image: nibabel.Nifti1Image = nibabel.load(path, **options)  # type: ignore[assignment]
        dtype, shape = image.get_data_dtype(), image.shape
        if dtype.kind not in "iuf":
            raise InputError(f"{path} holds values of type {dtype}; expected whole or real numbers: {remedy}.")
        if any(length < 1 for length in shape):
            raise InputError(f"{path} says that its shape is {shape}; expected 1 or more along every axis: {remedy}.")
        claimed, size = math.prod(shape) * dtype.itemsize, Path(path).stat().st_size
        offset = image.dataobj.offset if hasattr(image.dataobj, "offset") else 0
        packed = str(path).endswith((".gz", ".bz2", ".zst"))
        if claimed > (size * MOST_BY_COMPRESSION if packed else size - offset):
            raise InputError(
                f"{path} says that it holds {dtype} {shape}, which is {claimed:,} bytes, more than its {size:,} can be; {remedy}."
            )
    return image


def read_nifti(path: str | Path, remedy: str = "copy the file again") -> np.ndarray:
    """Read the values of a volume, in the file's own type where it is not scaled; errors as of `open_nifti`.

    >>> path = getfixture("tmp_path") / "mask.nii.gz"
    >>> nibabel.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4)).to_filename(path)
    >>> int(read_nifti(path).sum())
    8
    """
    image = open_nifti(path, remedy)
    with reading(path, "NIfTI", remedy):
        return np.asanyarray(image.dataobj)
