"""What a region adds to a reconstruction: its responses to one stimulus put into the responses to another."""

import numpy as np

from brainrecon.datasets.voxels import masked_regions
from stages.ground.errors import InputError


def exchanged(subject, roi, patterns, donors):
    """Patterns whose region is taken from other patterns, as NeuroPictor exchanges areas of the cortex (Huo et al. 2024).

    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> from brainrecon.datasets import load
    >>> write_template("exchanged")
    >>> subject = load("arrays:exchanged")
    >>> first, second = subject.test.patterns[:1], subject.test.patterns[1:2]
    >>> bool((exchanged(subject, "all", first, second) == second).all())
    True

    The authors copy pixels of a raster. Here the places themselves are exchanged, before anything is drawn of them.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
        Whose regions these are.
    roi : str
        Of the loaded regions, as `brainrecon.datasets.voxels` describes: ``V2 + V3 + V4``. The name of the roi that was loaded,
        or ``all``, are all voxels.
    patterns : array of shape (n, n_voxels)
        Left as they are.
    donors : array of shape (n, n_voxels) or (1, n_voxels)

    Returns
    -------
    mixed : array of shape (n, n_voxels), of the type of `patterns`

    Raises
    ------
    InputError
        Arrays of other shapes, or a region that is not there.
    """
    given, other = np.asarray(patterns), np.asarray(donors)
    for name, array, counts in (("patterns", given, {len(given)}), ("donors", other, {1, len(given)})):
        if array.ndim != 2 or array.shape[1] != subject.n_voxels or len(array) not in counts:
            raise InputError(
                f"The {name} have shape {array.shape}; expected {len(given):,} rows of the {subject.n_voxels:,} voxels of "
                f"{subject.source or subject.name}" + (", or one row for all." if name == "donors" else ".")
            )
    where = f"{subject.name}, loaded as {subject.roi}"
    inside = masked_regions(where, subject.rois, subject.n_voxels, subject.roi).select(roi)
    return np.where(inside, other, given).astype(given.dtype, copy=False)
