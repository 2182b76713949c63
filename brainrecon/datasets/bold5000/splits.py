"""Which trials are used, and the splits that they make."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainrecon.datasets.bold5000.names import SOURCES, Named
from brainrecon.datasets.bold5000.presentations import Shown
from brainrecon.datasets.bold5000.recording import Recording
from brainrecon.datasets.bold5000.stimuli import caption_notes, caption_reader, category_reader, read_pictures
from brainrecon.datasets.nsd.betas import SessionBetas
from brainrecon.datasets.responses import Responses
from brainrecon.datasets.split import Split, first_presentation_order
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean


def chosen_trials(shown: Shown, tested: set[str], available: np.ndarray, source: str | None) -> dict[str, np.ndarray]:
    """Trials of each split, counted from 0, in the order in which they were shown.

    Parameters
    ----------
    shown : brainrecon.datasets.bold5000.presentations.Shown
    tested : set of str
        Ids of the pictures that are tested.
    available : array of int
        Trials that may be used.
    source : {"imagenet", "coco", "scenes"}, optional
        Of the pictures that are used; by default all.

    Raises
    ------
    InputError
        There is no such source, or a split is left without a trial.
    """
    if source is not None and source not in SOURCES:
        meant = did_you_mean(str(source), SOURCES)
        raise InputError(f"source is {source!r}; expected one of {', '.join(SOURCES)}{meant}, or leave it out for all.")
    used = [trial for trial in available.tolist() if source in (None, shown.pictures[trial].source)]
    is_tested = np.array([shown.pictures[trial].stimulus_id in tested for trial in used], dtype=bool)
    trials = {"train": np.array(used, dtype=np.int64)[~is_tested], "test": np.array(used, dtype=np.int64)[is_tested]}
    for name, own in trials.items():
        if not len(own):
            raise InputError(
                f"Of {len(used):,} trials by {shown.where} none is left for {name}; choose more sessions, or another source."
            )
    return trials


def training_rows(trials: np.ndarray, rows: dict[int, np.ndarray], where: object) -> dict[int, np.ndarray]:
    """Rows of each session's own that train, 0-based; an InputError if a session has fewer than two."""
    found = {session: np.flatnonzero(np.isin(own, trials)) for session, own in rows.items()}
    for session, own in found.items():
        if len(own) < 2:
            raise InputError(
                f"Session {session} by {where} has {len(own)} training trials; z-scoring within sessions needs 2 or more: leave "
                "scaling=session out, or choose other sessions."
            )
    return found


def betas_of(store, rows: dict[int, np.ndarray], trials: np.ndarray) -> SessionBetas:
    """Responses of some trials of a store whose sessions hold these rows."""
    places = {trial: (session, row) for session, own in rows.items() for row, trial in enumerate(own.tolist())}
    sessions, own_rows = zip(*(places[trial] for trial in trials.tolist()))
    return SessionBetas(store, sessions, own_rows)


def make_splits(
    path: Path,
    shown: Shown,
    recording: Recording,
    trials: dict[str, np.ndarray],
    betas: dict[str, Responses],
    pictures: bool,
    images,
    image_size,
) -> tuple[dict[str, Split], list[str]]:
    """Splits with pictures, categories and, if all stimuli have some, captions; and notes.

    Parameters
    ----------
    path : pathlib.Path
    shown : brainrecon.datasets.bold5000.presentations.Shown
    recording : brainrecon.datasets.bold5000.recording.Recording
    trials : dict of str to array of int
    betas : dict of str to Responses
    pictures : bool
        Whether pictures are looked for.
    images, image_size
        As `brainrecon.datasets.bold5000.stimuli.read_pictures` takes them.
    """
    named = {name: [shown.pictures[trial] for trial in own.tolist()] for name, own in trials.items()}
    stimuli: dict[str, list[Named]] = {}
    for name, own in named.items():
        by_id = {one.stimulus_id: one for one in own}
        stimuli[name] = [by_id[one] for one in first_presentation_order([one.stimulus_id for one in own])[0].tolist()]
    found, notes = read_pictures(path, stimuli, images, image_size) if pictures else ({}, ["pictures were left out"])
    has_captions = caption_reader(path, [one for own in stimuli.values() for one in own]) is not None
    session_of = {trial: session for session, own in recording.rows.items() for trial in own.tolist()}
    splits = {
        name: Split(
            betas=betas[name],
            trial_stimulus_ids=[one.stimulus_id for one in named[name]],
            sessions=[session_of[trial] for trial in own.tolist()] if recording.knows_sessions else None,
            runs=None if shown.runs is None else [shown.runs[trial] for trial in own.tolist()],
            images=found.get(name),
            captions=caption_reader(path, stimuli[name]) if has_captions else None,
            categories=category_reader(path, stimuli[name]),
        )
        for name, own in trials.items()
    }
    return splits, [*notes, *caption_notes(path, has_captions)]
