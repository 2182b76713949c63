"""Generic Object Decoding (Horikawa and Kamitani 2017): people saw and imagined ImageNet pictures.

FOLDER/
  Subject1.h5, Subject2.h5, ...     BData, a file for each person (figshare 7387130)
  images/                           n01518878_10042.JPEG, ..., in subfolders too        optional
  class_names.csv                   rows such as n01518878,ostrich                      optional

`DataType` tells the splits (1 train, 2 test, 3 imagery) and `stimulus_name`, `stimulus_id`, or `Label`, the pictures: by what
the file says its numbers stand for (`/vmap`), or by codes such as 1518878.010042. Categories of the test pictures are in no
training picture, so that it also tests what a decoder makes of things it never learnt.
"""

import re
from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, register
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
FIGSHARE = 7387130
DESCRIPTION = Description(
    measured="Five people saw 1,200 ImageNet pictures of 150 categories once each, saw test pictures of other categories "
    "several times, and imagined objects; fMRI of visual cortex, one response for each sample.",
    available="Responses: figshare 7387130 (preprocessed, BData) and OpenNeuro ds001246 (raw), open to all. "
    f"Pictures: by the form {REQUEST_FORM}.",
    citation="Horikawa, T. and Kamitani, Y. (2017). Generic decoding of seen and imagined objects using hierarchical "
    "visual features. Nature Communications 8, 15037. https://doi.org/10.1038/ncomms15037",
    licence="CC BY 4.0 as others cite it, to be checked at the source; pictures are under their owners' copyright",
    pictures="photographs",
)

DATA_TYPES = {1: "train", 2: "test", 3: "imagery"}
STIMULUS_KEYS = ("stimulus_id", "Label")
LABELLED_KEYS = ("stimulus_name", *STIMULUS_KEYS)
FILE = re.compile(r"Subject(\d+)\.(h5|mat)")


def subjects(path):
    """Names of the subjects that have a file in the folder, in the order of their numbers."""
    return list(_files(Path(path)))


def load(path, subject=None, roi=None, images=None, image_size=None, mask=None, zscore=False):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder of ``Subject1.h5`` and others.
    subject : str, optional
        ``subj01``; by default the first that is there.
    roi : str, optional
        Regions by name, ``V1``, or joined: ``V1 + V2``, ``VC - (V1 | V2)``, see
        `brainrecon.datasets.kamitani.bdata.BData.columns`.
        ``all`` is every voxel. By default ``VC``, or all voxels where the file marks no such region.
    images : path, optional
        Folder of the pictures, named after the stimuli; by default ``images`` in `path`, where that is.
    image_size : int, optional
        Cut and resize pictures to squares of so many pixels; needed only where they differ in size.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: a value for each voxel of the file, or a volume that its coordinates are looked up in.
    zscore : bool
        Z-score each voxel within each run of a split, by the run's own trials, before repeats are averaged: no label takes
        part, and a split's runs are its own.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Splits train, test and, where it was measured, imagery. Stimuli are ``n01518878_10042``, or ``n01518878``
        where the file tells no picture but a category alone. Responses are read from the file when asked for, in the
        file's own units.

    Raises
    ------
    InputError
        Files are absent, damaged or of another layout.
    """
    path = Path(path)
    name, file = _choose(path, subject)
    bdata = BData(file)
    labelled = names_of_labels(bdata, LABELLED_KEYS)
    key = next((key for key in STIMULUS_KEYS if key in bdata.keys), None)
    if (labelled is None and key is None) or "DataType" not in bdata.keys:
        raise InputError(
            f"{file} has {', '.join(bdata.keys)}; expected DataType and stimulus_id (or Label): copy the file again."
        )
    types = bdata.column("DataType")
    names = np.array(labelled or names_of_codes(bdata, stimulus_codes(bdata, key)), dtype=str)
    parts = {
        split: Part(bdata, np.flatnonzero(types == number), names[types == number].tolist())
        for number, split in DATA_TYPES.items()
        if (types == number).any()
    }
    if not {"train", "test"} <= set(parts):
        found = ", ".join(f"{value:g}" for value in np.unique(types))
        raise InputError(
            f"{file} has samples of DataType {found}; expected 1 (train) and 2 (test): copy the file again."
        )
    others = ~np.isin(types, list(DATA_TYPES))
    notes = [f"{others.sum():,} samples of another DataType than 1, 2, 3 were left out"] if others.any() else []
    if "imagery" not in parts:
        notes.append(f"no imagery in {file.name}")
    return make_subject("god", path, name, parts, roi, images, image_size, notes, mask=mask, zscore=zscore)


def files(path, subject=None):
    """The files of the layout; all subjects that are there, or the one that is asked for."""
    path = Path(path)
    there = _files(path)
    if subject is not None:
        number = re.fullmatch(r"subj0*(\d+)", subject)
        if number is None:
            raise InputError(f"'{subject}' is no subject of god; write subj01, for example.")
        there = {subject: there.get(subject, path / f"Subject{number[1]}.h5")}
    rows = [ExpectedFile(file, f"responses of {name}, from figshare 7387130") for name, file in there.items()]
    rows = rows or [ExpectedFile(path / "Subject1.h5", "responses of subj01, from figshare 7387130")]
    return [
        *rows,
        picture_row(path),
        ExpectedFile(path / "ImageFeatures.h5", "features of the pictures, from figshare 7387130", optional=True),
        ExpectedFile(path / "class_names.csv", "rows such as n01518878,ostrich", optional=True),
    ]


def _files(path):
    """Subject -> file, in the order of the subjects' numbers; `.h5` before `.mat`."""
    found = [(FILE.fullmatch(file.name), file) for file in visible(path)]
    numbered = sorted((int(match[1]), match[2], file) for match, file in found if match)
    files = {}
    for number, _, file in numbered:
        files.setdefault(f"subj{number:02d}", file)
    return files


def _choose(path, subject):
    if not path.is_dir():
        raise InputError(f"There is no folder {path}; give the folder that holds Subject1.h5, as god:FOLDER.")
    there = _files(path)
    if not there:
        raise InputError(
            f"{path} holds no Subject1.h5 or other subject; copy them from figshare 7387130, or give a file of "
            "another name as bdata:FILE."
        )
    subject = None if subject is None else subject_name(subject)
    if subject is not None and subject not in there:
        raise InputError(
            f"{path} holds no {subject} but {', '.join(there)}{did_you_mean(subject, there)}; pass one of these."
        )
    name = subject or next(iter(there))
    return name, there[name]


def download(path, subject=None, progress=SILENT):
    """Fetch the responses of a subject, or of all; see `brainrecon.datasets.kamitani.stimuli.download_responses`."""
    number = None if subject is None else int(re.sub(r"\D", "", str(subject)) or 0)
    return download_responses(FIGSHARE, path, number, FILE, progress)


register("god", DatasetOf(DESCRIPTION, subjects, load, files, (*PICTURE_OPTIONS, ZSCORE, OWN_MASK), download, TERMS))
