"""NSD as MindEye2's data release packs it: all trials of a subject in one HDF5 file.

betas_all_subj01_fp32_renorm.hdf5   'betas' (n_trials, n_voxels) float32, z-scored by session
coco_images_224_float16.hdf5        'images' (73000, 3, 224, 224) float16, 0 to 1; row = NSD's picture, from 0
nsd_expdesign.mat                   NSD's own, from its bucket: not part of the release

Sessions are stacked in order, each in the order of presentation (``dataset_creation.ipynb``: row = 750 times the
sessions before, plus the trial), so NSD's design says which picture a row shows and which are shared. The release
says the same in its webdataset (behav columns 0 and 5), which is not needed here. Betas are of version
``betas_fithrf``, roi nsdgeneral, 1.8 mm, according to that notebook.
"""

from os import PathLike
from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.hdf5_rows import Hdf5Rows
from brainrecon.datasets.nsd import design as nsd_design
from brainrecon.datasets.own_mask import chosen_voxels
from brainrecon.datasets.packed.files import find_subjects, pictures_of, require, responses_of
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.errors import InputError
from stages.ground.listing import visible

NAME = "MindEye2"
EXAMPLE = "betas_all_subj01_fp32_renorm.hdf5"
PICTURES = "coco_images_224_float16.hdf5"
DESIGN = "nsd_expdesign.mat"
ROI = "nsdgeneral"
OPTIONS = ("design",)


def find(path):
    """Subjects at `path`: dict of name to the file of betas; the renormalised one if there are two."""
    found = find_subjects(path, [""], r"betas_all_subj(?P<number>\d+)_fp32(_renorm)?\.hdf5")
    return {subject: max(files, key=lambda file: "_renorm" in file.name) for subject, files in found.items()}


def load(file, subject, roi, source, mask=None, design=None):
    """Load one subject; parameters as `brainrecon.datasets.packed.reader.load` has found them."""
    stored = responses_of(Hdf5Rows(file, "betas"), file, standardized="session")
    chosen, rois = chosen_voxels(file, {}, roi, stored.shape[1], ROI, mask)
    stored = stored if chosen.all() else stored.columns(chosen)
    brick, n_trials = Hdf5Rows(require(file.parent / PICTURES, file), "images"), len(stored)
    design_file = find_design(file.parent, design)
    trials, order = np.arange(n_trials), nsd_design.read_design(design_file)
    if n_trials > len(order.masterordering):
        raise InputError(
            f"{file} has {n_trials:,} trials but {design_file} only {len(order.masterordering):,}; take the design of "
            "the whole experiment from the NSD bucket."
        )
    pictures, shared = order.pictures(subject, trials), order.is_shared(trials)
    sessions, runs = sessions_and_runs(order, n_trials)

    splits = {}
    for name, wanted in {"train": ~shared, "test": shared}.items():
        if not wanted.any():
            raise InputError(f"The {n_trials:,} trials of {file} hold no {name} trial; copy the original file again.")
        shown = pictures[wanted]
        splits[name] = Split(
            betas=stored.take(trials[wanted]),
            trial_stimulus_ids=[nsd_design.stimulus_id(picture) for picture in shown],
            sessions=None if sessions is None else sessions[wanted],
            runs=None if runs is None else runs[wanted],
            images=pictures_of(
                brick, brick.path, shown[np.sort(np.unique(shown, return_index=True)[1])], white=1, channels_first=True
            ),
        )
    found = None if sessions is None else [int(session) for session in np.unique(sessions)]
    return Subject(
        name=subject,
        dataset="packed",
        source=source,
        splits=splits,
        roi=roi or ROI,
        rois=rois,
        fingerprint=stimulus_fingerprint("packed", splits, layout=NAME),
        notes=notes_on(file, n_trials, order, found),
        details={
            "layout": NAME,
            "betas": "b2 (betas_fithrf), z-scored by session",
            "sessions": found,
            "n_trials": n_trials,
        },
    )


def find_design(folder, design=None):
    """Path of ``nsd_expdesign.mat``: as given, or in the folder or below it."""
    if design is not None:
        if not isinstance(design, str | PathLike):
            raise InputError(f"design is {design!r}; expected the path of {DESIGN}.")
        return Path(design).expanduser()
    usual = (folder / DESIGN, folder / "nsddata/experiments/nsd" / DESIGN)
    # The whole tree is searched only where the file is in neither of its usual places.
    found = [place for place in usual if place.is_file()] or visible(folder, f"**/{DESIGN}")
    if not found:
        raise InputError(
            f"There is no {DESIGN} in {folder} or below it, and the betas do not say which picture was shown when; copy "
            "nsddata/experiments/nsd/nsd_expdesign.mat from the NSD bucket to that folder, or give its place as design."
        )
    return found[0]


def sessions_and_runs(order, n_trials):
    """1-based session and run of the first `n_trials` trials, (n_trials,) int each; None if the design lacks them."""
    if order.trials_per_run is None:
        return None, None
    per_run = order.trials_per_run
    sessions = np.repeat(np.arange(1, len(per_run) + 1), per_run.sum(axis=1))
    runs = np.concatenate([nsd_design.runs_of_session(session) for session in per_run])
    return sessions[:n_trials], runs[:n_trials]


def notes_on(file, n_trials, order, found):
    """What a reader should know of this copy."""
    notes = [
        "a copy of MindEye2's release, from betas_fithrf (b2) according to its dataset_creation notebook",
        "responses are z-scored by session, not percent signal change; they hold no noise ceiling",
        f"no regions are named in the file: all voxels are {ROI}",
        "no captions in this layout",
    ]
    if "_renorm" not in file.name:
        notes.append("the file's name lacks _renorm: test pictures may have entered the statistics of the z-scores")
    if found is None:
        return [*notes, "the design has no stimpattern, so sessions and runs are not known"]
    notes.append(f"{len(found)} of {len(order.trials_per_run)} sessions found")
    in_sessions = int(order.trials_per_run[: len(found)].sum())
    if n_trials != in_sessions:
        notes.append(f"the last session has {in_sessions - n_trials:,} trials fewer than the design gives it")
    return notes


def files(path, subject=None, design=None):
    """The files of one subject."""
    found = find(path)
    subject = subject or next(iter(found), "subj01")
    betas = found.get(subject, path / f"betas_all_{subject}_fp32_renorm.hdf5")
    try:
        design_file = find_design(betas.parent, design)
    except InputError:
        design_file = betas.parent / DESIGN
    return [
        ExpectedFile(betas, "responses of all trials (n_trials, n_voxels)"),
        ExpectedFile(betas.parent / PICTURES, "pictures (73000, 3, 224, 224)"),
        ExpectedFile(
            design_file, "which picture was shown on which trial; from the NSD bucket, nsddata/experiments/nsd"
        ),
    ]
