"""Responses in the regions: release 2's betas as arrays, and release 1's single volumes.

FOLDER/
  BOLD5000_GLMsingle_ROI_betas/py/
    CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses_LHEarlyVis.npy     (trials, voxels), a file for each region
  ROIs/CSI1/h5/CSI1_ROIs_TR34.h5           LHEarlyVis, ... (trials, voxels): release 1
  ROIs/CSI1/mat/CSI1_ROIs_TR34.mat         the same
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brainrecon.datasets.bold5000.layout import KNOWN_REGIONS, SIDES, in_order, region_files, region_of
from brainrecon.datasets.bold5000.lines import AGAIN
from brainrecon.datasets.hdf5_rows import Hdf5Rows
from brainrecon.datasets.nsd.betas import SessionStore
from brainrecon.datasets.split import check_finite
from stages.ground.errors import InputError
from stages.ground.reading.hdf5_files import hdf5_file
from stages.ground.reading.matlab_matrices import read_matrices
from stages.ground.reading.numpy_files import read_npy

FINITE_REMEDY = "leave those voxels out with --roi finite, or copy the file again"


class Region(NamedTuple):
    """Responses in one region.

    Attributes
    ----------
    file : pathlib.Path
    values : array of shape (n_trials, n_voxels)
        Mapped, lazy or in memory; of any type of numbers.
    """

    file: Path
    values: Any


def read_second_release(path: Path, subject: str, model: str) -> dict[str, Region]:
    """Regions of release 2, by name in order; an InputError if there are none or they do not fit each other."""
    files = region_files(path, subject, model)
    if not files:
        raise InputError(
            f"{path} has no BOLD5000_GLMsingle_ROI_betas/py/{subject}_GLMbetas-TYPE{model}-..._allses_LHEarlyVis.npy and others; "
            "unpack BOLD5000_GLMsingle_ROI_betas.zip of figshare 14456124 there."
        )
    return _checked({name: Region(file, read_npy(file, mapped=True, remedy=AGAIN)) for name, file in files.items()})


def read_first_release(file: Path) -> dict[str, Region]:
    """Regions of one file of release 1, by name in order; an InputError if it holds none or they do not fit each other."""
    if file.suffix == ".mat":
        content: dict[str, Any] = dict(read_matrices(file, AGAIN))
    else:
        with hdf5_file(file, AGAIN) as opened:
            names = [name for name in opened if region_of(name)]
        content = {name: Hdf5Rows(file, name) for name in names}
    regions: dict[str, Region] = {}
    for name, values in content.items():
        if not (region := region_of(name)):
            continue
        if region in regions:
            raise InputError(f"{file} holds {region} twice, in two spellings; {AGAIN}.")
        regions[region] = Region(file, values)
    if not regions:
        raise InputError(f"{file} holds no region such as LHEarlyVis but {', '.join(content) or 'nothing'}; {AGAIN}.")
    return _checked({name: regions[name] for name in in_order(regions)})


def _checked(regions: dict[str, Region]) -> dict[str, Region]:
    (first, reference), *_ = regions.items()
    for name, (file, values) in regions.items():
        if len(values.shape) != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
            raise InputError(
                f"{name} in {file} is {values.dtype} {tuple(values.shape)}; expected numbers (trials, voxels): {AGAIN}."
            )
        if len(values) != len(reference.values):
            raise InputError(
                f"{name} in {file} has {len(values):,} trials but {first} {len(reference.values):,}; take both from one archive."
            )
    return regions


def absent_regions(regions) -> list[str]:
    """A note that names what is lacking of the ten regions, or no note."""
    lacking = [side + name for name in KNOWN_REGIONS for side in SIDES if side + name not in regions]
    return [f"no {', '.join(lacking)}"] if lacking else []


def masks_of(widths: dict[str, int]) -> dict[str, np.ndarray]:
    """Masks over all columns: of both hemispheres by the name of the region alone, then of each; in the order of columns.

    >>> {name: mask.tolist() for name, mask in masks_of({"LHPPA": 1, "RHPPA": 2}).items()}
    {'PPA': [True, True, True], 'LHPPA': [True, False, False], 'RHPPA': [False, True, True]}
    """
    owners = np.repeat(list(widths), list(widths.values()))
    both = list(dict.fromkeys(name[2:] for name in widths))
    return {name: np.char.endswith(owners, name) & (np.char.str_len(owners) == len(name) + 2) for name in both} | {
        name: owners == name for name in widths
    }


class RegionStore(SessionStore):
    """The chosen voxels of the regions, read session by session.

    Parameters
    ----------
    regions : dict of str to Region
    chosen : bool array of shape (n_voxels,)
        Over the columns of all regions, one after the other.
    sessions : dict of int to array of int
        Session to its rows.
    reference_rows : dict of int to array of int, optional
        As `brainrecon.datasets.nsd.betas.SessionStore` takes it.
    """

    is_quick = True

    def __init__(self, regions, chosen, sessions, reference_rows=None):
        files = {session: next(iter(regions.values())).file.parent for session in sessions}
        super().__init__(files, chosen, reference_rows, scale=1)
        self._rows, self._parts, start = sessions, [], 0
        for file, values in regions.values():
            inside = np.flatnonzero(chosen[start : start + values.shape[1]])
            start += values.shape[1]
            if len(inside):
                self._parts.append((file, values, inside))

    def read(self, session):
        """As that of `brainrecon.datasets.nsd.betas.SessionStore`."""
        if session not in self._kept:
            self._kept[session] = np.concatenate([self._of(part, self._rows[session]) for part in self._parts], axis=1)
            while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self.cache_bytes:
                self._kept.popitem(last=False)
        self._kept.move_to_end(session)
        return self._kept[session]

    def _of(self, part, rows):
        file, values, inside = part
        block = np.asarray(values[rows[0] : rows[-1] + 1])[rows - rows[0]][:, inside].astype(np.float32)
        check_finite(block, file, FINITE_REMEDY)
        return block


def mean_and_spread(betas) -> tuple[float, float]:
    """One mean and standard deviation (ddof 0) of all values of responses that are read by rows."""
    count, total, squares = math.prod(betas.shape), 0.0, 0.0
    for start in range(0, len(betas), 256):
        total += float(np.sum(betas[start : start + 256], dtype=np.float64))
    mean = total / count
    for start in range(0, len(betas), 256):
        squares += float(np.sum((betas[start : start + 256].astype(np.float64) - mean) ** 2))
    return mean, math.sqrt(squares / count)
