"""The form of volumes: a file of single-trial responses for each run, with the names of the pictures beside it.

FOLDER/betas_vol/sub-01/ses-things01/          or FOLDER/scalematched/sub-01/..., as the archive calls it
  sub-01_ses-things01_run-01_betas.nii.gz      (x, y, z, trials)
  sub-01_ses-things01_run-01_conditions.tsv    image_filename of each, catch trials among them
FOLDER/brainmasks/
  sub-01_space-T1w_brainmask.nii.gz            which voxels
FOLDER/rois/
  category_localizer/sub-01/*_parcels/sub-01_lFFA.nii.gz, ...    a mask for each region               optional
  prf/sub-01/resampled_varea.nii.gz            1 to 12: V1, V2, V3, hV4, VO1, VO2, LO1, LO2, TO1, TO2, V3b, V3a       optional
FOLDER/noise_ceilings/
  sub-01_nc_n-12.nii.gz                        percent, for averages over 12 trials                   optional
FOLDER/betas_csv/
  sub-01_StimulusMetadata.csv                  which pictures are for testing                         optional
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from brainrecon.datasets.arrays.voxel_store import VoxelStore
from brainrecon.datasets.nsd.betas import SessionBetas, read_session
from brainrecon.datasets.own_mask import SAME_PLACE, as_mask
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.datasets.split import check_finite
from brainrecon.datasets.things_fmri.regions import chosen_in, default_roi, named_regions
from brainrecon.datasets.things_fmri.table import FOLDER as TABLES
from brainrecon.datasets.things_fmri.table import STIMULI, brain_mask_of
from brainrecon.datasets.things_fmri.trials import CATCH, Trial, check_one_picture_each, read_stimuli, shown
from brainrecon.datasets.things_fmri.voxel_rows import REMEDY
from brainrecon.datasets.trial_tables import read_table
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.nifti_files import open_nifti, read_nifti
from weights.names import trouble_with_part

FOLDERS = ("betas_vol", "scalematched", "betas_vol/scalematched")
FILENAMES = "image_filename"
AREAS = ("V1", "V2", "V3", "hV4", "VO1", "VO2", "LO1", "LO2", "TO1", "TO2", "V3b", "V3a")
"""What 1, 2, ... stand for in ``resampled_varea.nii.gz``: the order of neuropythy, which made it."""
_RUN = re.compile(r"(sub-\w+?)_ses-things(\d+)_(?:task-\w+_)?run-(\d+)_betas\.nii(?:\.gz)?")
AGAIN = "copy the original file again"


class Runs(VoxelStore):
    """The chosen voxels of files of runs, read when needed and kept while there is room."""

    def _read(self, file):
        values = read_session(file, self.mask).astype(np.float32, copy=False)
        check_finite(values, file, REMEDY)
        return values


def folder_of(path, name):
    """Where the runs of a subject are."""
    places = [path / folder / name for folder in FOLDERS]
    return next((place for place in places if place.is_dir()), places[0])


def subjects(path):
    """Names of the subjects that have volumes."""
    return sorted({file.name for folder in FOLDERS for file in visible(path / folder, "sub-*") if file.is_dir()})


def files_of(path, name):
    """Path, content and whether it is optional, of the files that are read."""
    folder = folder_of(path, name)
    runs = _runs(folder, name) or {(1, 1): folder / "ses-things01" / f"{name}_ses-things01_run-01_betas.nii.gz"}
    rows = [(file, "responses of a run (x, y, z, trials)", False) for file in runs.values()]
    rows += [(_conditions(file), "the pictures of a run", False) for file in runs.values()]
    rows.append((brain_mask_of(path, name), "which voxels", False))
    rows += [(file, "mask of a region", True) for file in _parcels(path, name)]
    rows += [(file, "retinotopic areas", True) for file in _areas(path, name)]
    rows += [(file, "noise ceiling of averages over so many trials", True) for file in _ceilings(path, name).values()]
    return [*rows, (path / TABLES / f"{name}_{STIMULI}", "which pictures are for testing", True)]


def read(path, name, number, roi, mask):
    """Read a subject from volumes; as `brainrecon.datasets.things_fmri.table.read`."""
    folder = folder_of(path, name)
    runs = _runs(folder, name)
    if not runs:
        raise InputError(
            f"{folder} has no ses-things01/{name}_ses-things01_run-01_betas.nii.gz or other run; unpack the volumes there."
        )
    files = list(runs.values())
    grids = {file: open_nifti(file) for file in files}
    for file, grid in grids.items():
        if grid.ndim != 4:
            raise InputError(f"{file} has shape {grid.shape}; expected responses (x, y, z, trials): {AGAIN}.")
        _check_place(file, grid, files[0], grids[files[0]])
    trials, n_catch = _trials(runs, {file: grid.shape[3] for file, grid in grids.items()})
    trials, notes = _told(path / TABLES / f"{name}_{STIMULI}", trials, number, folder)
    reference = files[0], grids[files[0]]
    brain_file = brain_mask_of(path, name)
    brain = as_mask(_volume(brain_file, reference), brain_file)
    if not brain.any():
        raise InputError(f"The brain mask {brain_file} holds no voxel; copy it again.")
    masks, outside = _regions(path, name, reference, brain)
    regions = named_regions(masks, path / "rois")
    grid = VoxelGrid.of_mask(brain, reference[1].affine)
    chosen, rois = chosen_in(folder, regions, roi, int(brain.sum()), mask, grid)
    kept = brain.copy()
    kept[brain] = chosen
    store = Runs(files, kept)
    ceiling, told = _ceiling(path, name, reference, trials)
    notes += [*outside, *told, f"{n_catch:,} catch trials left out"]
    if not masks:
        notes.append(f"no rois in {path / 'rois'}: unpack rois.zip there for V1, FFA and others")
    facts = {
        "roi": roi or default_roi(regions),
        "rois": rois,
        "noise_ceiling": None if ceiling is None else ceiling[kept],
        "space": grid.columns(chosen),
        "notes": notes,
    }
    places = {file: place for place, file in enumerate(files)}
    where = [(places[runs[trial.session, trial.run]], trial.number) for trial in trials]
    return trials, SessionBetas(store, *zip(*where)), facts


def _runs(folder, name):
    """File of each (session, run), in their order."""
    found = {}
    for file in visible(folder, "ses-*/*_betas.nii*"):
        if not (match := _RUN.fullmatch(file.name)) or match[1] != name:
            continue
        key = int(match[2]), int(match[3])
        if key in found:
            raise InputError(f"Both {found[key]} and {file} are run {key[1]} of session {key[0]}; keep one of them.")
        found[key] = file
    return dict(sorted(found.items()))


def _conditions(file):
    return file.with_name(file.name.split("_betas.nii")[0] + "_conditions.tsv")


def _check_place(file, grid, other, reference):
    if grid.shape[:3] != reference.shape[:3] or not np.allclose(grid.affine, reference.affine, atol=SAME_PLACE):
        raise InputError(
            f"{file} is on a grid of {grid.shape[:3]} voxels and {other} on {reference.shape[:3]}, or their affines differ; take "
            "both from one subject."
        )


def _trials(runs, n_volumes):
    """Trials that are no catch trials, each with its place in its file, and how many are."""
    trials, n_catch = [], 0
    for (session, run), file in runs.items():
        table = _conditions(file)
        if not table.is_file():
            raise InputError(f"{table} is missing, which names the pictures of {file.name}; {AGAIN}.")
        rows = read_table(table, "\t")
        if rows and FILENAMES not in rows[0]:
            raise InputError(f"{table} has no column {FILENAMES} but {', '.join(map(repr, rows[0]))}; {AGAIN}.")
        if len(rows) != n_volumes[file]:
            raise InputError(f"{file} has {n_volumes[file]:,} volumes but {table} {len(rows):,} rows; {AGAIN}.")
        for place, row in enumerate(rows):
            stimulus, picture, concept = shown(row[FILENAMES])
            if CATCH.fullmatch(stimulus):
                n_catch += 1
                continue
            if trouble := trouble_with_part(picture) or trouble_with_part(concept):
                raise InputError(
                    f"Row {place + 2} of {table} names {row[FILENAMES][:80]!r}, which is no picture of a concept, for {trouble}; "
                    f"{AGAIN}."
                )
            trials.append(Trial(place, "", stimulus, picture, concept, session, run))
    return trials, n_catch


def _told(table, trials, number, folder):
    """The trials with their splits: as the table of the stimuli says, or by which pictures were shown more than once."""
    if table.is_file():
        known = {trial.stimulus_id: trial for trial in read_stimuli(table, number)}
        if absent := next((trial for trial in trials if trial.stimulus_id not in known), None):
            raise InputError(
                f"{folder} shows {absent.picture}, which {table} does not name; take both from one subject."
            )
        told = [
            trial._replace(split=known[trial.stimulus_id].split, concept=known[trial.stimulus_id].concept)
            for trial in trials
        ]
        check_one_picture_each(told, folder)
        return told, []
    check_one_picture_each(trials, folder)
    times = Counter(trial.stimulus_id for trial in trials)
    if max(times.values(), default=0) < 2:
        raise InputError(
            f"No picture of {folder} was shown twice, as those for testing are in two sessions; put more sessions there, or "
            f"{table.name} into {table.parent}."
        )
    told = [trial._replace(split="test" if times[trial.stimulus_id] > 1 else "train") for trial in trials]
    return told, [f"no {table.name}: pictures that were shown more than once are for testing"]


def _volume(file, reference):
    """Values of one volume on the grid of the runs."""
    image = open_nifti(file)
    _check_place(file, image, *reference)
    values = read_nifti(file)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise InputError(f"{file} has shape {values.shape}; expected one volume (x, y, z): {AGAIN}.")
    return values


def _parcels(path, name):
    return [file for file in visible(path / "rois", f"**/{name}_*.nii.gz") if file.parent.name.endswith("_parcels")]


def _areas(path, name):
    return visible(path / "rois", f"**/{name}/resampled_varea.nii.gz")[:1]


def _regions(path, name, reference, brain):
    """Masks over the voxels of the brain, and notes."""
    masks, beside = {}, []
    for file in _parcels(path, name):
        region = file.name.removeprefix(f"{name}_").removesuffix(".nii.gz")
        values = as_mask(_volume(file, reference), file)
        if region in masks:
            raise InputError(f"Two files in {path / 'rois'} are called {file.name}; keep one of them.")
        masks[region] = values
    for file in _areas(path, name):
        values = _volume(file, reference)
        masks |= {area: values == place for place, area in enumerate(AREAS, start=1) if (values == place).any()}
    for region, values in masks.items():
        beside += [region] if (values & ~brain).any() else []
        masks[region] = values[brain]
    return masks, [f"{', '.join(beside)}: voxels outside the brain mask are left out"] if beside else []


def _ceilings(path, name):
    """File of the noise ceiling by the number of trials of an average."""
    pattern = re.compile(rf"{re.escape(name)}_nc_n-(\d+)\.nii\.gz")
    found = ((pattern.fullmatch(file.name), file) for file in visible(path / "noise_ceilings", "**/*.nii.gz"))
    return {int(match[1]): file for match, file in found if match}


def _ceiling(path, name, reference, trials):
    """Noise ceiling (x, y, z) of averages over as many trials as most test pictures have, and notes."""
    times = Counter(trial.stimulus_id for trial in trials if trial.split == "test")
    files, usual = _ceilings(path, name), Counter(times.values()).most_common(1)
    if not usual or usual[0][0] not in files:
        return None, []
    file = files[usual[0][0]]
    values = _volume(file, reference).astype(np.float32)
    known = np.where(np.isfinite(values), values, 0)
    if known.min() < 0 or known.max() > 100:
        raise InputError(f"{file} holds {known.min():g} to {known.max():g}; expected percent, 0 to 100: {AGAIN}.")
    return known, []
