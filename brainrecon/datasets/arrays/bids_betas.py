"""Single-trial betas in a folder of BIDS derivatives, as GLMsingle estimates them.

FOLDER/
  sub-01/ ...                          anywhere below:
    *_betas.nii.gz                     (x, y, z, trials), a file per run, per session, or one; the entities ses-, task-
                                       and run- of its name say which events belong to it
    TYPED_FITHRF_GLMDENOISE_RR.hdf5    or GLMsingle's own HDF5 output, dataset betasmd (x, y, z, trials)
    *_events.tsv                       a row per trial, in the order of the betas: column stimulus_id, stim_file or
                                       trial_type and, optionally, split; rows with n/a there show no picture
    *_desc-brain_mask.nii.gz           which voxels, on the grid of the betas; or *_mask.nii.gz
    *_desc-<roi>_mask.nii.gz           or *_label-<roi>_mask.nii.gz           optional
    *_atlas-<name>_dseg.nii.gz         labels of an atlas, each a region, with their names beside in
                                       *_atlas-<name>_dseg.tsv, columns index and name       optional
  stimuli/<id>.png                     a picture per stimulus, of one size unless image_size is given; one in a folder has
                                       the id <folder>_<name>                 optional
  stimuli/captions.json                stimulus id -> list of captions        optional
  test_stimuli.txt                     where the events have no column split: an id per line that is for testing, or
  split.tsv                            columns stimulus_id and split
"""

import re
from dataclasses import replace

from brainrecon.datasets.arrays.bids_events import (
    PICTURES,
    WHICH_EVENTS,
    entities,
    events_files,
    in_order,
    picture_id,
    read_trials,
)
from brainrecon.datasets.arrays.bids_masks import MASK_FILE, check_grid, grid_of, read_masks
from brainrecon.datasets.arrays.finite_voxels import FiniteVoxels
from brainrecon.datasets.arrays.folder import by_stimulus
from brainrecon.datasets.arrays.parts import choose_voxels, own_subject, train_first
from brainrecon.datasets.arrays.voxel_store import VoxelStore, read_voxels
from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.nsd.betas import SessionBetas
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.datasets.spellings import said_of
from brainrecon.datasets.split import Split, first_presentation_order
from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.datasets.voxels import MASK
from stages.ground.errors import InputError
from stages.ground.listing import visible
from weights.suggestions import did_you_mean

BETAS = re.compile(r".*[_-]betas[_.].*nii(\.gz)?|betas\.nii(\.gz)?")
GLMSINGLE = "TYPE[BCD]_FITHRF*"


def is_bids(path):
    """Whether a folder looks like one of BIDS derivatives, or like GLMsingle's output."""
    return (
        path.name.startswith("sub-")
        or any(visible(path, "sub-*"))
        or any(visible(path, f"{GLMSINGLE}.*"))
        or any(BETAS.fullmatch(file.name) for file in visible(path))
    )


def subjects(path):
    """Names of the subjects found, sorted: ``sub-01``, ...; a folder without sub- folders is one, ``subj01``."""
    found = [folder.name for folder in visible(path, "sub-*") if folder.is_dir()]
    return found or [path.name if path.name.startswith("sub-") else "subj01"]


def load(path, subject=None, roi=None, needs_split=True, own=None, trials_of=None, image_size=None):
    """Load one subject of a folder; as `brainrecon.datasets.arrays.reader.load`.

    Without `needs_split` nothing need say which trials are for testing. `own` is a mask of one's own. With `trials_of` no events
    and pictures are read: of a dictionary of files and their numbers of volumes it gives the trials, as
    `brainrecon.datasets.arrays.bids_events.read_trials` does.

    Voxels are in C order of the (x, y, z) brain mask. A file's voxels are read when its first trial is asked for, and
    kept while there is room.
    """
    names = subjects(path)
    name = subject or names[0]
    if name not in names:
        raise InputError(f"{path} has no subject {name}; it has {', '.join(names)}{did_you_mean(name, names)}.")
    folder = path / name if (path / name).is_dir() else path
    betas = _beta_files(folder)
    grids = [grid_of(file) for file in betas]
    for file, grid in zip(betas[1:], grids[1:]):
        check_grid(file, grid, betas[0], grids[0])
    brain, rois, notes, affine = read_masks(folder, betas[0], grids[0])
    if own is not None:
        rois[MASK] = own.in_volume(brain, affine)
    inside = {key: mask[brain] for key, mask in rois.items()}
    n_volumes = {file: grid[0][3] for file, grid in zip(betas, grids)}
    trials = trials_of(n_volumes) if trials_of else read_trials(path, folder, n_volumes, needs_split)
    finite = FiniteVoxels(lambda: _as_stored(betas, brain, trials))
    chosen = choose_voxels(path, inside, roi, int(brain.sum()), finite)
    mask = brain.copy()
    mask[brain] = True if chosen is None else chosen
    stimuli = None if trials_of else next((place for place in _stimuli_places(path) if place.is_dir()), None)
    if stimuli is None and not trials_of:
        notes.append("no folder stimuli/, so there are no pictures")
    store = VoxelStore(betas, mask)
    splits = {
        split: _split([trial for trial in trials if trial.split == split], store, stimuli, image_size)
        for split in train_first({trial.split for trial in trials})
    }
    if blank := sum(grid[0][3] for grid in grids) - len(trials):
        notes.append(f"{blank:,} of {blank + len(trials):,} trials name no stimulus in their events and are left out")
    subject = own_subject(path, name, splits, roi, inside, chosen, notes=[*notes, *finite.notes])
    return replace(subject, space=None if affine is None else VoxelGrid.of_mask(mask, affine))


def files(path, subject=None):
    """The files found, and what is missing."""
    rows = []
    for name in [subject] if subject else subjects(path):
        folder = path / name if (path / name).is_dir() else path
        events = events_files(path, folder)
        masks = [file for file in visible(folder, "**/*.nii*") if MASK_FILE.fullmatch(file.name)]
        rows += [ExpectedFile(file, "single-trial betas (x, y, z, trials)") for file in _beta_candidates(folder)]
        rows += [ExpectedFile(file, "a row per trial") for file in events or [folder / f"{name}_events.tsv"]]
        rows += [ExpectedFile(file, "mask") for file in masks or [folder / f"{name}_desc-brain_mask.nii.gz"]]
        atlases = [
            file for file in visible(folder, "**/*dseg.*") if file.suffix in (".nii", ".gz", ".tsv", ".csv", ".ctab")
        ]
        rows += [ExpectedFile(file, "labels of an atlas, or their names", optional=True) for file in atlases]
    listed = [path / name for name in ("split.tsv", "test_stimuli.txt") if (path / name).exists()]
    rows += [ExpectedFile(file, "which stimuli are for testing") for file in listed]
    stimuli = next((place for place in _stimuli_places(path) if place.is_dir()), None)
    if stimuli is None:
        return rows
    pictures = [file for file in visible(stimuli, "**/*") if file.suffix.lower() in PICTURES]
    rows += [ExpectedFile(file, "a picture per stimulus, the first of them", optional=True) for file in pictures[:1]]
    return rows + [
        ExpectedFile(file, "captions of the pictures", optional=True)
        for file in [stimuli / "captions.json"]
        if file.exists()
    ]


def _beta_candidates(folder):
    found = [file for file in visible(folder, "**/*.nii*") if BETAS.fullmatch(file.name)]
    if not found:
        # Of GLMsingle's models the last, in the order of their names, is the most elaborate.
        best = {file.parent: file for file in visible(folder, f"**/{GLMSINGLE}.hdf5")}
        found = list(best.values())
    return in_order(found)


def _beta_files(folder):
    found = _beta_candidates(folder)
    if not found:
        other = [file for file in visible(folder, f"**/{GLMSINGLE}.*") if file.suffix in (".npy", ".mat")]
        if other and other[-1].suffix == ".npy":
            raise pickled(other[-1])
        if other:
            raise InputError(f"{other[-1]} is GLMsingle's MATLAB output; save its modelmd as sub-01_betas.nii.gz.")
        raise InputError(
            f"{folder} has no betas; save single-trial betas (x, y, z, trials) there as {folder.name}_betas.nii.gz."
        )
    taken = {}
    for file in found:
        names = entities(file)
        other = taken.setdefault(tuple(names.get(key) for key in WHICH_EVENTS), file)
        if other != file:
            raise InputError(f"Both {other} and {file} hold betas of the same trials; keep one of them in the folder.")
    return found


def pickled(path):
    """The error for GLMsingle's .npy output, a pickled dict, which could run any code when it is read."""
    return InputError(
        f"{path} is a pickled dict of GLMsingle, which is not opened; save its betas with "
        f"numpy.load('{path.name}', allow_pickle=True).item()['betasmd'] and nibabel as sub-01_betas.nii.gz, or run "
        "GLMsingle with wanthdf5=1."
    )


def _split(trials, store, stimuli, image_size):
    files, rows, ids, sessions, runs, _ = zip(*trials)
    shown = first_presentation_order(ids)[0].tolist()
    return Split(
        SessionBetas(store, files, rows),
        ids,
        sessions,
        runs,
        None if stimuli is None else _pictures(stimuli, shown, image_size),
        None if stimuli is None else by_stimulus(stimuli / "captions.json", shown),
    )


def _stimuli_places(path):
    """Where pictures may be: in the folder, beside a subject's own, or in the raw data set of derivatives/<name>/."""
    raw = [path.parent.parent] if path.parent.name == "derivatives" else []
    beside = [path.parent] if path.name.startswith("sub-") else []
    return [place / "stimuli" for place in (path, *beside, *raw)]


def _pictures(folder, ids, size):
    found = {}
    for file in visible(folder, "**/*"):
        if file.suffix.lower() in PICTURES:
            found.setdefault(picture_id(file.relative_to(folder).as_posix()), []).append(file)
    absent = [name for name in ids if name not in found]
    if absent:
        raise InputError(
            f"{folder} has no picture for {len(absent):,} of {len(ids):,} stimuli, the first is "
            f"{absent[0]}{said_of(absent[0], found)}; add it, named after the id."
        )
    for name in ids:
        if len(found[name]) > 1:
            raise InputError(f"{found[name][0]} and {found[name][1]} are both named {name}; rename or remove one.")
    return PictureFiles([found[name][0] for name in ids], size)


def _as_stored(betas, brain, trials):
    """Pairs of split and what its trials have in one file, unchecked, (n_trials, n_voxels), one after the other."""
    for number, file in enumerate(betas):
        values = read_voxels(file, brain)
        for split in train_first({trial.split for trial in trials}):
            rows = [trial.row for trial in trials if (trial.file, trial.split) == (number, split)]
            if rows:
                yield split, values[rows]
