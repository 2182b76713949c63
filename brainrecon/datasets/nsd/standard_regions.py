"""Regions in the standard volume MNI, where NSD releases betas and which voxels they reached, and no regions.

nsddata_betas/ppdata/subj01/MNI/betas_fithrf/
  betas_session01.nii.gz, ...    (182, 218, 182, trials) int16, percent signal change times 300; 0 where there are no data
  valid_session01.nii.gz, ...    (182, 218, 182), above 0 where the session has data                  optional
nsddata/ppdata/subj01/MNI/roi/
  nsdgeneral.nii.gz, ...         regions that you mapped there, such as with nsdcode, on the same grid    optional
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainrecon.datasets.nsd.betas import session_shape
from brainrecon.datasets.nsd.layout import STANDARD, Layout
from brainrecon.datasets.nsd.rois import Region, read_rois
from brainrecon.datasets.nsd.volumes import read_volume
from brainrecon.datasets.own_mask import SAME_PLACE
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.nifti_files import open_nifti

VALID = "valid"
"""All voxels that every session which is used has data of."""


def read_standard_regions(
    layout: Layout, subject: str, version: str, files: dict[int, Path]
) -> tuple[dict[str, Region], np.ndarray, str]:
    """All regions of a subject in the standard volume, by name.

    Parameters
    ----------
    layout : brainrecon.datasets.nsd.layout.Layout
    subject, version : str
    files : dict of int to pathlib.Path
        Session to its betas.

    Returns
    -------
    regions : dict of str to brainrecon.datasets.nsd.rois.Region
        Those that somebody put there, as in other volumes, and last `VALID`.
    affine : array of shape (4, 4)
        Of the betas.
    note : str
        What `VALID` is.

    Raises
    ------
    InputError
        A file is damaged, or on another grid than the betas.
    """
    first = next(iter(files.values()))
    affine = open_nifti(first).affine
    regions: dict[str, Region] = {}
    if visible(layout.rois(subject, STANDARD), "*.nii.gz"):
        regions = read_rois(layout, subject, STANDARD)
    for path in {region.path for region in regions.values()}:
        found = open_nifti(path).affine
        # Standard brains are stored from left to right and from right to left.
        if not np.allclose(found, affine, atol=SAME_PLACE):
            raise InputError(
                f"{path} lies at another place than {first}, the rows of their affines begin with {_first_row(found)} and "
                f"{_first_row(affine)}; resample it to the betas."
            )
    shape = session_shape(first)[1]
    valid, n_found = np.ones(shape, dtype=bool), 0
    for session in files:
        path = layout.valid(subject, version, session)
        if path.is_file():
            volume = read_volume(path)
            if volume.shape != shape:
                raise InputError(f"{path} has shape {volume.shape} but {first} {shape}; copy both from the NSD bucket.")
            valid &= volume > 0
            n_found += 1
    regions[VALID] = Region(VALID, first, valid.astype(np.int16))
    unpacked = np.prod(shape) * session_shape(first)[0] * 2 / 1e9
    note = (
        f"{VALID}: {valid.sum():,} of {valid.size:,} voxels of {STANDARD}, those with data in every session, which {n_found} of "
        f"{len(files)} sessions tell; reading a session unpacks all of it, {unpacked:.3g} GB"
    )
    return regions, affine, note


def _first_row(affine: np.ndarray) -> str:
    return ", ".join(f"{number:g}" for number in affine[0])
