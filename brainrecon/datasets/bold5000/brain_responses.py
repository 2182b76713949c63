"""Responses of the whole brain: release 2's betas, a volume for each trial.

FOLDER/
  CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz     (x, y, z, trials), a file for each session
  derivatives/spm/sub-CSI1/sub-CSI1_mask-LHEarlyVis.nii.gz   the regions, on the same grid
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainrecon.datasets.bold5000.layout import session_files
from brainrecon.datasets.bold5000.lines import AGAIN
from brainrecon.datasets.bold5000.masks import Masks
from brainrecon.datasets.bold5000.presentations import Shown
from brainrecon.datasets.nsd.betas import read_session
from brainrecon.datasets.nsd.sessions import chosen_sessions, in_words
from stages.ground.errors import InputError
from stages.ground.reading.nifti_files import open_nifti
from stages.ground.reading.wall import reading


def read_sessions(
    path: Path, subject: str, model: str, wanted
) -> tuple[dict[int, Path], dict[int, int], tuple, np.ndarray]:
    """Files of the sessions that are wanted, how many trials each has, their grid and its affine.

    Parameters
    ----------
    path : pathlib.Path
    subject : str
    model : str
    wanted : str, int, list of int, or None
        As `brainrecon.datasets.nsd.sessions.read_sessions` takes it.

    Raises
    ------
    InputError
        There are none, or they are on different grids.
    """
    found = session_files(path, subject, model)
    if not found:
        raise InputError(
            f"{path} has no {subject}_GLMbetas-TYPE{model}-..._ses-01.nii.gz and others; fetch them from figshare 14456124, or "
            "leave betas=brain out."
        )
    files = chosen_sessions(found, wanted, f"{path} ({subject})")
    counts, shape, affine = {}, None, None
    for session, file in files.items():
        image = open_nifti(file, AGAIN)
        if image.ndim != 4:
            raise InputError(f"{file} has shape {image.shape}; expected betas (x, y, z, trials): {AGAIN}.")
        if shape is None:
            first, shape, affine = file, image.shape[:3], image.affine
        if image.shape[:3] != shape:
            raise InputError(f"{file} has {image.shape[:3]} voxels but {first} {shape}; take both from one subject.")
        counts[session] = image.shape[3]
    return files, counts, shape, affine


def inside(files: dict[int, Path]) -> np.ndarray:
    """Voxels with a value in the first volume of each session, and not 0 in all of them; bool (x, y, z)."""
    finite, filled = np.bool_(True), np.bool_(False)
    for file in files.values():
        with reading(file, "NIfTI", AGAIN):
            # The rest of a packed file stays packed.
            volume = np.asanyarray(open_nifti(file, AGAIN).dataobj[..., 0])
        finite, filled = finite & np.isfinite(volume), filled | (volume != 0)
    found = np.asarray(finite & filled)
    if not found.any():
        raise InputError(f"{next(iter(files.values()))} has no voxel with a value in its first volume; {AGAIN}.")
    return found


def trials_of_sessions(shown: Shown, counts: dict[int, int], where: object) -> dict[int, np.ndarray]:
    """Which trials of a list are those of each file, by session; an InputError if their numbers differ.

    Without sessions in the list, files have to be there for all of it.
    """
    if shown.sessions is None:
        if list(counts) != list(range(1, len(counts) + 1)) or sum(counts.values()) != len(shown.pictures):
            raise InputError(
                f"{where} has {sum(counts.values()):,} trials in sessions {in_words(counts)} but {shown.where} "
                f"{len(shown.pictures):,}, and does not say of which session each is; add the lists of runs, or all sessions."
            )
        ends = np.cumsum(list(counts.values()))
        return {session: np.arange(end - counts[session], end) for session, end in zip(counts, ends)}
    found = {}
    for session, count in counts.items():
        found[session] = np.array(shown.of_session(session), dtype=np.int64)
        if len(found[session]) != count:
            raise InputError(
                f"Session {session} in {where} has {count:,} trials but {shown.where} {len(found[session]):,}; take both from "
                "one subject, and complete them."
            )
    return found


def regions_inside(masks: Masks | None, shape, subject: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Masks (x, y, z) of the regions on the grid of the betas, and notes."""
    if masks is None:
        return {}, [f"no regions: derivatives/spm/sub-{subject} of OpenNeuro ds001499 is not there"]
    if masks.shape != shape:
        return {}, [f"no regions: masks in {masks.folder.name} are on a grid of {masks.shape} and the betas on {shape}"]
    both = dict.fromkeys(name[2:] for name in masks.volumes)
    joined = {
        name: np.logical_or.reduce([volume for key, volume in masks.volumes.items() if key[2:] == name])
        for name in both
    }
    return joined | masks.volumes, []


def stored_values(files, mask, sessions):
    """Pairs of split and unchecked values (n_trials, n_voxels) of a file, for `FiniteVoxels`.

    Parameters
    ----------
    files : dict of int to pathlib.Path
    mask : bool array of shape (x, y, z)
    sessions : dict of int to dict of str to array of int
        Session to split to rows of its file.
    """
    for session, rows_of in sessions.items():
        values = read_session(files[session], mask).astype(np.float32, copy=False)
        for split, rows in rows_of.items():
            if len(rows):
                yield split, values[rows]
