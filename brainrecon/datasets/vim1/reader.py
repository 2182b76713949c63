"""Natural pictures in grey that two people saw (Kay et al. 2008): the files of CRCNS, or the open copy at OSF.

Which of the two lies in a folder is told by its files, see `brainrecon.datasets.vim1.crcns` and
`brainrecon.datasets.vim1.open_copy`. Both have one response for each picture and voxel, z-scored for each voxel.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import DatasetOf, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.own_mask import OWN_MASK, chosen_voxels
from brainrecon.datasets.responses import stored_responses
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject, stimulus_fingerprint, subject_name
from brainrecon.datasets.vim1 import crcns, open_copy
from brainrecon.datasets.vim1.grey_pictures import (
    check_pictures,
    in_grey_levels,
    in_three_channels,
    lowest_and_highest,
    read_range,
)
from brainrecon.datasets.vim1.recording import SPLITS
from brainrecon.datasets.voxels import ALL, MASK, absent
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_rows
from stages.ground.progress import SILENT
from weights.suggestions import did_you_mean

TERMS = (
    "The copy at OSF is open to all and states no licence that was read here; CRCNS, where it comes from, asks for an account "
    "and forbids to pass data on (memory); cite the paper"
)
DESCRIPTION = Description(
    measured="Two people saw 1,750 natural pictures in grey, and 120 others to test on, in 4 T fMRI of visual cortex; one "
    "response for each picture and voxel, z-scored for each voxel",
    available="CRCNS vim-1 (crcns.org/data-sets/vc/vim-1, a free account): both people. OSF ymnjv, r638s, yqb3e, without an "
    "account: one of them, voxels of visual areas alone",
    citation="Kay, K. N., Naselaris, T., Prenger, R. J. and Gallant, J. L. (2008). Identifying natural images from human brain "
    "activity. Nature 452, 352-355. https://doi.org/10.1038/nature06713",
    licence="CRCNS's terms of use; not stated for the copy at OSF, as far as was read",
    pictures="photographs",
)
COPIES = {"crcns": crcns.RESPONSES, "osf": open_copy.DATA}
"""Which copy -> the file that tells it."""
RESOLUTIONS = ("small", "full")
VISUAL = "visual"
"""The region of all voxels that have an area, which is all that the copy at OSF holds."""


def subjects(path):
    """Names of the subjects found, sorted: ``subj01``, ``subj02``."""
    path = Path(path)
    copy = _copy(path, None, or_none=True)
    return [] if copy is None else crcns.subjects(path) if copy == "crcns" else [open_copy.SUBJECT]


def load(path, subject=None, roi=None, copy=None, resolution=None, grey=None, mask=None):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder of ``EstimatedResponses.mat``, or of ``kay_images.npz``.
    subject : str, optional
        ``subj01``, or ``S1`` as the files have it; by default the first that is there.
    roi : str, optional
        ``V1``, ``V2``, ``V3``, ``V3A``, ``V3B``, ``V4``, ``LatOcc``, ``Other``; ``visual`` (the default), all but the last; or
        ``all``.
    copy : {"crcns", "osf"}, optional
        Which copy is read if a folder has both; by default the former.
    resolution : {"small", "full"}, optional
        CRCNS: pictures of 128 x 128 pixels, or those of full resolution; by default the former if they are there.
    grey : str or pair of float, optional
        ``range``: the values of black and of white in the files' pictures; by default the lowest and the highest of all pictures.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: a value for each voxel that has responses, or a volume.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Stimuli are ``train0001`` and ``val0001``, after their places in the files, from 1. Voxels without a response to some
        picture, of training or of test, are left out.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other, or something is asked for that is not there.
    """
    path, ends = Path(path), read_range(grey)
    which = _copy(path, copy)
    name = _subject(path, subject)
    if resolution not in (None, *RESOLUTIONS):
        raise InputError(f"resolution is {resolution!r}; expected {' or '.join(RESOLUTIONS)}, or leave it out.")
    if which == "osf" and resolution == "full":
        raise InputError(
            f"{path / open_copy.DATA} has small pictures alone; leave resolution out, or take the files of CRCNS."
        )
    recording = crcns.read(path, name) if which == "crcns" else open_copy.read(path)
    space = crcns.space_of(recording) if which == "crcns" else None
    kept = recording.with_values()
    codes = recording.codes[kept]
    rois = {area: codes == number for number, area in enumerate(recording.names) if (codes == number).any()}
    if (codes > 0).any():
        rois[VISUAL] = codes > 0
    if space is not None:
        space = space.columns(kept)
    whole = VISUAL if VISUAL in rois and mask is None else MASK if mask is not None else ALL
    chosen, masks = chosen_voxels(path, rois, roi or whole, len(codes), ALL, mask, space=space)
    columns = np.flatnonzero(kept)[chosen]
    counts = {split: len(rows) for split, rows in recording.responses.items()}
    shown, notes, details = _pictures(path, which, resolution, ends, counts)
    splits = {}
    for split, rows in recording.responses.items():
        categories, why = open_copy.categories(path, split, counts[split]) if which == "osf" else (None, "")
        if why:
            notes.append(f"no {split} categories: {why}")
        splits[split] = Split(
            stored_responses(rows.columns(columns), recording.where, standardized="session"),
            [f"{SPLITS[split]}{number:04d}" for number in np.arange(counts[split]) + 1],
            images=shown.get(split),
            categories=categories,
        )
    return Subject(
        name=name,
        dataset="vim1",
        source=f"vim1:{path}",
        splits=splits,
        roi=roi or whole,
        rois=masks,
        fingerprint=stimulus_fingerprint("vim1", splits, categories=[split.categories for split in splits.values()]),
        notes=[*_notes(which, kept, splits), *notes],
        details={"copy": which} | details,
        space=None if space is None else space.columns(chosen),
    )


def _pictures(path, which, resolution, ends, counts):
    """Pictures by split as they are shown, none if there are none; notes, and what is recorded."""
    where = path / (crcns.SMALL if which == "crcns" else open_copy.DATA)
    stored = open_copy.pictures(path) if which == "osf" else None
    is_full = False
    if which == "crcns":
        stored = None if resolution == "full" else crcns.small_pictures(path)
        if stored is None and resolution != "small":
            stored, is_full = crcns.full_pictures(path), True
        where = path / "Stimuli_Trn_FullRes_01.mat" if is_full and stored is not None or resolution == "full" else where
        if stored is None and resolution is not None:
            raise InputError(f"{path} has no {resolution} pictures, {where.name}; add them, or leave resolution out.")
        if stored is None:
            return {}, [f"no pictures: put {where.name} of CRCNS into {path}"], {}
    for split, pictures in stored.items():
        check_pictures(pictures, counts[split], f"the {split} set", where)
    found = ends or lowest_and_highest(list(stored.values()), where)
    grey = {split: in_grey_levels(pictures, found, where) for split, pictures in stored.items()}
    if not is_full:
        # A byte for each pixel, which is little; the files' numbers are let go.
        grey = {split: as_rows(pictures[:]) for split, pictures in grey.items()}
    low, high = (float(f"{end:.6g}") for end in found)
    told = f"black is {low:g} and white {high:g} in all pictures" + (
        "" if ends else ", the lowest and highest value of all"
    )
    details = {"resolution": "full" if is_full else "small", "range": [low, high]}
    return {split: in_three_channels(pictures) for split, pictures in grey.items()}, [told], details


def _notes(which, kept, splits):
    notes = [
        "responses were z-scored for each voxel before they were published, by which pictures is not said",
        "one response for each picture; its single presentations were not published, so that there is no noise ceiling",
    ]
    if not kept.all():
        notes.append(
            f"{int((~kept).sum()):,} of {len(kept):,} voxels left out, which lack a response to a picture of train or test"
        )
    if which == "crcns":
        size = " x ".join(f"{side:g}" for side in crcns.VOXEL_SIZE)
        notes.append(
            f"maps have voxels of {size} mm, as a public reader of this laboratory's volumes says; origin and directions are in "
            "no file, so that they lie beside the anatomy"
        )
        notes.append("no categories: the files of CRCNS name none")
    else:
        notes.append(
            "the copy does not say whose responses these are, nor where the voxels were; voxels without an area are absent"
        )
        if any(split.has_categories for split in splits.values()):
            notes.append(
                "categories are levels of WordNet above the class that a network guessed: nobody has checked them"
            )
    return notes


def files(path, subject=None, copy=None):
    """The files of the copy that is there, or of the one that is asked for; if none is, those of both."""
    path = Path(path)
    which = _copy(path, copy, or_none=True)
    if subject is not None and which is not None and (path / COPIES[which]).exists():
        _subject(path, subject)
    if which is None:
        return [*open_copy.files(path, True), *crcns.files(path, False)]
    return crcns.files(path, True) if which == "crcns" else open_copy.files(path, True)


def download(path, subject=None, copy=None, progress=SILENT):
    """Fetch the open copy, see `brainrecon.datasets.vim1.open_copy.download`."""
    if copy == "crcns":
        raise InputError(f"The files of CRCNS cannot be fetched from here; they are to be had {crcns.ACCOUNT}.")
    _copy(Path(path), copy, or_none=True)
    if subject is not None and _plain(subject) != open_copy.SUBJECT:
        raise InputError(
            f"The copy at OSF has {open_copy.SUBJECT} alone, not {subject}; responses of others are to be had {crcns.ACCOUNT}."
        )
    return open_copy.download(Path(path), progress)


def _copy(path, asked, or_none=False):
    """Which copy is read; an InputError if it is not there, or None."""
    if asked is not None and asked not in COPIES:
        raise InputError(f"copy is {asked!r}; expected {' or '.join(COPIES)}{did_you_mean(asked, COPIES)}.")
    if path.is_file():
        raise InputError(f"{path} is a file; give the folder that holds {' or '.join(COPIES.values())}.")
    there = [name for name, file in COPIES.items() if (path / file).exists()]
    if asked in there or (or_none and asked is not None):
        return asked
    if asked is None and (there or or_none):
        return there[0] if there else None
    wanted = COPIES[asked] if asked else " and no ".join(COPIES.values())
    what = "" if path.exists() else ", for there is no such folder"
    raise InputError(
        f"{path} holds no {wanted}{what}; type brainrecon data download vim1:{path} for the open copy, or take the files of "
        f"CRCNS {crcns.ACCOUNT}."
    )


def _plain(subject):
    """subj01 for S1, sub-01 and 1."""
    return subject_name(re.sub(r"^[sS](?=\d)", "", str(subject).strip()))


def _subject(path, subject):
    names = subjects(path)
    name = names[0] if subject is None else _plain(subject)
    if name not in names:
        raise absent(path, "subject", str(subject), names)
    return name


register(
    "vim1",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option("copy", "crcns or osf, if a folder holds both; by default the former", for_files=True),
            Option(
                "resolution",
                "small or full: pictures of 128 x 128 pixels or the largest; by default the former if there",
            ),
            Option(
                "range",
                "values of black and white, such as -0.5,0.5; by default the lowest and highest of all pictures, for which "
                "those of full resolution are read through once",
                keyword="grey",
            ),
            OWN_MASK,
        ),
        download,
        TERMS,
    ),
)
