"""Responses to single trials of faces that a user estimated: a folder as `brainrecon.datasets.arrays.bids_betas` reads it.

FOLDER/betas/sub-01/
  **/*_betas.nii.gz       (x, y, z, trials), a file per run or per session; ses- and run- of its name say which runs these are
  *_mask.nii.gz           the brain, and regions
Trials are rows of the runs' events in their order: all of them; or all but pauses; or all but pauses and imagery; or the same
without faces that were shown again at once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from brainrecon.datasets.arrays import bids_betas
from brainrecon.datasets.arrays.bids_events import WHICH_EVENTS, Trial, entities
from brainrecon.datasets.faces.shown import shown_split
from brainrecon.datasets.subject import stimulus_fingerprint
from stages.ground.errors import InputError

FACES = ("train", "test")


def folder_of(path: Path, subject: str) -> Path:
    """Where a subject's betas lie."""
    return Path(path) / "betas" / subject


def files(path, subject):
    """The betas and masks; events lie elsewhere."""
    return [file for file in bids_betas.files(Path(path) / "betas", subject) if not file.path.name.endswith(".tsv")]


def load(path, subject, roi, presentations, mask):
    """Load one subject, see `brainrecon.datasets.faces.reader.load`.

    Parameters
    ----------
    path : path
        The whole folder.
    subject : str
    roi : str or None
    presentations : dict of path to list of Presentation
        By file of events.
    mask : OwnMask or None
    """
    found = bids_betas.load(
        Path(path) / "betas",
        subject,
        roi,
        own=mask,
        trials_of=lambda betas: _trials(betas, presentations),
    )
    shown = {one.stimulus_id: one for rows in reversed(presentations.values()) for one in rows[::-1]}
    splits = {}
    for name, split in found.splits.items():
        own = shown_split(path, split.betas, [shown[one] for one in split.trial_stimulus_ids])
        own.sessions, own.runs = split.sessions, split.runs
        splits[name] = own
    return replace(
        found,
        dataset="faces",
        source=f"faces:{path}",
        splits=splits,
        fingerprint=stimulus_fingerprint("faces", splits),
        notes=[*found.notes, "betas are your own; what was imagined is not in the events, so there is no imagery"],
        details=found.details | {"responses": "own"},
    )


def _trials(betas, presentations):
    """The trials of files of betas, in the order of the files and of their volumes."""
    trials = []
    for number, (file, n_volumes) in enumerate(betas.items()):
        wanted = {key: value for key, value in entities(file).items() if key in WHICH_EVENTS}
        rows = [one for events, own in presentations.items() if _fits(wanted, events) for one in own]
        for row, one in enumerate(_estimated(file, rows, n_volumes)):
            if one.split in FACES and not one.is_repeat:
                trials.append(Trial(number, row, one.stimulus_id, one.session, one.run, one.split))
    if absent := [name for name in FACES if name not in {trial.split for trial in trials}]:
        raise InputError(
            f"No trial of {next(iter(betas)).parent} shows a face for {absent[0]}; put betas of all runs there."
        )
    return trials


def _fits(wanted, events):
    there = entities(events)
    return all(there.get(key, value).lstrip("0") == value.lstrip("0") for key, value in wanted.items())


def _estimated(file, rows, n_volumes):
    """The rows of events that betas were estimated for, told by their number."""
    choices = [
        rows,
        [one for one in rows if one.split],
        [one for one in rows if one.split in FACES],
        [one for one in rows if one.split in FACES and not one.is_repeat],
    ]
    for choice in choices:
        if choice and len(choice) == n_volumes:
            return choice
    counts = ", ".join(f"{len(choice):,}" for choice in choices)
    raise InputError(
        f"{file} has {n_volumes:,} volumes but its runs have {counts} rows (all, without pauses, faces, faces that are new); "
        "give one volume for each."
    )
