"""Where voxels are: the way back from a pattern to a volume in the subject's own grid."""

import gzip
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from brainrecon.datasets.spaces.space import checked_values

GRID = "voxel_indices.npy"


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """The places of a subject's voxels in a volume.

    >>> grid = VoxelGrid.of_mask(np.array([[[True, False], [False, True]]]), np.diag([2.0, 2, 2, 1]))
    >>> grid.indices.tolist()
    [[0, 0, 0], [0, 1, 1]]
    >>> float(grid.to_nifti([5, 7]).get_fdata()[0, 1, 1])
    7.0

    Parameters
    ----------
    shape : tuple of int
        (x, y, z) of the volume.
    affine : array of shape (4, 4), float
        From (x, y, z) indices, counted from 0, to millimetres, as the files say.
    indices : array of shape (n_voxels, 3), int
        The (x, y, z) of each voxel, in the order of the columns of the patterns.
    """

    kind: ClassVar[str] = "grid"
    unit: ClassVar[str] = "voxels"
    shape: tuple[int, int, int]
    affine: np.ndarray
    indices: np.ndarray

    @classmethod
    def of_mask(cls, mask, affine):
        """The voxels of a mask (x, y, z), in C order, as the datasets here keep them."""
        return cls(tuple(map(int, mask.shape)), np.asarray(affine, dtype=np.float64), np.argwhere(mask))

    def __len__(self):
        return len(self.indices)

    def columns(self, chosen):
        """The grid of some of the voxels, chosen like columns of the patterns."""
        return VoxelGrid(self.shape, self.affine, self.indices[chosen])

    def facts(self):
        """As `brainrecon.datasets.spaces.space.Space` says."""
        return {"shape": list(self.shape), "affine": self.affine.tolist()}

    def arrays(self):
        """As `brainrecon.datasets.spaces.space.Space` says."""
        return {GRID: self.indices}

    def files(self, values):
        """One NIfTI file."""
        # Packed without the time of day, so that equal maps are equal files.
        return {".nii.gz": ("", gzip.compress(self.to_nifti(values).to_bytes(), mtime=0))}

    def to_nifti(self, values, outside=np.nan):
        """A volume, or several, of a value for each voxel.

        Parameters
        ----------
        values : array of shape (n_voxels,) or (n_maps, n_voxels)
        outside : float
            What other places of the volume get; 0 where the values are whole numbers or bools.

        Returns
        -------
        image : nibabel.Nifti1Image
            (x, y, z) or (x, y, z, n_maps); float32, or int16 where the values are whole numbers that fit, or bools.

        Raises
        ------
        InputError
            There is another number of values than of voxels.
        """
        import nibabel

        values = checked_values(values, self)
        whole = values.dtype.kind in "biu" and (not values.size or np.abs(values.astype(np.int64)).max() < 2**15)
        dtype, outside = (np.int16, 0) if whole else (np.float32, outside)
        volumes = np.full((*self.shape, *values.shape[:-1]), outside, dtype=dtype)
        volumes[tuple(self.indices.T)] = values.T
        image = nibabel.Nifti1Image(volumes, self.affine)
        image.header.set_xyzt_units("mm")
        return image
