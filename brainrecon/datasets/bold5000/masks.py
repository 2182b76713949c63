"""Masks of the regions (derivatives/spm of ds001499), and where the columns of a region's responses lie in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainrecon.datasets.bold5000.layout import mask_files
from brainrecon.datasets.bold5000.lines import AGAIN
from brainrecon.datasets.own_mask import SAME_PLACE, as_mask
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from stages.ground.errors import InputError
from stages.ground.reading.nifti_files import open_nifti, read_nifti
from stages.ground.reading.wall import reading

ORDERS = ("C", "F")
"""How a volume's voxels become columns: the last axis runs fastest, as in NumPy, or the first, as in MATLAB."""
ROUNDED = 1e-3
"""Parts of their size by which betas of one voxel may differ between two files."""


@dataclass(frozen=True)
class Masks:
    """Masks on one grid.

    Attributes
    ----------
    volumes : dict of str to bool array of shape (x, y, z)
    affine : array of shape (4, 4)
    folder : pathlib.Path
    """

    volumes: dict[str, np.ndarray]
    affine: np.ndarray
    folder: Path

    @property
    def shape(self) -> tuple[int, ...]:
        return next(iter(self.volumes.values())).shape


def read_masks(path: Path, subject: str) -> Masks | None:
    """The masks of a subject, None if there are none; an InputError if one is damaged or on another grid."""
    files = mask_files(path, subject)
    volumes: dict[str, np.ndarray] = {}
    for name, file in files.items():
        image = open_nifti(file, AGAIN)
        values = as_mask(read_nifti(file, AGAIN), file)
        if values.ndim == 4 and values.shape[3] == 1:
            values = values[..., 0]
        if values.ndim != 3:
            raise InputError(f"{file} has shape {values.shape}; expected a mask (x, y, z): {AGAIN}.")
        if not volumes:
            first, affine = file, image.affine
        elif values.shape != next(iter(volumes.values())).shape or not np.allclose(
            image.affine, affine, atol=SAME_PLACE
        ):
            raise InputError(
                f"{file} has {values.shape} voxels and {first} {next(iter(volumes.values())).shape}, or another affine; take "
                "both from one subject."
            )
        volumes[name] = values
    return Masks(volumes, affine, first.parent) if volumes else None


def place_of_columns(
    masks: Masks, widths: dict[str, int], first_row, volume_file: Path | None, order: str | None
) -> tuple[VoxelGrid | None, list[str]]:
    """Where the columns of the regions lie, None if that is not known, and notes.

    Parameters
    ----------
    masks : Masks
    widths : dict of str to int
        Columns of each region, in order.
    first_row : array of shape (n_voxels,)
        Responses of the first trial.
    volume_file : pathlib.Path, optional
        The first session's betas of the whole brain and the same model, which settle the order.
    order : {"C", "F"}, optional
    """
    counts = {name: int(masks.volumes[name].sum()) if name in masks.volumes else 0 for name in widths}
    wrong = [name for name, width in widths.items() if counts[name] != width]
    if wrong:
        name = wrong[0]
        return None, [
            f"places of voxels are not known: {name} has {widths[name]:,} columns but its mask in {masks.folder.name} "
            f"{counts[name]:,} voxels"
        ]
    indices = {one: _indices(masks, widths, one) for one in ORDERS}
    grids = {one: VoxelGrid(masks.shape, masks.affine, found) for one, found in indices.items()}
    twice = sum(widths.values()) - len(np.unique(indices["C"], axis=0))
    notes = [f"{twice:,} voxels are in two regions, and so twice among the columns"] if twice else []
    fitting = [one for one in ORDERS if volume_file and _fits(volume_file, indices[one], first_row)]
    if volume_file and not fitting:
        return None, [
            *notes,
            f"places of voxels are not known: betas of the regions are in no order those of {volume_file.name}",
        ]
    if fitting and order not in (None, *fitting):
        raise InputError(
            f"voxel_order is {order!r} but {volume_file} shows that columns are in order {fitting[0]}; leave voxel_order out."
        )
    if fitting:
        return grids[fitting[0]], notes
    if order is None:
        notes.append(
            "columns are taken to follow their mask in C order, which is not established (voxel_order=F for the other)"
        )
    return grids[order or "C"], notes


def _indices(masks: Masks, widths, order: str) -> np.ndarray:
    if order == "C":
        return np.concatenate([np.argwhere(masks.volumes[name]) for name in widths])
    return np.concatenate([np.argwhere(masks.volumes[name].T)[:, ::-1] for name in widths])


def _fits(volume_file: Path, indices: np.ndarray, row: np.ndarray) -> bool:
    image = open_nifti(volume_file, AGAIN)
    if image.ndim != 4 or (indices >= np.array(image.shape[:3])).any():
        return False
    with reading(volume_file, "NIfTI", AGAIN):
        # The first volume alone: the rest stays packed.
        volume = np.asanyarray(image.dataobj[..., 0])
    found, row = volume[tuple(indices.T)].astype(np.float64), np.asarray(row, dtype=np.float64)
    known = np.isfinite(found) & np.isfinite(row)
    return bool(
        known.any() and np.allclose(found[known], row[known], rtol=ROUNDED, atol=ROUNDED * np.abs(row[known]).max())
    )
