"""CIFTI-2 files: maps over grayordinates, which are vertices of the cortical surface and voxels below it."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis
from numpy.typing import NDArray

from stages.ground.errors import InputError
from stages.ground.reading.wall import reading

KIND = "CIFTI-2"


class CiftiMaps(NamedTuple):
    """What a CIFTI-2 file holds; its values are read by `read_maps`.

    Attributes
    ----------
    path : path
    shape : (int, int)
        (n_maps, n_places).
    names : tuple of str
        Of the maps; empty texts if they have none, as those of a time series.
    places : nibabel.cifti2.BrainModelAxis
    labels : tuple of dict of int to str
        Names of the values of each map; empty unless it is a file of labels.
    proxy : object
        Values, (n_maps, n_places), which are read from the file when it is indexed.
    """

    path: Path
    shape: tuple[int, int]
    names: tuple[str, ...]
    places: BrainModelAxis
    labels: tuple[dict[int, str], ...]
    proxy: object


def open_cifti(path: str | Path, remedy: str = "copy the file again") -> CiftiMaps:
    """Open a dense file: .dscalar.nii, .dlabel.nii or .dtseries.nii, whose columns are grayordinates.

    >>> path = getfixture("tmp_path") / "betas.dscalar.nii"
    >>> cortex = BrainModelAxis.from_mask(np.array([True, False, True]), name="CORTEX_LEFT")
    >>> Cifti2Image(np.ones((2, 2), np.float32), (ScalarAxis(["cat", "dog"]), cortex)).to_filename(path)
    >>> found = open_cifti(path)
    >>> found.shape, found.names, found.places.vertex.tolist()
    ((2, 2), ('cat', 'dog'), [0, 2])

    Parameters
    ----------
    path : path
    remedy : str
        What to do about a file that cannot be read, for the message.

    Raises
    ------
    InputError
        The file is absent, damaged, no dense CIFTI-2 file, or claims more values than it holds.
    """
    path = Path(path)
    with reading(path, KIND, remedy), warnings.catch_warnings():
        # Of a file that is at odds with itself, which is told below.
        warnings.simplefilter("ignore", UserWarning)
        image = nibabel.load(path)
        if not isinstance(image, Cifti2Image):
            raise InputError(f"{path} is a {type(image).__name__} without the header of a CIFTI-2 file; {remedy}.")
        shape, dtype = image.shape, image.get_data_dtype()
        if len(shape) != 2 or min(shape) < 1 or dtype.kind not in "iuf":
            raise InputError(f"{path} holds {dtype} {shape}; expected numbers (maps, grayordinates): {remedy}.")
        rows, places = (image.header.get_axis(number) for number in (0, 1))
        if not isinstance(places, BrainModelAxis):
            raise InputError(
                f"{path} has columns of the kind {type(places).__name__}; expected grayordinates, as in a .dscalar.nii: {remedy}."
            )
        if (len(rows), len(places)) != shape:
            raise InputError(
                f"{path} describes {len(rows):,} maps of {len(places):,} grayordinates but holds {shape[0]:,} x {shape[1]:,} "
                f"values; {remedy}."
            )
        claimed, size = (
            math.prod(shape) * dtype.itemsize,
            path.stat().st_size - int(getattr(image.dataobj, "offset", 0)),
        )
        if claimed > size:
            raise InputError(
                f"{path} says that it holds {dtype} {shape}, which is {claimed:,} bytes, but {size:,} are there; {remedy}."
            )
        named = isinstance(rows, ScalarAxis | LabelAxis)
        names = tuple(map(str, rows.name)) if named else ("",) * len(rows)
        labels: tuple[dict[int, str], ...] = ()
        if isinstance(rows, LabelAxis):
            labels = tuple({int(key): str(told[0]) for key, told in table.items()} for table in rows.label)
    return CiftiMaps(path, (int(shape[0]), int(shape[1])), names, places, labels, image.dataobj)


def read_maps(
    maps: CiftiMaps, rows: NDArray, columns: NDArray | slice = slice(None), remedy: str = "copy the file again"
) -> NDArray:
    """Read some maps at some places, (n_rows, n_columns), in the file's own type where it is not scaled.

    >>> path = getfixture("tmp_path") / "betas.dscalar.nii"
    >>> cortex = BrainModelAxis.from_mask(np.array([True, False, True]), name="CORTEX_LEFT")
    >>> Cifti2Image(np.float32([[1, 2], [3, 4]]), (ScalarAxis(["cat", "dog"]), cortex)).to_filename(path)
    >>> read_maps(open_cifti(path), np.array([1])).tolist()
    [[3.0, 4.0]]

    A file keeps the values of a place together, so that some places are read faster than some maps.
    """
    with reading(maps.path, KIND, remedy):
        # Mapped, so that places that nobody asks for are not read.
        whole = np.asanyarray(maps.proxy)
        return np.ascontiguousarray(whole[:, columns][rows])
