"""What the table of voxels says: where each is, its noise ceiling, and which regions it is in.

A row per voxel, and more than 200 columns: ``voxel_id``, ``subject_id``, ``voxel_x``, ``voxel_y``, ``voxel_z``,
``nc_testset``, ...
Columns that are not named here or in `NO_REGIONS` are regions, 1 for the voxels in it and 0 for all others.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.things_fmri.regions import named_regions
from stages.ground.errors import InputError
from stages.ground.reading.wall import reading

VOXEL, SUBJECT, CEILING = "voxel_id", "subject_id", "nc_testset"
PLACES = ("voxel_x", "voxel_y", "voxel_z")
NO_REGIONS = ("nc_", "splithalf_", "prf-")
"""How columns begin that hold numbers of a voxel and are not read."""
ROWS_AT_ONCE = 20_000
REMEDY = "copy the original file again"


@dataclass(frozen=True)
class Voxels:
    """All voxels of a subject, in the order of the table.

    Attributes
    ----------
    ids : array of int, shape (n_voxels,)
    places : array of int, shape (n_voxels, 3), or None
        Where each is in the volume, x, y, z, from 0.
    ceiling : array of shape (n_voxels,), float32, or None
        Noise ceiling of the averaged test responses in percent.
    n_without_ceiling : int
        Voxels whose ceiling is not finite, which is taken for 0.
    regions : dict of str to bool array of shape (n_voxels,)
    """

    ids: NDArray
    places: NDArray | None
    ceiling: NDArray | None
    n_without_ceiling: int
    regions: dict[str, NDArray]


def read_voxels(path, number):
    """Read the table of voxels of a subject.

    Parameters
    ----------
    path : pathlib.Path
    number : int
        Of the subject.

    Returns
    -------
    voxels : Voxels

    Raises
    ------
    InputError
        The file is absent, damaged or another subject's.
    """
    with reading(path, "CSV", REMEDY), open(path, newline="", encoding="utf-8-sig") as file:
        head = [name.strip() for name in next(csv.reader(file), [])]
        _check_head(path, head)
        regions = [name for name in head if name not in (VOXEL, SUBJECT, *PLACES) and not name.startswith(NO_REGIONS)]
        numbers = [name for name in (VOXEL, SUBJECT, *PLACES, CEILING) if name in head]
        columns, inside = _values(file, path, head, numbers, regions)
    if not len(inside):
        raise InputError(f"{path} has no row below its head; {REMEDY}.")
    ids = columns[VOXEL]
    if not _are_whole(ids) or len(np.unique(ids)) != len(ids):
        raise InputError(f"{VOXEL} in {path} does not hold whole numbers, each once; {REMEDY}.")
    others = np.unique(columns[SUBJECT][columns[SUBJECT] != number]) if SUBJECT in columns else []
    if len(others):
        raise InputError(
            f"{path} holds voxels of subject {others[0]:g}, not of {number}; rename the file, or copy it again."
        )
    places = np.stack([columns[name] for name in PLACES], axis=1) if all(name in columns for name in PLACES) else None
    if places is not None and not (_are_whole(places) and (places >= 0).all()):
        raise InputError(f"{', '.join(PLACES)} in {path} are not whole numbers from 0 on; {REMEDY}.")
    ceiling, n_without = _ceiling(path, columns.get(CEILING))
    return Voxels(
        ids.astype(np.int64),
        None if places is None else places.astype(np.int64),
        ceiling,
        n_without,
        named_regions(dict(zip(regions, inside.T)), path),
    )


def _check_head(path, head):
    twice = next((name for name in head if head.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path} has two columns {twice!r}; keep one of them.")
    if VOXEL not in head:
        raise InputError(f"{path} has no column {VOXEL} but {', '.join(head[:3]) or 'nothing'}, ...; {REMEDY}.")


def _values(file, path, head, numbers, regions):
    """Columns of numbers by name, and (n_voxels, n_regions) bool; a block of rows after the other."""
    import pandas

    places = [head.index(name) for name in (*numbers, *regions)]
    parts, masks = [], []
    try:
        blocks = pandas.read_csv(file, header=None, dtype=np.float64, chunksize=ROWS_AT_ONCE)
    except pandas.errors.EmptyDataError:
        blocks = []
    for block in blocks:
        if block.shape[1] != len(head):
            raise InputError(f"{path} has {len(head):,} columns in its head and {block.shape[1]:,} below it; {REMEDY}.")
        rows = block.to_numpy()[:, places]
        inside = rows[:, len(numbers) :]
        if len(bad := np.argwhere((inside != 0) & (inside != 1))):
            row, column = bad[0]
            raise InputError(
                f"Column {regions[column]!r} of {path} holds {inside[row, column]:g} where a region has 0 or 1; {REMEDY}."
            )
        parts.append(rows[:, : len(numbers)])
        masks.append(inside.astype(bool))
    table = np.concatenate(parts) if parts else np.empty((0, len(numbers)))
    inside = np.concatenate(masks) if masks else np.empty((0, len(regions)), dtype=bool)
    return dict(zip(numbers, table.T)), inside


def _are_whole(values):
    return bool(np.isfinite(values).all() and (values == np.rint(values)).all())


def _ceiling(path, values):
    """Percent, 0 for values that are not finite, and how many these are; None if there is no such column."""
    if values is None:
        return None, 0
    absent = ~np.isfinite(values)
    known = np.where(absent, 0, values)
    if known.min() < 0 or known.max() > 100:
        bad = known[(known < 0) | (known > 100)][0]
        raise InputError(f"{CEILING} in {path} is {bad:g} for a voxel; expected percent, 0 to 100: {REMEDY}.")
    return known.astype(np.float32), int(absent.sum())
