"""The form of a table: the responses of each voxel in a row of an HDF5 file that pandas wrote.

FOLDER/betas_csv/
  sub-01_ResponseData.h5            pandas' fixed format: a row per voxel; columns voxel_id, and 0, 1, 2, ... for the trials
  sub-01_StimulusMetadata.csv       a row per trial: trial_type (train, test), session, run, trial_id, stimulus, concept
  sub-01_VoxelMetadata.csv          a row per voxel: voxel_id, voxel_x, voxel_y, voxel_z, nc_testset, and 0 or 1 for each region
FOLDER/brainmasks/
  sub-01_space-T1w_brainmask.nii.gz the volume that voxel_x, voxel_y and voxel_z are indices of       optional
"""

from __future__ import annotations

import numpy as np

from brainrecon.datasets.own_mask import as_mask
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.datasets.things_fmri.regions import chosen_in, default_roi
from brainrecon.datasets.things_fmri.trials import read_stimuli
from brainrecon.datasets.things_fmri.voxel_rows import TrialsOfVoxels, VoxelRows, rows_of_voxels
from brainrecon.datasets.things_fmri.voxel_table import CEILING, VOXEL, read_voxels
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.nifti_files import open_nifti, read_nifti
from stages.ground.reading.pandas_frames import stored_frame
from weights.sizes import in_words

FOLDER = "betas_csv"
RESPONSES, STIMULI, VOXELS = "ResponseData.h5", "StimulusMetadata.csv", "VoxelMetadata.csv"
MASKS = ("brainmasks", "brain_masks")
REMEDY = "copy the original file again"


def folder_of(path):
    """Where the tables are: ``betas_csv``, or the folder itself."""
    return path / FOLDER if (path / FOLDER).is_dir() or not any(visible(path, f"sub-*_{RESPONSES}")) else path


def subjects(path):
    """Names of the subjects that have responses in a table."""
    return [file.name.removesuffix(f"_{RESPONSES}") for file in visible(folder_of(path), f"sub-*_{RESPONSES}")]


def files_of(path, name):
    """Path, content and whether it is optional, of the files that are read."""
    folder = folder_of(path)
    return [
        (folder / f"{name}_{RESPONSES}", "responses, a row per voxel and a column per trial", False),
        (folder / f"{name}_{STIMULI}", "what was shown on each trial", False),
        (folder / f"{name}_{VOXELS}", "place, noise ceiling and regions of each voxel", False),
        (brain_mask_of(path, name), "the volume in which the voxels are", True),
    ]


def brain_mask_of(path, name):
    """The brain mask of a subject, there or not."""
    places = [path / folder / f"{name}_space-T1w_brainmask.nii.gz" for folder in MASKS]
    return next((place for place in places if place.exists()), places[0])


def read(path, name, number, roi, mask):
    """Read a subject from tables.

    Parameters
    ----------
    path : pathlib.Path
    name : str
    number : int
    roi : str or None
    mask : brainrecon.datasets.own_mask.OwnMask or None

    Returns
    -------
    trials : list of Trial
    responses : TrialsOfVoxels
        In the order of the trials.
    facts : dict
        Of the subject: roi, rois, noise_ceiling, space, notes.
    """
    responses, stimuli, voxels, brain = (file for file, _, _ in files_of(path, name))
    trials, found = read_stimuli(stimuli, number), read_voxels(voxels, number)
    frame = stored_frame(responses, REMEDY)
    _check_trials(frame, trials, stimuli)
    rows = rows_of_voxels(frame, VOXEL, found.ids, voxels)
    notes, grid = [], None
    if brain.exists() and found.places is not None:
        grid = _grid(brain, found.places, voxels)
    elif found.places is not None:
        notes.append(f"no {brain.name}, so that voxels have places in no volume; put it into {brain.parent}")
    chosen, rois = chosen_in(voxels, found.regions, roi, len(rows), mask, grid)
    store = VoxelRows(frame, [str(trial.number) for trial in trials], rows[chosen])
    if not store.keeps:
        each = in_words(4 * len(trials) * int(chosen.sum()))
        notes.append(
            f"{chosen.sum():,} voxels are more than are kept in memory ({each}): each reading looks through the whole table"
        )
    if found.ceiling is None:
        notes.append(f"no {CEILING} in {voxels.name}, so no noise ceiling of the files")
    if found.n_without_ceiling:
        notes.append(f"{found.n_without_ceiling:,} voxels have no noise ceiling in {voxels.name}, which is taken for 0")
    facts = {
        "roi": roi or default_roi(found.regions),
        "rois": rois,
        "noise_ceiling": None if found.ceiling is None else found.ceiling[chosen],
        "space": None if grid is None else grid.columns(chosen),
        "notes": notes,
    }
    return trials, TrialsOfVoxels(store), facts


def _check_trials(frame, trials, stimuli):
    """Raise an InputError unless the table has a column for each trial, and no others but that of voxels."""
    columns, wanted = set(frame.columns) - {VOXEL}, {str(trial.number) for trial in trials}
    if odd := sorted(columns ^ wanted, key=lambda name: (len(name), name)):
        where = frame.path.name if odd[0] in columns else stimuli.name
        raise InputError(
            f"{frame.path} has {len(columns):,} trials and {stimuli} {len(wanted):,}; {odd[0][:40]!r} is in {where} alone: take "
            "both from one subject and release."
        )


def _grid(brain, places, voxels):
    """Where the voxels are in the volume of the brain mask."""
    values = read_nifti(brain, "copy the mask again")
    if values.ndim != 3:
        raise InputError(f"{brain} has shape {values.shape}; expected a brain mask (x, y, z): copy it again.")
    inside = as_mask(values, brain)
    fits = (places < inside.shape).all()
    if not fits or len(np.unique(places, axis=0)) != len(places) or not inside[tuple(places.T)].all():
        n_inside = int(inside[tuple(places[(places < inside.shape).all(axis=1)].T)].sum())
        raise InputError(
            f"{n_inside:,} of the {len(places):,} voxels of {voxels} lie in the brain mask {brain}, {inside.shape}, each at a "
            "place of its own; take both from one subject, or remove the mask."
        )
    return VoxelGrid(inside.shape, np.asarray(open_nifti(brain).affine, dtype=np.float64), places)
