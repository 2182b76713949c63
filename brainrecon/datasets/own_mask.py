"""A mask of one's own: the region ``mask``, from a NIfTI, a .npy file, or an array."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from brainrecon.datasets.arrays.parts import MASK, as_mask
from stages.ground.errors import InputError
from stages.ground.reading.nifti_files import open_nifti, read_nifti
from stages.ground.reading.numpy_files import read_npy

SAME_PLACE = 1e-3
"""Millimetres by which two affines may differ."""


@dataclass(frozen=True, eq=False)
class OwnMask:
    """A mask as it was given.

    Attributes
    ----------
    name : str
        Of its file, for messages, or "the array".
    values : bool array
        (x, y, z), or (n_voxels,).
    affine : array of shape (4, 4), or None if it is not said
    """

    name: str
    values: np.ndarray
    affine: np.ndarray | None = None

    @property
    def details(self):
        """What is recorded of it beside a score."""
        packed = np.packbits(self.values).tobytes() + repr(self.values.shape).encode()
        return {MASK: {"file": self.name, "voxels": int(self.values.sum()), "sha256": sha256(packed).hexdigest()[:16]}}

    def in_volume(self, shape, affine=None):
        """The mask on a grid of (x, y, z) voxels, bool; an InputError if it is on another."""
        if self.values.shape != tuple(shape):
            raise InputError(
                f"The mask {self.name} has shape {self.values.shape} but the responses {tuple(shape)}; resample it to them."
            )
        if affine is not None and self.affine is not None and not np.allclose(self.affine, affine, atol=SAME_PLACE):
            raise InputError(
                f"The mask {self.name} has {self.values.shape} voxels as the responses have, but another affine; resample it to "
                "them."
            )
        return self.values

    def in_columns(self, n_voxels, grid=None):
        """The mask over voxels, bool (n_voxels,): as it is, or looked up where a grid says where they are."""
        if self.values.ndim == 3 and grid is not None:
            return self.in_volume(grid.shape, grid.affine)[tuple(grid.indices.T)]
        if self.values.shape != (n_voxels,):
            raise InputError(
                f"The mask {self.name} has shape {self.values.shape} but there are {n_voxels:,} voxels; give one value of 0 or 1 "
                "for each."
            )
        return self.values


def read_mask(mask):
    """A mask of one's own, or None.

    Parameters
    ----------
    mask : path, array of bools or of 0 and 1, or None
        A NIfTI (.nii, .nii.gz) or .npy file, or an array: (x, y, z), or (n_voxels,).

    Returns
    -------
    mask : OwnMask or None

    Raises
    ------
    InputError
        The file cannot be read, or holds no mask, or one without a voxel.
    """
    if mask is None:
        return None
    if not isinstance(mask, str | Path):
        own = OwnMask("the array", as_mask(mask, "The mask"))
    else:
        path = Path(mask).expanduser()
        if not path.is_file():
            raise InputError(f"There is no mask {path}; name a NIfTI or .npy file.")
        if path.name.endswith((".nii", ".nii.gz")):
            values, affine = read_nifti(path, "save the mask again"), open_nifti(path, "save the mask again").affine
            # Some programs write one volume as four axes, the last of length one.
            values = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values
            own = OwnMask(path.name, as_mask(values, path), affine)
        elif path.suffix == ".npy":
            own = OwnMask(path.name, as_mask(read_npy(path), path))
        else:
            raise InputError(
                f"{path} is no mask that can be read; save it as NIfTI (.nii.gz) or with numpy.save (.npy)."
            )
    if not own.values.any():
        raise InputError(f"The mask {own.name} holds no voxel; save one that is 1 where voxels are wanted.")
    return own
