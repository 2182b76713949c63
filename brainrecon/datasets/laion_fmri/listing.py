"""The files of a subject of LAION-fMRI, there or not, and where they are fetched from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.download import Remote, fetch_all
from brainrecon.datasets.laion_fmri.layout import POOLED, Layout, subjects
from brainrecon.datasets.laion_fmri.regions import FILES
from brainrecon.datasets.laion_fmri.splits import SPLITS, names_of_files
from brainrecon.datasets.laion_fmri.stimuli import REQUEST
from brainrecon.datasets.nsd.sessions import read_sessions
from brainrecon.datasets.sources.bucket import bucket_files
from brainrecon.datasets.subject import subject_name
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.progress import SILENT

BUCKET = "https://laion-fmri.s3.amazonaws.com"
PACKAGE = "https://raw.githubusercontent.com/ViCCo-Group/LAION-fMRI/main/laion_fmri/splits/data"
TERMS = (
    "Responses, regions and captions of LAION-fMRI are under CC0 1.0; its splits are part of a package under MIT. The pictures "
    f"are under an agreement of their own and are not fetched: agree to it at {REQUEST}, and put task-images_stimuli.h5 and "
    "task-images_metadata.csv into the folder stimuli"
)
PUBLISHED = range(1, 31)
"""Sessions of each subject that were released, as the documentation says; only for what is not on disk."""
LARGEST = 143**3 * 1066 * 4
"""Bytes of a session's betas before compression, of the largest shape that the documentation gives."""
REPEATS = (12, 4)
"""Presentations of the pictures that a noise ceiling was estimated from; the first is the most certain."""


def files(path, subject=None, sessions=None, split=None):
    """List what a subject needs.

    Parameters
    ----------
    path : pathlib.Path
    subject : str, optional
        By default all that are there, or sub-01.
    sessions : str, int, list of int, optional
        As `brainrecon.datasets.nsd.sessions.read_sessions` takes them; by default all that are there, or were released.
    split : str, optional
        Whose file is needed; by default none is, as the default split needs none.
    """
    layout, wanted = Layout(Path(path)), _checked(sessions, split)
    rows = []
    for name in [_name(path, subject)] if subject is not None else subjects(path) or ["sub-01"]:
        for session in wanted or _sessions(layout, name) or PUBLISHED:
            rows.append(_of_bucket(layout, layout.betas(name, session), f"betas of session {session}", largest=LARGEST))
            rows.append(_of_bucket(layout, layout.trials(name, session), f"what session {session} showed"))
        rows.append(_of_bucket(layout, layout.r2(name), "which voxels a model was fitted in"))
        for repeats in REPEATS:
            what = f"noise ceiling of {repeats} presentations"
            rows.append(_of_bucket(layout, layout.ceiling(name, repeats), what, optional=True))
        regions = visible(layout.rois(name), FILES.format(name))
        rows += [_of_bucket(layout, file, "a region", optional=True) for file in regions]
        if not regions:
            rows.append(ExpectedFile(layout.rois(name), "regions, a folder for each category", optional=True))
        rows += _splits(layout, name, split)
    rows.append(ExpectedFile(layout.pictures, f"the pictures, after an agreement at {REQUEST}", optional=True))
    rows.append(ExpectedFile(layout.metadata, f"the name of each picture, from {REQUEST}", optional=True))
    rows.append(_of_bucket(layout, layout.captions, "what people wrote of the pictures", optional=True))
    return list({row.path: row for row in rows}.values())


def download(path, subject=None, progress=SILENT, sessions=None, split=None):
    """Fetch the files of a subject that are missing, except the pictures.

    Parameters
    ----------
    path : pathlib.Path
    subject : str, optional
        By default the first that is there, or sub-01.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.
    sessions, split
        As for `files`; by default all sessions and splits are fetched.

    Returns
    -------
    absent : list of pathlib.Path
        Optional files that are not to be had, and sessions that are kept back unless they were asked for.

    Raises
    ------
    InputError
        The bucket lists no such subject or session, a file that is needed cannot be fetched, or the connection broke.
    """
    layout, wanted = Layout(Path(path)), _checked(sessions, split)
    name = _name(path, subject) if subject is not None else (subjects(path) or ["sub-01"])[0]
    folder = layout.subject(name).relative_to(layout.root).as_posix()
    own = bucket_files(BUCKET, f"{folder}/", layout.root, wanted=re.escape(f"{folder}/") + _wanted(name))
    found = {_session(one.path) for one in own if one.path.name.endswith("_trials.tsv")}
    if absent := [session for session in wanted or [] if session not in found]:
        raise InputError(
            f"{BUCKET} lists no session {absent[0]} of {name}; it has {', '.join(map(str, sorted(found))) or 'none'}."
        )
    if not own:
        raise InputError(f"{BUCKET} lists nothing of {name}; pass --subject sub-01, for example.")
    chosen = [one for one in own if wanted is None or _session(one.path) in (None, *wanted)]
    # Whoever unpacked the betas need not have them packed beside it.
    chosen = [one for one in chosen if not one.path.with_suffix("").is_file() or not one.path.name.endswith(".nii.gz")]
    # The bucket lists sessions that are kept back, too, and refuses them; one that was asked for has to come.
    chosen = [replace(one, optional=wanted is None and _session(one.path) is not None) for one in chosen]
    regions = layout.rois(name).relative_to(layout.root).as_posix()
    pattern = re.escape(f"{regions}/") + rf"[^/]+/{re.escape(name)}_space-T1w_res-1pt8_label-[^/]+_mask\.nii\.gz"
    chosen += bucket_files(BUCKET, f"{regions}/", layout.root, wanted=pattern)
    others = [*_splits(layout, name, split), _of_bucket(layout, layout.captions, "")]
    chosen += [Remote(row.address, row.path, optional=True) for row in others]
    return fetch_all(chosen, layout.root, "--option sessions=1-10", progress)


def _checked(sessions, split):
    if split is not None:
        check("split", split, OneOf(*SPLITS), "--option {name}={example}")
    return read_sessions(sessions)


def _name(path, subject):
    """The folder of a subject, there or not: sub-01 of "sub-01", "subj01" or 1."""
    there = [name for name in subjects(path) if subject_name(name) == subject_name(subject)]
    if there:
        return there[0]
    number = re.fullmatch(r"subj(\d+)", subject_name(subject))
    if number is None:
        raise InputError(f"'{subject}' is no subject of laion-fmri; write sub-01, for example.")
    return f"sub-{number[1]}"


def _sessions(layout, name):
    found = (re.fullmatch(r"ses-(\d{2,3})", folder.name) for folder in visible(layout.subject(name), "ses-*"))
    return sorted(int(one[1]) for one in found if one)


def _session(path):
    found = re.search(r"_ses-(\d+)_", path.name)
    return int(found[1]) if found else None


def _wanted(name):
    """What is read of a subject's folder, as a regular expression."""
    ceilings = "|".join(map(str, REPEATS))
    return (
        rf"(ses-\d{{2,3}}/func/{re.escape(name)}_ses-\d+_task-images_(space-T1w_stat-effect_desc-SingletrialBetas_statmap\.nii\.gz|"
        rf"desc-SingletrialBetas_trials\.tsv)|{re.escape(name)}_task-images_space-T1w_(stat-rsquare_desc-R2mean|"
        rf"desc-Noiseceiling({ceilings})rep)_statmap\.nii\.gz)"
    )


def _of_bucket(layout, path, what, optional=False, largest=None):
    return ExpectedFile(path, what, optional, largest, f"{BUCKET}/{path.relative_to(layout.root).as_posix()}")


def _splits(layout, name, split):
    """Files of splits of a subject's pictures and of those that everybody saw."""
    return [
        ExpectedFile(
            layout.split(pool, one),
            f"split {one} of the pool {pool}",
            optional=True,
            address=f"{PACKAGE}/{pool}/{one}.json",
        )
        for pool in (name, POOLED)
        for one in names_of_files(split)
    ]
