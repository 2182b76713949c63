"""The voxels of a region that one step of a chain reads, of those that its subject was loaded with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from brainrecon.datasets.voxels import ALL, masked_regions
from stages.ground.errors import InputError
from stages.ground.lazy_rows import Rows
from stages.ground.reading.wall import reading
from weights.whole_files import write_text


class RegionVoxels:
    """The voxels that an expression of regions selects; a fitted step keeps them, for a pattern has no regions.

    >>> region = RegionVoxels("V1")
    >>> region.voxels = np.array([True, False, True])
    >>> region.of(np.float32([[1, 2, 3]])).tolist()
    [[1.0, 3.0]]

    Parameters
    ----------
    roi : str
        As `brainrecon.datasets.voxels` describes it.

    Attributes
    ----------
    voxels : bool array of shape (n_voxels,), or None
        None before a choice, and of all voxels.
    """

    def __init__(self, roi):
        self.roi, self.voxels = roi, None

    def choose(self, subject):
        """Find the voxels of a subject.

        Raises
        ------
        InputError
            A region is not there, or there is no voxel.
        """
        self.voxels = region_of(subject, self.roi)

    def of(self, responses):
        """These columns of responses (n, n_voxels), in memory or lazily; the very same ones, if they are all.

        Raises
        ------
        InputError
            There are as many voxels as in no subject that was chosen from.
        """
        if self.voxels is None:
            return responses
        if responses.shape[1] != len(self.voxels):
            raise InputError(
                f"Patterns have {responses.shape[1]:,} voxels but the roi {self.roi} was found among {len(self.voxels):,}; load "
                "the same subject and roi, or fit a decoder on these."
            )
        columns = np.flatnonzero(self.voxels)
        if isinstance(responses, Rows):
            return responses.columns(columns)
        # NumPy lays chosen columns out one after the other, and sums would be rounded otherwise than those of all voxels.
        return np.ascontiguousarray(responses[:, columns])

    def remarks(self):
        """How many there are: a sentence, or none of all voxels."""
        if self.voxels is None:
            return []
        return [f"{self.voxels.sum():,} of {len(self.voxels):,} voxels, of roi {self.roi}."]

    def save(self, folder):
        """Write which they are; nothing of all voxels."""
        save_voxels(folder, self.voxels)

    def open(self, folder):
        """Read what `save` wrote."""
        if self.roi != ALL:
            self.voxels = read_voxels(folder)


def region_of(subject, roi):
    """Voxels that an expression selects of a subject, bool array of shape (n_voxels,); None for all.

    Raises
    ------
    InputError
        A region is not there, has no voxel, or nothing is left.
    """
    if roi == ALL:
        return None
    where = f"{subject.name} (roi {subject.roi})"
    return masked_regions(where, subject.rois, subject.n_voxels).select(roi)


def save_voxels(folder, voxels):
    """Write ``voxels.json``: which voxels a fitted step reads, a bool array; nothing if that is None."""
    if voxels is not None:
        chosen = {"n_voxels": len(voxels), "voxels": np.flatnonzero(voxels).tolist()}
        write_text(Path(folder) / "voxels.json", json.dumps(chosen) + "\n")


def read_voxels(folder):
    """Read what `save_voxels` wrote, bool array of shape (n_voxels,).

    Raises
    ------
    InputError
        The file is absent or damaged.
    """
    path = Path(folder) / "voxels.json"
    with reading(path, "a choice of voxels", f"delete {folder} and fit again with `brainrecon fit`"):
        chosen = json.loads(path.read_text(encoding="utf-8"))
        voxels = np.zeros(chosen["n_voxels"], dtype=bool)
        voxels[chosen["voxels"]] = True
    return voxels
