"""Masks and label atlases beside betas in a BIDS folder, on the grid of these."""

import re

import numpy as np

from brainrecon.datasets.arrays.bids_events import entities
from brainrecon.datasets.label_atlas import atlas_masks, read_label_names
from brainrecon.datasets.own_mask import as_mask
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.hdf5_files import dataset, hdf5_file
from stages.ground.reading.nifti_files import open_nifti, read_nifti
from stages.ground.reading.wall import reading

MASK_FILE = re.compile(r"(.*_)?mask\.nii(\.gz)?")
ATLAS_FILE = re.compile(r"(.*_)?dseg\.nii(\.gz)?")
SAME_PLACE = 1e-3  # millimetres by which two files' affines may differ


def grid_of(file):
    """Shape and affine (None in HDF5) of a volume or of betas, from the header."""
    if file.suffix == ".hdf5":
        again = "save GLMsingle's output again"
        with hdf5_file(file, again) as content:
            shape, affine = dataset(content, "betasmd", again).shape, None
    else:
        image = open_nifti(file)
        shape, affine = image.shape, image.affine
    if not (MASK_FILE.fullmatch(file.name) or ATLAS_FILE.fullmatch(file.name)) and len(shape) != 4:
        raise InputError(f"{file} has shape {shape}; expected single-trial betas (x, y, z, trials).")
    return shape, affine


def check_grid(file, grid, reference_file, reference):
    """Raise an InputError unless two files are on one grid, as `grid_of` says of each."""
    (shape, affine), (expected, place) = grid, reference
    if shape[:3] != expected[:3]:
        raise InputError(
            f"{file} is on a grid of {shape[:3]} voxels but {reference_file} on {expected[:3]}; resample one to the other."
        )
    if affine is not None and place is not None and not np.allclose(affine, place, atol=SAME_PLACE):
        raise InputError(
            f"{file} and {reference_file} have {shape[:3]} voxels both but different affines; resample one to the other."
        )


def read_masks(folder, betas, grid):
    """The brain mask, the regions within its grid, both (x, y, z) bool, notes, and the affine if a file has one."""
    space = entities(betas).get("space")
    brains, rois, affine = [], {}, grid[1]
    for file in visible(folder, "**/*.nii*"):
        if not MASK_FILE.fullmatch(file.name):
            continue
        if space and entities(file).get("space", space) != space:
            continue
        check_grid(file, own := grid_of(file), betas, grid)
        # GLMsingle's HDF5 has none.
        affine = own[1] if affine is None else affine
        region = _region(file)
        values = as_mask(_volume(file, grid), file)
        if region == "brain":
            brains.append(values)
        else:
            rois[region] = rois[region] | values if region in rois else values
    if brains:
        brain = np.logical_and.reduce(brains)
    elif grid[0][1:3] == (1, 1):
        # GLMsingle writes betas that were estimated in chosen voxels as (n_voxels, 1, 1, trials).
        brain = np.ones(grid[0][:3], dtype=bool)
    else:
        raise InputError(f"{folder} has no brain mask; save one there as {folder.name}_desc-brain_mask.nii.gz.")
    for file in _atlases(folder, space):
        check_grid(file, grid_of(file), betas, grid)
        rois = atlas_masks(rois, _atlas(file), _volume(file, grid), read_label_names(file), file)
    if not brain.any():
        raise InputError(f"The brain mask of {folder} holds no voxel; save one that is 1 inside the brain.")
    outside = [name for name, mask in rois.items() if (mask & ~brain).any()]
    notes = [f"{', '.join(outside)}: voxels outside the brain mask are left out"] if outside else []
    return brain, rois, notes, affine


def _atlases(folder, space):
    """Files of labels, in the space of the betas if theirs is said."""
    found = [file for file in visible(folder, "**/*.nii*") if ATLAS_FILE.fullmatch(file.name)]
    return [file for file in found if not space or entities(file).get("space", space) == space]


def _atlas(file):
    """What an atlas is called: its atlas-, seg- or desc-, or else ``dseg``."""
    names = entities(file)
    return next((names[key] for key in ("atlas", "seg", "desc") if key in names), "dseg")


def _region(file):
    """Of what a file is the mask: its label- or desc-, a word before ``_mask``, or else the brain."""
    names, words = entities(file), file.name.split(".")[0].split("_")[:-1]
    word = words[-1] if words and "-" not in words[-1] else "brain"
    return names.get("label", names.get("desc", word))


def _volume(file, grid):
    values = read_nifti(file, "save the mask again")
    with reading(file, "one volume", "save the mask again"):
        return values.reshape(grid[0][:3])
