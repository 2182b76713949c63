"""What was shown on each trial, and the splits of the trials."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import NamedTuple

from brainrecon.datasets.split import Split
from brainrecon.datasets.trial_tables import read_table
from stages.ground.errors import InputError
from weights.names import trouble_with_part

SPLITS = {"train": "train", "exp": "train", "test": "test"}
"""As the table and the events of the raw data call them."""
CATCH = re.compile(r"catch\d+", re.IGNORECASE)
COLUMNS = ("trial_type", "session", "run", "trial_id", "stimulus", "concept")
REMEDY = "copy the original file again"


class Trial(NamedTuple):
    """A trial of a subject.

    Attributes
    ----------
    number : int
        Its column in the table of responses; in volumes its place among the trials.
    split : str
        "train" or "test"; "" if the file does not say.
    stimulus_id : str
        Name of the picture without its ending: ``dog_12s``.
    picture : str
        Name of its file: ``dog_12s.jpg``.
    concept : str
        What is in it: ``dog``, the folder of the picture.
    session, run : int
        From 1; runs are counted in each session.
    """

    number: int
    split: str
    stimulus_id: str
    picture: str
    concept: str
    session: int
    run: int


def shown(file, concept=""):
    """The id, the file and the concept of a picture, by the name of its file, in whatever folder.

    >>> shown("images/dog_12s.jpg")
    ('dog_12s', 'dog_12s.jpg', 'dog')

    Parameters
    ----------
    file : str
    concept : str
        If it is told; otherwise what stands before the last ``_``.
    """
    picture = PurePosixPath(file.replace("\\", "/"))
    return picture.stem, picture.name, concept or picture.stem.rpartition("_")[0]


def read_stimuli(path, number):
    """The trials of the table form, in its order.

    Parameters
    ----------
    path : pathlib.Path
        A subject's ``StimulusMetadata.csv``.
    number : int
        Of the subject.

    Returns
    -------
    trials : list of Trial

    Raises
    ------
    InputError
        The file is absent, damaged or another subject's.
    """
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "is missing"
        raise InputError(f"{path} {kind}, which says what was shown on each trial; {REMEDY}.")
    rows = read_table(path)
    if not rows:
        raise InputError(f"{path} has no row below its head; {REMEDY}.")
    if absent := [name for name in COLUMNS if name not in rows[0]]:
        raise InputError(f"{path} has no column {absent[0]} but {', '.join(rows[0])}; {REMEDY}.")
    trials = [_trial(path, place, row, number) for place, row in enumerate(rows, start=2)]
    first = {}
    for place, trial in enumerate(trials, start=2):
        if trial.number in first:
            raise InputError(
                f"Rows {first[trial.number]} and {place} of {path} are both trial {trial.number}; {REMEDY}."
            )
        first[trial.number] = place
    check_one_picture_each(trials, path)
    return trials


def check_one_picture_each(trials, where):
    """Raise an InputError if two pictures have one name but for their ending, or one picture two concepts."""
    known = {}
    for trial in trials:
        other = known.setdefault(trial.stimulus_id, trial)
        if (other.picture, other.concept) != (trial.picture, trial.concept):
            raise InputError(
                f"{where} names {other.concept}/{other.picture} and {trial.concept}/{trial.picture}, which would both be "
                f"{trial.stimulus_id}; {REMEDY}."
            )


def _trial(path, place, row, number):
    kind, file, concept = row["trial_type"].lower(), row["stimulus"], row["concept"]
    if kind not in SPLITS:
        raise InputError(
            f"Row {place} of {path} has trial_type {row['trial_type']!r}; expected train or test: {REMEDY}."
        )
    for name in (file, concept):
        if trouble := trouble_with_part(name):
            raise InputError(
                f"Row {place} of {path} names {name[:80]!r}, which cannot be a file or folder, for {trouble}; {REMEDY}."
            )
    session, run = (_whole(path, place, row, name, 1) for name in ("session", "run"))
    if "subject_id" in row and _whole(path, place, row, "subject_id", 0) != number:
        raise InputError(
            f"Row {place} of {path} is a trial of subject {row['subject_id']}, not of {number}; rename the file, or copy it "
            "again."
        )
    return Trial(_whole(path, place, row, "trial_id", 0), SPLITS[kind], *shown(file, concept), session, run)


def _whole(path, place, row, column, least):
    """A whole number, which programs may write as 3.0."""
    text = re.sub(r"\.0*$", "", row[column])
    if not text.isascii() or not text.isdecimal() or int(text) < least:
        raise InputError(
            f"Row {place} of {path} has {row[column][:40]!r} as {column}; expected a whole number from {least} on: {REMEDY}."
        )
    return int(text)


def without_test_concepts(trials, where):
    """Places of the trials without those of training whose concept is tested, and of how many trials and concepts these are."""
    tested = {trial.concept for trial in trials if trial.split == "test"}
    dropped = {place for place, trial in enumerate(trials) if trial.split == "train" and trial.concept in tested}
    if len(dropped) == sum(trial.split == "train" for trial in trials):
        raise InputError(
            f"Every training concept of {where} is tested too, so that zero_shot leaves nothing to train on; leave it out."
        )
    left = [place for place in range(len(trials)) if place not in dropped]
    return left, len(dropped), len({trials[place].concept for place in dropped})


def splits_of(trials, responses, where):
    """Train and test, without pictures.

    Parameters
    ----------
    trials : list of Trial
    responses : callable
        ``responses(places)`` gives those of some places of the list.
    where : str or path
        For the message.

    Returns
    -------
    splits : dict of str to brainrecon.datasets.split.Split
        Categories are the concepts.
    pictures : dict of str to list of Trial
        One of each stimulus of a split, in its order.
    """
    splits, pictures = {}, {}
    for name in ("train", "test"):
        places = [place for place, trial in enumerate(trials) if trial.split == name]
        if not places:
            raise InputError(f"{where} has no trial for {name}; put all runs there, or {REMEDY}.")
        own, first = [trials[place] for place in places], {}
        for trial in own:
            first.setdefault(trial.stimulus_id, trial)
        pictures[name] = list(first.values())
        splits[name] = Split(
            betas=responses(places),
            trial_stimulus_ids=[trial.stimulus_id for trial in own],
            sessions=[trial.session for trial in own],
            runs=[trial.run for trial in own],
            categories=[[trial.concept] for trial in pictures[name]],
        )
    return splits, pictures
