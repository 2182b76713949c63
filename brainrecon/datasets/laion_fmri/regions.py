"""Regions of LAION-fMRI: a mask in the subject's own volume for each, in a folder for each category.

A region has the name that its file has (``FFA-1``), and is found without its dashes too (``FFA1``): the dataset's package takes
them away when it fetches files. A category is a region as well (``face``: all of its regions), and so are V1, V2 and V3, which
come in a dorsal and a ventral half, and numbered regions together (``FFA``).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.arrays.finite_voxels import FINITE, FiniteVoxels
from brainrecon.datasets.laion_fmri.layout import Layout
from brainrecon.datasets.own_mask import OwnMask, as_mask
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.datasets.voxels import ALL, MASK, Regions
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.nifti_files import open_nifti, read_nifti

WHOLE = "brain"
GENERAL = ("laion-general", "laiongeneral")
"""The default: cortex that answers to pictures at all, as the authors drew it."""
FILES = "*/{}_space-T1w_res-1pt8_label-*_mask.nii.gz"
HALVES = {"V1": ("V1v", "V1d"), "V2": ("V2v", "V2d"), "V3": ("V3v", "V3d")}
SAME_PLACE = 1e-3
"""Millimetres by which two affines may differ."""


def read_brain(path: Path) -> tuple[NDArray, NDArray]:
    """Voxels that a model was fitted in, bool (x, y, z), and the affine of the volume.

    Raises
    ------
    InputError
        The map of explained variance is absent, damaged, or nowhere above 0.
    """
    if not path.is_file():
        raise InputError(f"There is no {path}, which says where the brain is; fetch it too.")
    values = read_nifti(path)
    if values.ndim != 3:
        raise InputError(f"{path} has shape {values.shape}; expected (x, y, z): fetch it again.")
    # NaN is not above 0.
    brain = np.asarray(values > 0)
    if not brain.any():
        raise InputError(f"{path} holds no value above 0, and so no voxel; fetch it again.")
    return brain, np.asarray(open_nifti(path).affine, dtype=np.float64)


def check_grid(path: Path, grid: VoxelGrid, reference: Path, what: str = "volume") -> None:
    """Raise an InputError unless a volume is on the grid of another."""
    image = open_nifti(path)
    if image.ndim != (4 if what == "betas" else 3):
        expected = "(x, y, z, trials)" if what == "betas" else "(x, y, z)"
        raise InputError(f"{path} has shape {image.shape}; expected {expected}: fetch it again.")
    if image.shape[:3] != grid.shape:
        raise InputError(
            f"{path} is on a grid of {image.shape[:3]} voxels but {reference} on {grid.shape}; take both from one subject."
        )
    if not np.allclose(image.affine, grid.affine, atol=SAME_PLACE):
        raise InputError(
            f"{path} and {reference} have {grid.shape} voxels both but different affines; take both from one subject."
        )


def read_regions(layout: Layout, subject: str, grid: VoxelGrid) -> tuple[dict[str, NDArray], list[str]]:
    """Masks over the brain's voxels by name, bool (n_voxels,), categories last; and notes.

    Parameters
    ----------
    layout : Layout
    subject : str
    grid : VoxelGrid
        Of all voxels of the brain.
    """
    places, regions, categories, outside = tuple(grid.indices.T), {}, {}, []
    for path in visible(layout.rois(subject), FILES.format(subject)):
        name = path.name.partition("_label-")[2].removesuffix("_mask.nii.gz")
        check_grid(path, grid, layout.r2(subject))
        volume = as_mask(read_nifti(path), path)
        inside = volume[places]
        if inside.sum() < volume.sum():
            outside.append(name)
        category = path.parent.name
        regions[f"{category}:{name}" if name in regions else name] = inside
        categories[category] = categories.get(category, False) | inside
    regions |= {name: mask for name, mask in categories.items() if name not in regions}
    notes = [] if regions else [f"no regions in {layout.rois(subject)}: the roi is {WHOLE}, or a mask of your own"]
    if outside:
        notes.append(f"{', '.join(outside)}: voxels in which no model was fitted are left out")
    return regions, notes


def other_names(regions: dict[str, NDArray]) -> dict[str, tuple[str, ...]]:
    """Further names of regions, and the regions that each stands for.

    >>> other_names(dict.fromkeys(["FFA-1", "FFA-2", "V1v", "V1d", "hV4"]))
    {'FFA1': ('FFA-1',), 'FFA2': ('FFA-2',), 'V1': ('V1v', 'V1d'), 'FFA': ('FFA-1', 'FFA-2')}
    """
    found = {name.replace("-", ""): (name,) for name in regions if "-" in name and ":" not in name}
    found |= {name: parts for name, parts in HALVES.items() if all(part in regions for part in parts)}
    families: dict[str, list[str]] = {}
    for name in regions:
        if numbered := re.fullmatch(r"([A-Za-z]*[A-Za-z])-?\d", name):
            families.setdefault(numbered[1], []).append(name)
    found |= {family: tuple(parts) for family, parts in families.items() if len(parts) > 1}
    return {name: parts for name, parts in found.items() if name not in regions}


def choose(
    where: object,
    regions: dict[str, NDArray],
    roi: str | None,
    grid: VoxelGrid,
    finite: FiniteVoxels,
    mask: OwnMask | None = None,
) -> tuple[str, NDArray, dict[str, NDArray]]:
    """The voxels of a roi.

    Parameters
    ----------
    where : str or path
        For messages.
    regions : dict of str to bool array of shape (n_voxels,)
    roi : str or None
        As `brainrecon.datasets.voxels` describes; by default the authors' general mask, or the whole brain without one.
    grid : VoxelGrid
        Of all voxels of the brain.
    finite : FiniteVoxels
    mask : OwnMask, optional
        The region ``mask``.

    Returns
    -------
    roi : str
    chosen : bool array of shape (n_voxels,)
    rois : dict of str to bool array of shape (n_chosen,)
        Those that have a voxel among the chosen.
    """
    others = other_names(regions)
    if mask is not None:
        regions = regions | {MASK: mask.in_columns(len(grid), grid)}
    everywhere = np.ones(len(grid), dtype=bool)

    def mask_of(name):
        if name in regions:
            return regions[name]
        if name in others:
            return np.any([regions[part] for part in others[name]], axis=0)
        return finite.mask if name == FINITE else everywhere

    names = (*(name for name in regions if name != WHOLE), WHOLE)
    aliases = tuple(name for name in (*others, ALL, FINITE) if name not in names)
    roi = roi or next((name for name in GENERAL if name in regions), WHOLE)
    chosen = Regions(where, names, mask_of, aliases).select(roi)
    return roi, chosen, {name: inside[chosen] for name, inside in regions.items() if inside[chosen].any()}
