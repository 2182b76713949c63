"""A BData file of your own, whatever it is called, and which of its keys say what was shown and what is tested.

FILE.h5
  dataset, metadata, vmap      as `brainrecon.datasets.kamitani.bdata` describes
    VoxelData                    the columns that are voxels; without it those of ROI_*           optional
    ROI_V1, ...                  regions                                                          optional
    stimulus_name, stimulus_id, image_index or Label, or the key of --option stimulus: what was shown on each sample
    DataType, or the key of --option split: 1 for train and 2 for test, or the values of --option train and test
    Run, Session                 numbers from 1                                                   optional
images/ beside it              the pictures, named after the stimuli                              optional
class_names.csv beside it      rows such as n01518878,ostrich                                     optional

Numbers of a key are names if the file labels them in ``vmap``. A number without a label is called ``stimulus_7``, or as in GOD if
it is a code of ImageNet. With ``--option test_file=OTHER.h5`` all samples of FILE train and all of OTHER are tested.
"""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.folds import checked_fold, in_fold
from brainrecon.datasets.kamitani.bdata import BData
from brainrecon.datasets.kamitani.recording import Part, make_subject
from brainrecon.datasets.kamitani.stimuli import (
    PICTURE_OPTIONS,
    ZSCORE,
    name_of_text,
    names_of_codes,
    stimulus_codes,
)
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.responses import ResponsesOf, checked_standardized
from brainrecon.datasets.subject import subject_name
from brainrecon.datasets.voxels import absent
from stages.ground.errors import InputError
from stages.ground.listing import visible

DESCRIPTION = Description(
    measured="Your own responses to pictures in a BData file, the format of the Kamitani laboratory.",
    available="From you; github.com/KamitaniLab/bdpy writes such files, from NIfTI too.",
    citation="Yours; the format's first public data: Horikawa and Kamitani 2017, Nature Communications 8:15037, "
    "doi 10.1038/ncomms15037",
    licence="yours to state",
)
STIMULUS_KEYS = ("stimulus_name", "stimulus_id", "image_index", "Label")
SPLIT_KEY = "DataType"
VALUES = {"train": ("1", "train", "training"), "test": ("2", "test")}
_NUMBER = re.compile(r"(?:subject|subj|sub)[-_]?0*(\d+)", re.IGNORECASE)


def subjects(path):
    """The one subject of the file: the number that its name holds, or ``subj01``."""
    found = _NUMBER.search(_file(path).stem)
    return [f"subj{int(found[1]):02d}" if found else "subj01"]


def load(
    path,
    subject=None,
    roi=None,
    stimulus=None,
    split=None,
    train=None,
    test=None,
    test_file=None,
    images=None,
    image_size=None,
    standardized="no",
    zscore=False,
    fold=None,
    mask=None,
):
    """Load the subject of a file.

    Parameters
    ----------
    path : pathlib.Path
        A BData file: HDF5, or a `.mat` of version 7.3.
    subject : str, optional
        By default the only one.
    roi : str, optional
        As of `brainrecon.datasets.kamitani.god.load`.
    stimulus : str, optional
        The key that says what was shown; by default the first of `STIMULUS_KEYS` that is there.
    split : str, optional
        The key that says which samples train and which are tested; by default DataType.
    train, test : str or number, optional
        Its values, or their labels; by default 1 or train, and 2 or test. Samples with other values are left out.
    test_file : path, optional
        A second file, all samples of which are tested; all of the first then train.
    images, image_size
        As of `brainrecon.datasets.kamitani.god.load`; the folder ``images`` beside the file is the default.
    standardized : {"no", "session"}
        "session" if the responses were z-scored within sessions or runs before they were saved.
    zscore : bool
        Z-score each voxel within each run of a split.
    fold : tuple of (int, int), optional
        ``(k, n)``: test part k of n parts of all stimuli; no split is needed then.
    mask : brainrecon.datasets.own_mask.OwnMask, optional

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Responses are read from the file when asked for. Trials of a stimulus are its repeats, by which a noise ceiling is
        measured if test stimuli have any.

    Raises
    ------
    InputError
        A file is absent, damaged or of another layout, or lacks a key.
    """
    if fold is not None:
        checked_fold(fold)
    checked_standardized(standardized, f"the option for {path}")
    if standardized != "no" and zscore:
        raise InputError(
            "Both standardized=session and zscore=true were given; leave zscore out if responses are z-scored."
        )
    file, (name,) = _file(path), subjects(path)
    if subject is not None and subject_name(subject) != name:
        raise absent(file, "subject", subject, [name])
    bdata = BData(file)
    names, key = _stimuli(bdata, stimulus)
    notes, details = [f"stimuli are named by {key}"], {"stimulus": key}
    if test_file is not None:
        if any(given is not None for given in (split, train, test)):
            raise InputError("Both test_file and a split within the file were given; leave one of the two out.")
        other = BData(_test_file(test_file))
        parts = {
            "train": Part(bdata, np.arange(bdata.n_samples), names),
            "test": Part(other, np.arange(other.n_samples), _stimuli(other, stimulus)[0]),
        }
        notes.append(f"all samples of {other.path.name} are tested")
    elif split is None and SPLIT_KEY not in bdata.keys:
        if fold is None:
            raise InputError(
                f"{file} has no key {SPLIT_KEY} that says what is tested; name another, --option split=KEY of {_listed(bdata)}, "
                "a second file, --option test_file=FILE, or test each stimulus once, --folds 10."
            )
        parts = {"train": Part(bdata, np.arange(bdata.n_samples), names)}
    else:
        parts, told = _parts(bdata, names, split or SPLIT_KEY, {"train": train, "test": test})
        notes += told
        details["split"] = split or SPLIT_KEY
    how = f"put them into {file.parent / 'images'}, named after the stimuli"
    loaded = make_subject(
        "bdata", file.parent, name, parts, roi, images, image_size, notes, details, mask, zscore, f"bdata:{path}", how
    )
    if standardized != "no":
        for one in loaded.splits.values():
            one.betas = ResponsesOf(one.betas, standardized)
    return loaded if fold is None else in_fold(loaded, fold)


def _file(path):
    path = Path(path)
    if path.is_dir():
        there = [file.name for file in visible(path) if file.suffix.lower() in (".h5", ".hdf5", ".mat")]
        raise InputError(
            f"{path} is a folder; give one file, as bdata:{path / (there[0] if there else 'mine.h5')}"
            f"{f', of {len(there)} that are there' if there else ''}."
        )
    return path


def _test_file(path):
    if not isinstance(path, str | PathLike):
        raise InputError(f"test_file is {path!r}; expected the path of a BData file.")
    return Path(path).expanduser()


def _listed(bdata):
    return ", ".join(key for key in bdata.keys if not key.startswith(("ROI_", "voxel_", "Voxel")))


def _stimuli(bdata, key=None):
    """The stimulus of every sample, "" where none was shown, and the key that tells it."""
    if key is None:
        key = next((name for name in STIMULUS_KEYS if name in bdata.keys), None)
    if key is None:
        raise InputError(
            f"{bdata.path} has none of the keys {', '.join(STIMULUS_KEYS)}; say which key tells what was shown, --option "
            f"stimulus=KEY of {_listed(bdata)}."
        )
    _check_key("stimulus", key)
    if bdata.has_labels(key):
        return [name_of_text(label) for label in bdata.labels(key)], key
    bdata.metadata(key)
    return names_of_codes(bdata, stimulus_codes(bdata, key)), key


def _check_key(option, key):
    if not isinstance(key, str):
        raise InputError(f"{option} is {key!r}; expected the name of a key of the file.")


def _parts(bdata, names, key, asked):
    """Samples of train and of test by a key, and notes of what is left out."""
    _check_key("split", key)
    if bdata.has_labels(key):
        values = np.array(bdata.labels(key), dtype=str)
    else:
        values = np.array(["" if np.isnan(value) else f"{value:.9g}" for value in bdata.column(key)], dtype=str)
    found = list(dict.fromkeys(values.tolist()))
    parts = {}
    for split, value in asked.items():
        if value is None:
            wanted = [one for one in found if one.lower() in VALUES[split]]
        else:
            wanted = [f"{value:.9g}" if isinstance(value, int | float) else str(value)]
        rows = np.flatnonzero(np.isin(values, wanted))
        if not len(rows):
            raise InputError(
                f"No sample of {bdata.path} has {' or '.join(wanted or VALUES[split])} as {key}, which would be the split "
                f"{split}; it has {', '.join(one or 'nothing' for one in found[:8])}: say which, --option {split}=VALUE."
            )
        parts[split] = Part(bdata, rows, [names[row] for row in rows])
    both = np.intersect1d(parts["train"].rows, parts["test"].rows)
    if len(both):
        raise InputError(
            f"train and test are the same value of {key}; give two, --option train=VALUE --option test=VALUE."
        )
    left = bdata.n_samples - sum(len(part.rows) for part in parts.values())
    return parts, [f"{left:,} samples with another {key} were left out"] if left else []


def files(path, subject=None, test_file=None):
    """The file, a second one if it is named, and what may lie beside it."""
    path = Path(path)
    rows = [ExpectedFile(path, "responses, regions, and what was shown")]
    if test_file is not None:
        rows.append(ExpectedFile(_test_file(test_file), "responses that are tested"))
    pictures = (file for file in visible(path.parent / "images", "**/*") if file.is_file())
    return [
        *rows,
        ExpectedFile(next(pictures, path.parent / "images"), "the pictures, the first of them", optional=True),
        ExpectedFile(path.parent / "class_names.csv", "rows such as n01518878,ostrich", optional=True),
    ]


register(
    "bdata",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option("stimulus", f"the key that says what was shown; by default the first of {', '.join(STIMULUS_KEYS)}"),
            Option("split", f"the key that says what is tested; by default {SPLIT_KEY}"),
            Option("train", "its value, or label, of training samples; by default 1 or train"),
            Option("test", "its value, or label, of test samples; by default 2 or test"),
            Option("test_file", "a second BData file, all samples of which are tested", for_files=True),
            Option("standardized", "session: responses were z-scored within sessions or runs; by default no"),
            Option("fold", "(k, n): test part k of n parts of all stimuli; no split is needed then"),
            *PICTURE_OPTIONS,
            ZSCORE,
            OWN_MASK,
        ),
    ),
)
