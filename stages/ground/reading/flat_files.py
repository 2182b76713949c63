"""Flat maps of a hemisphere: GIFTI surfaces and FreeSurfer's flattened patches."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from nibabel.gifti import GiftiImage

from stages.ground.errors import InputError
from stages.ground.reading.wall import reading

MOST_BYTES = 2**28
"""Of a flat map before it is compressed; fsaverage's has about 6 MB."""

_PATCH = -1
"""First number of a patch with its count behind it."""
_CORNER = np.dtype([("vertex", ">i4"), ("place", ">f4", 3)])
"""A vertex of a patch: its number from 1 on, negative on the border, and x, y, z."""


def read_flat(path: str | Path, remedy: str = "copy the file again") -> tuple[np.ndarray, np.ndarray]:
    """The vertices of a flat map and their places.

    >>> path = getfixture("tmp_path") / "lh.cortex.patch.flat"
    >>> corners = np.array([(-1, (0, 0, 0)), (3, (5, 7, 0))], dtype=[("vertex", ">i4"), ("place", ">f4", 3)])
    >>> _ = path.write_bytes(np.array([-1, 2], dtype=">i4").tobytes() + corners.tobytes())
    >>> vertices, places = read_flat(path)
    >>> vertices.tolist(), places.tolist()
    ([0, 2], [[0.0, 0.0], [5.0, 7.0]])

    Parameters
    ----------
    path : path
        A GIFTI surface (``.gii``, ``.gii.gz``), of which the vertices of its triangles count, or a binary patch as
        FreeSurfer's ``mris_flatten`` writes it.
    remedy : str
        What to do about a file that cannot be read, for the message.

    Returns
    -------
    vertices : int array of shape (n,)
        Numbers from 0 of the vertices that are on the map, increasing.
    places : array of shape (n, 2), float32
        x and y.

    Raises
    ------
    InputError
        The file is absent or damaged, holds no surface, or one that is not flat.
    """
    is_gifti = str(path).endswith((".gii", ".gii.gz"))
    with reading(path, "GIFTI" if is_gifti else "patch", remedy):
        vertices, places = _gifti(path, remedy) if is_gifti else _patch(path, remedy)
    if not np.isfinite(places).all():
        raise InputError(f"{path} has places that are not finite; {remedy}.")
    if len(places) and np.ptp(places[:, 2]) > 1e-3 * max(np.ptp(places[:, 0]), np.ptp(places[:, 1])):
        raise InputError(f"{path} is a surface in three dimensions; name a flat one.")
    return vertices, np.ascontiguousarray(places[:, :2], dtype=np.float32)


def _gifti(path: str | Path, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(f"{path} holds more than the {MOST_BYTES:,} bytes of any hemisphere; {remedy}.")
    if b"ExternalFileBinary" in content:
        raise InputError(
            f"{path} keeps its numbers in another file, which is not followed; save it with its numbers inside."
        )
    image = GiftiImage.from_bytes(content)
    points, triangles = (image.get_arrays_from_intent(f"NIFTI_INTENT_{intent}") for intent in ("POINTSET", "TRIANGLE"))
    if not points or not triangles:
        raise InputError(f"{path} holds no surface, which has points and triangles; {remedy}.")
    places, vertices = points[0].data, np.unique(triangles[0].data)
    if places.ndim != 2 or places.shape[1] != 3 or not len(vertices) or vertices[0] < 0 or vertices[-1] >= len(places):
        raise InputError(f"{path} has points {places.shape} and triangles of other points; {remedy}.")
    return vertices.astype(np.int64), places[vertices]


def _patch(path: str | Path, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    content = Path(path).read_bytes()
    first, count = map(int, np.frombuffer(content[:8], dtype=">i4")) if len(content) >= 8 else (0, 0)
    if first != _PATCH or count < 1 or len(content) != 8 + count * _CORNER.itemsize:
        # Told by the wall, which knows what else the file may be.
        raise ValueError(f"{len(content):,} bytes are no patch of {count:,} vertices, as FreeSurfer writes it")
    corners = np.frombuffer(content, dtype=_CORNER, offset=8)
    vertices, first_places = np.unique(np.abs(corners["vertex"].astype(np.int64)) - 1, return_index=True)
    if vertices[0] < 0 or len(vertices) != count:
        raise InputError(f"{path} names a vertex twice, or vertex 0 where numbers begin at 1; {remedy}.")
    return vertices, corners["place"][first_places].astype(np.float32)
