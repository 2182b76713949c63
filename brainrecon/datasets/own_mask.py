"""A mask of one's own: the region ``mask``, from a NIfTI, CIFTI or .npy file, or an array, for every kind of data.

`brainrecon.datasets.load` reads the mask. A reader that lists `OWN_MASK` among its options is given it as an `OwnMask`, and
offers it beside its own regions. Of any other reader it chooses among the voxels that are loaded by default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import Option
from brainrecon.datasets.spaces.grayordinates import Grayordinates
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.datasets.voxels import MASK, masked_regions
from stages.ground.errors import InputError
from stages.ground.reading.cifti_files import open_cifti, read_maps
from stages.ground.reading.nifti_files import open_nifti, read_nifti
from stages.ground.reading.numpy_files import read_npy

OWN_MASK = Option(
    MASK, "a NIfTI, CIFTI or .npy of your own, the region 'mask', used alone unless the roi says otherwise; as --mask"
)
CIFTI = (".dscalar.nii", ".dlabel.nii", ".dtseries.nii")
SAME_PLACE = 1e-3
"""Millimetres by which two affines may differ."""
OFF_GRID = 0.1
"""Parts of a voxel by which coordinates may lie beside the grid of a mask: files round them."""
ROUNDED = 1e-3
"""By so much a value of a mask may differ from 0 or 1."""


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
    places : Grayordinates, or None if it is not from a CIFTI file
        Where its values are.
    """

    name: str
    values: np.ndarray
    affine: np.ndarray | None = None
    places: Grayordinates | None = None

    @property
    def details(self):
        """What is recorded of it beside a score: its name and 12 digits of a hash of its voxels."""
        packed = np.packbits(self.values).tobytes() + repr(self.values.shape).encode()
        return {MASK: f"{self.name} {sha256(packed).hexdigest()[:12]}"}

    def in_volume(self, voxels, affine=None, n_values=None):
        """The mask on a grid, bool (x, y, z); an InputError if it is on another.

        Parameters
        ----------
        voxels : bool array of shape (x, y, z)
            The voxels that are used by default; a mask (n_voxels,) holds a value for each of these, in C order.
        affine : array of shape (4, 4), optional
        n_values : int, optional
            How many values these voxels have, for messages, if some have several.
        """
        if self.values.shape == (voxels.sum(),):
            volume = np.zeros(voxels.shape, dtype=bool)
            volume[voxels] = self.values
            return volume
        if self.values.shape != voxels.shape:
            raise InputError(
                f"The mask {self.name} has shape {self.values.shape} but the responses {voxels.shape}; resample it to them, or "
                f"give one value of 0 or 1 for each of the {n_values or voxels.sum():,} voxels that are used by default."
            )
        if affine is not None and self.affine is not None and not np.allclose(self.affine, affine, atol=SAME_PLACE):
            raise InputError(
                f"The mask {self.name} has {self.values.shape} voxels as the responses have, but another affine; resample it to "
                "them."
            )
        return self.values

    def in_columns(self, n_voxels, space=None, millimetres=None):
        """The mask over voxels, bool (n_voxels,): as it is, or looked up where the voxels are.

        Parameters
        ----------
        n_voxels : int
        space : brainrecon.datasets.spaces.space.Space, optional
            Of the values; a mask (x, y, z) is looked up in a volume.
        millimetres : array of shape (n_voxels, 3), optional
            Of the voxels, in the space of the mask's affine, if the data know these alone.

        Raises
        ------
        InputError
            The mask does not fit these voxels.
        """
        if self.places is not None and isinstance(space, Grayordinates):
            return space.look_up(self.places, self.values[None], f"The mask {self.name}")[0].astype(bool)
        grid = space if isinstance(space, VoxelGrid) else None
        if self.values.ndim == 3 and grid is not None:
            voxels = np.zeros(grid.shape, dtype=bool)
            voxels[tuple(grid.indices.T)] = True
            return self.in_volume(voxels, grid.affine, n_voxels)[tuple(grid.indices.T)]
        if self.values.ndim == 3 and millimetres is not None:
            return self.values[tuple(self._indices(np.asarray(millimetres)).T)]
        if self.values.shape != (n_voxels,):
            where = "" if grid is None and millimetres is None else ", or a NIfTI in the subject's own space"
            raise InputError(
                f"The mask {self.name} has shape {self.values.shape} but there are {n_voxels:,} voxels; give one value of 0 or 1 "
                f"for each{where}."
            )
        return self.values

    def _indices(self, millimetres):
        """The (x, y, z) of voxels in the mask's own volume, int (n_voxels, 3)."""
        if self.affine is None or np.linalg.det(self.affine) == 0:
            raise InputError(
                f"The mask {self.name} has shape {self.values.shape} and no affine that says where that is, but the data have "
                f"{len(millimetres):,} voxels in millimetres; save it as NIfTI, or give one value of 0 or 1 for each voxel."
            )
        places = (millimetres - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
        nearest = np.rint(places)
        beside = ~(np.abs(places - nearest).max(axis=1) <= OFF_GRID)
        outside = beside | ((nearest < 0) | (nearest >= self.values.shape)).any(axis=1)
        if outside.any():
            raise InputError(
                f"{outside.sum():,} of {len(places):,} voxels lie beside the grid of the mask {self.name}, which is "
                f"{self.values.shape}; resample it to the subject's own space, or give one value of 0 or 1 for each voxel."
            )
        return nearest.astype(int)

    def beside(self, regions, values):
        """Regions with this one beside them; `values` is the mask over what the others are masks of."""
        mask_of = regions.mask_of
        return replace(
            regions,
            names=(*(name for name in regions.names if name != MASK), MASK),
            mask_of=lambda name: values if name == MASK else mask_of(name),
        )


def as_mask(values, where):
    """A region's mask, bool of the same shape, from bools or numbers that are all 0 or 1; else an InputError.

    Numbers within `ROUNDED` of 0 or 1 are taken for them: a NIfTI that stores a scale factor gives back 0.9999999.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise InputError(f"{where} is {values.dtype}; expected a mask of bools, or of 0 and 1.")
    numbers = values.astype(np.float64)
    near = numbers > 0.5
    # A value that is not finite is near nothing.
    other = values[~(np.abs(numbers - near) <= ROUNDED)]
    if other.size:
        raise InputError(f"{where} holds {other.flat[0]:.9g} beside 0 and 1; save a mask of 0 and 1, one per voxel.")
    return near.astype(bool)


def read_mask(mask):
    """A mask of one's own, or None.

    Parameters
    ----------
    mask : path, array of bools or of 0 and 1, OwnMask, or None
        A NIfTI (.nii, .nii.gz), CIFTI (.dscalar.nii) or .npy file, or an array: (x, y, z), or (n_voxels,).

    Returns
    -------
    mask : OwnMask or None

    Raises
    ------
    InputError
        The file cannot be read, or holds no mask, or one without a voxel.
    """
    if mask is None or isinstance(mask, OwnMask):
        return mask
    if not isinstance(mask, str | Path):
        own = OwnMask("the array", as_mask(mask, "The mask"))
    else:
        path = Path(mask).expanduser()
        if not path.is_file():
            raise InputError(f"There is no mask {path}; name a NIfTI or .npy file.")
        if path.name.endswith(CIFTI):
            own = _of_cifti(path)
        elif path.name.endswith((".nii", ".nii.gz")):
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


def _of_cifti(path):
    maps = open_cifti(path, "save the mask again")
    if maps.shape[0] != 1:
        raise InputError(f"{path} holds {maps.shape[0]:,} maps; save a mask of one.")
    values = read_maps(maps, np.arange(1), remedy="save the mask again")[0]
    # Of a map of a region, what lies outside is often NaN.
    values = np.nan_to_num(values) if values.dtype.kind == "f" else values
    return OwnMask(path.name, as_mask(values, path), places=Grayordinates.of_axis(maps.places, path))


def chosen_voxels(where, rois, roi, n_voxels, whole, mask=None, **places):
    """The voxels of a roi of data whose regions are masks, and what each region has of them.

    Parameters
    ----------
    where : str or path
        Whose regions they are, for messages.
    rois : dict of str to bool array of shape (n_voxels,)
    roi : str or None
        As `brainrecon.datasets.voxels` describes; `whole` if it is None.
    n_voxels : int
    whole : str
        The name of all voxels.
    mask : OwnMask, optional
    **places
        `space` or `millimetres` of the voxels, as `OwnMask.in_columns` takes them.

    Returns
    -------
    chosen : bool array of shape (n_voxels,)
    rois : dict of str to bool array of shape (n_chosen,)
        Those that have a voxel among the chosen.

    Raises
    ------
    InputError
        A roi that is unknown or leaves no voxel, or a mask that does not fit.
    """
    if mask is not None:
        rois = rois | {MASK: mask.in_columns(n_voxels, **places)}
    chosen = masked_regions(where, rois, n_voxels, whole).select(whole if roi is None else roi)
    return chosen, {name: inside[chosen] for name, inside in rois.items() if inside[chosen].any()}


def within_mask(subject, mask, roi):
    """A subject whose reader knows no masks, with the voxels of a roi among those that were loaded.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    mask : OwnMask
        Over the subject's voxels.
    roi : str
        Of the subject's regions and ``mask``.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
    """
    chosen, rois = chosen_voxels(
        subject.source, subject.rois, roi, subject.n_voxels, subject.roi, mask, space=subject.space
    )
    return replace(
        subject,
        splits={name: split.columns(chosen) for name, split in subject.splits.items()},
        roi=roi,
        rois=rois,
        noise_ceiling=None if subject.noise_ceiling is None else subject.noise_ceiling[chosen],
        space=None if subject.space is None else subject.space.columns(chosen),
        encoding_models={name: weights[:, chosen] for name, weights in subject.encoding_models.items()},
    )
