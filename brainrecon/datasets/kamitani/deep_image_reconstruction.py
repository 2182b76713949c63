"""Deep image reconstruction (Shen et al. 2019): people saw pictures, shapes and letters, and imagined some.

FOLDER/, with a file for each person and experiment (BData), of one release or of both:
  sub-01_perceptionNaturalImageTraining_original_VC.h5, ...     figshare 7033577
  sub-01_ImageNetTraining_fmriprep_volume_native.h5, ...        figshare 21564384
  images/                  n01518878_10042.JPEG, ..., in subfolders too        optional
  class_names.csv          rows such as n01518878,ostrich                      optional
"""

import re
from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.kamitani.bdata import BData
from brainrecon.datasets.kamitani.recording import Part, make_subject
from brainrecon.datasets.kamitani.stimuli import (
    PICTURE_OPTIONS,
    REQUEST_FORM,
    ZSCORE,
    download_responses,
    names_of_codes,
    names_of_labels,
    picture_row,
    stimulus_codes,
)
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.subject import subject_name
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.progress import SILENT
from weights.suggestions import did_you_mean

TERMS = (
    "The responses are open to all at figshare; cite the paper; their pictures come by request form only, "
    + REQUEST_FORM
)
FIGSHARE = 7033577
DESCRIPTION = Description(
    measured="Three people saw 1,200 ImageNet pictures five times each and 50 others 24 times each, 40 coloured shapes and "
    "10 letters, and imagined pictures; fMRI of visual cortex, one response for each sample.",
    available="Responses: figshare 7033577 (preprocessed, BData), figshare 21564384 (the same by fMRIPrep) and OpenNeuro "
    f"ds001506 (raw), open to all. Pictures: by the form {REQUEST_FORM}.",
    citation="Shen, G., Horikawa, T., Majima, K. and Kamitani, Y. (2019). Deep image reconstruction from human brain "
    "activity. PLOS Computational Biology 15, e1006633. https://doi.org/10.1371/journal.pcbi.1006633",
    licence="not stated where we read; check at the source. Pictures are under their owners' copyright",
    pictures="photographs",
)

RELEASES = {
    "original": {
        "train": "perceptionNaturalImageTraining_original_VC",
        "test": "perceptionNaturalImageTest_original_VC",
    },
    "fmriprep": {
        "train": "ImageNetTraining_fmriprep_volume_native",
        "test": "ImageNetTest_fmriprep_volume_native",
    },
}
"""Release -> split -> name of the file, for the two splits that every subject needs."""

FILE = re.compile(r"sub-(\d+)_(.+)_(original|fmriprep)_.*\.(h5|mat)")
EXPERIMENTS = {"imagery": "imagery", "training": "train", "test": "test", "artificial": "shapes", "letter": "letters"}
"""Word in a file's name -> split; the first that occurs counts."""

SPLITS = ("train", "test", "shapes", "letters", "imagery")
NAME_KEYS = ("stimulus_name", "imagery_name")
CODE_KEYS = ("stimulus_id", "Label", "image_index", "imagery_image_index")


def subjects(path):
    """Names of the subjects that have a file in the folder, sorted."""
    return sorted({name for name, _ in _files(Path(path))}, key=lambda name: (len(name), name))


def load(path, subject=None, roi=None, images=None, image_size=None, release=None, mask=None, zscore=False):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder of the files.
    subject : str, optional
        ``subj01``; by default the first that is there.
    roi : str, optional
        Regions by name, ``V1``, or joined: ``V1 + V2``, ``VC - (V1 | V2)``, see
        `brainrecon.datasets.kamitani.bdata.BData.columns`.
        ``all`` is every voxel. By default ``VC``, or all voxels where the files mark no such region.
    images : path, optional
        Folder of the pictures, named after the stimuli; by default ``images`` in `path`, where that is.
    image_size : int, optional
        Cut and resize pictures to squares of so many pixels; needed only where they differ in size.
    release : str, optional
        ``original`` or ``fmriprep``; by default the first of these that has train and test.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: a value for each voxel of the files, or a volume that their coordinates are looked up in.
    zscore : bool
        Z-score each voxel within each run of a split, by the run's own trials, before repeats are averaged: no label takes
        part, and a split's runs are its own.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Splits train, test and those of shapes, letters and imagery that are there. Stimuli are ``n01518878_10042``;
        what a file only numbers is named after split and number, ``letters_3``, and is joined to no other split.
        Responses are read from the files when asked for, in the files' own units.

    Raises
    ------
    InputError
        Files are absent, damaged or of another layout.
    """
    path = Path(path)
    name, release, found = _choose(path, subject, release)
    parts, notes = {}, [f"release {release}"]
    for split in (split for split in SPLITS if split in found):
        bdata = BData(found[split])
        names, numbered = trial_names(bdata, split)
        parts[split] = Part(bdata, np.arange(bdata.n_samples), names)
        if numbered:
            notes.append(
                f"{split}: {bdata.path.name} numbers its stimuli and names none; rest, if numbered, is among them"
            )
    absent = [split for split in SPLITS if split not in parts]
    if absent:
        notes.append(f"no file of {', '.join(absent)}")
    return make_subject("dir", path, name, parts, roi, images, image_size, notes, {"release": release}, mask, zscore)


def trial_names(bdata, split):
    """The stimulus of every sample, from labels if the file has them, else from codes, else from numbers.

    Parameters
    ----------
    bdata : brainrecon.datasets.kamitani.bdata.BData
    split : str
        Put before numbers: ``letters_3``.

    Returns
    -------
    names : list of str, length n_samples
        "" for a sample without a stimulus.
    numbered : bool
        Whether some are mere numbers.
    """
    if (labelled := names_of_labels(bdata, (*NAME_KEYS, *CODE_KEYS))) is not None:
        return labelled, False
    key = next((key for key in CODE_KEYS if key in bdata.keys), None)
    if key is None:
        raise InputError(
            f"{bdata.path} has {', '.join(bdata.keys)}; expected one of {', '.join(CODE_KEYS)} for its stimuli: "
            "copy the file again."
        )
    names = names_of_codes(bdata, stimulus_codes(bdata, key), split)
    return names, any(name.startswith(f"{split}_") for name in names)


def files(path, subject=None):
    """The files of the layout, of the subject that is asked for or the first."""
    path = Path(path)
    name = subject or next(iter(subjects(path)), "subj01")
    number = re.fullmatch(r"subj0*(\d+)", name)
    if number is None:
        raise InputError(f"'{name}' is no subject of dir; write subj01, for example.")
    there = {release: splits for (owner, release), splits in _files(path).items() if owner == name}
    rows = []
    for release in there or ("original",):
        expected = {split: path / f"sub-{int(number[1]):02d}_{stem}.h5" for split, stem in RELEASES[release].items()}
        for split, file in (expected | there.get(release, {})).items():
            rows.append(ExpectedFile(file, f"responses of {name}, {split}, release {release}, from figshare"))
    return [
        *rows,
        picture_row(path),
        ExpectedFile(path / "class_names.csv", "rows such as n01518878,ostrich", optional=True),
    ]


def _files(path):
    """(subject, release) -> split -> file."""
    found = {}
    for file in visible(path):
        match = FILE.fullmatch(file.name)
        word = match and next((word for word in EXPERIMENTS if word in match[2].lower()), None)
        if word:
            splits = found.setdefault((f"subj{int(match[1]):02d}", match[3]), {})
            splits.setdefault(EXPERIMENTS[word], file)
    return found


def _choose(path, subject, release):
    """Subject, release and split -> file."""
    if not path.is_dir():
        raise InputError(f"There is no folder {path}; give the folder that holds the .h5 files, as dir:FOLDER.")
    if release not in (None, *RELEASES):
        raise InputError(f"'{release}' is no release of dir; allowed values are {', '.join(RELEASES)}.")
    found, names = _files(path), subjects(path)
    stem = RELEASES[release or "original"]["train"]
    if not names:
        raise InputError(f"{path} holds no sub-01_{stem}.h5 or other subject; copy them from figshare 7033577.")
    subject = None if subject is None else subject_name(subject)
    if subject is not None and subject not in names:
        raise InputError(
            f"{path} holds no {subject} but {', '.join(names)}{did_you_mean(subject, names)}; pass one of these."
        )
    name = subject or names[0]
    for wanted in (release,) if release else RELEASES:
        if {"train", "test"} <= set(found.get((name, wanted), ())):
            return name, wanted, found[name, wanted]
    there = [f"{split} ({which})" for (owner, which), splits in found.items() if owner == name for split in splits]
    raise InputError(
        f"{path} holds {', '.join(there)} of {name} but not both train and test of {release or 'one release'}; add the "
        f"other file, such as {RELEASES[release or 'original']['test']}.h5."
    )


def download(path, subject=None, progress=SILENT):
    """Fetch the responses of a subject, or of all; see `brainrecon.datasets.kamitani.stimuli.download_responses`."""
    number = None if subject is None else int(re.sub(r"\D", "", str(subject)) or 0)
    return download_responses(FIGSHARE, path, number, FILE, progress)


RELEASE = Option("release", "original or fmriprep; by default the one that is there")
register(
    "dir", DatasetOf(DESCRIPTION, subjects, load, files, (RELEASE, *PICTURE_OPTIONS, ZSCORE, OWN_MASK), download, TERMS)
)
