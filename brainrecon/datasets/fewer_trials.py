"""A subject of whose training trials some are left out: all but the first sessions, or but those of some stimuli."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from brainrecon.datasets.responses import as_responses
from brainrecon.datasets.split import Split, first_presentation_order
from stages.ground.errors import InputError
from stages.ground.item_seeds import name_seed
from stages.ground.lazy_rows import as_rows


def first_sessions(subject, n_sessions):
    """Learn from the first sessions alone; what is tested stays as it is.

    >>> import brainrecon
    >>> report = brainrecon.simulate("cohort", sessions=3, trials_per_session=30, shared=5, voxels=160)
    >>> whole = brainrecon.load("nsd:cohort")
    >>> few = first_sessions(whole, 1)
    >>> int(whole.train.sessions.max()), int(few.train.sessions.max()), few.test.n_trials == whole.test.n_trials
    (3, 1, True)

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    n_sessions : int
        Of those in which there are training trials, in the order of their numbers.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        With ``details["training sessions"]``.

    Raises
    ------
    InputError
        The data do not say in which session a trial was, or there are fewer.
    """
    sessions = subject.train.sessions
    if sessions is None:
        raise InputError(
            f"{subject.source} does not say in which session a trial was, of which the first {n_sessions} are asked for; leave "
            "--sessions out."
        )
    there = np.unique(sessions)
    if not 1 <= n_sessions <= len(there):
        raise InputError(
            f"The first {n_sessions} sessions are asked for but {subject.name} has training trials in {len(there)}; pass "
            f"--sessions {max(1, min(n_sessions, len(there)))}."
        )
    kept = np.isin(sessions, there[:n_sessions])
    told = f"{n_sessions} of {len(there)} sessions are learned from, {int(kept.sum()):,} of {len(kept):,} trials"
    fewer = _with_trials(subject, np.flatnonzero(kept), told)
    return replace(fewer, details=fewer.details | {"training sessions": int(n_sessions)})


def n_sessions(subject):
    """In how many sessions a subject has training trials; 0 if the data do not say.

    >>> import brainrecon
    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> write_template("another-study")
    >>> n_sessions(brainrecon.load("arrays:another-study"))
    1

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    """
    return 0 if subject.train.sessions is None else len(np.unique(subject.train.sessions))


def some_stimuli(subject, n_stimuli, seed=0):
    """Learn from all trials of some training stimuli, drawn at random; what is tested stays as it is.

    Stimuli of more are those of fewer and others, of one seed.

    >>> import brainrecon
    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> write_template("small-study")
    >>> whole = brainrecon.load("arrays:small-study")
    >>> few = some_stimuli(whole, 3)
    >>> whole.train.n_stimuli, few.train.n_stimuli, few.test.n_stimuli == whole.test.n_stimuli
    (12, 3, True)

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    n_stimuli : int
    seed : int
        Which they are depends on it, and on the names of the stimuli.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        With ``details["training stimuli"]`` [n_stimuli, seed].

    Raises
    ------
    InputError
        There are fewer.
    """
    train = subject.train
    if not 1 <= n_stimuli <= train.n_stimuli:
        raise InputError(
            f"{n_stimuli:,} training stimuli are asked for but {subject.name} has {train.n_stimuli:,}; pass "
            f"--training-stimuli {max(1, min(n_stimuli, train.n_stimuli))}."
        )
    by_lot = sorted(range(train.n_stimuli), key=lambda row: name_seed(f"{seed}/{train.stimulus_ids[row]}/learned from"))
    chosen = np.zeros(train.n_stimuli, dtype=bool)
    chosen[by_lot[:n_stimuli]] = True
    told = f"{n_stimuli:,} of {train.n_stimuli:,} training stimuli are learned from, drawn with seed {seed}"
    fewer = _with_trials(subject, np.flatnonzero(chosen[train.positions]), told)
    return replace(fewer, details=fewer.details | {"training stimuli": [int(n_stimuli), int(seed)]})


def without_stimuli(subject, ids, why):
    """Learn from all training stimuli but some; what is tested stays as it is.

    >>> import brainrecon
    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> write_template("my-study")
    >>> whole = brainrecon.load("arrays:my-study")
    >>> fewer = without_stimuli(whole, whole.train.stimulus_ids[:3], "that somebody else is tested on")
    >>> whole.train.n_stimuli, fewer.train.n_stimuli
    (12, 9)

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    ids : sequence of str
        Some of which may be no training stimuli.
    why : str
        Which they are, for the notes: "that a subject is tested on".

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        The same object if none of them is learned from.

    Raises
    ------
    InputError
        Nothing is left.
    """
    train = subject.train
    dropped = np.isin(train.stimulus_ids, np.asarray(ids, dtype=str))
    if not dropped.any():
        return subject
    if dropped.all():
        raise InputError(
            f"All {len(dropped):,} training stimuli of {subject.name} are stimuli {why}; leave {subject.name} out, or test "
            "others with --split."
        )
    kept = np.flatnonzero(~dropped[train.positions])
    told = f"{int(dropped.sum()):,} of {len(dropped):,} training stimuli of {subject.name} are left out, {why}"
    return _with_trials(subject, kept, told)


def _with_trials(subject, trials, told):
    """A subject that learns from some of its training trials, by their rows."""
    train = subject.train
    # What is z-scored when it is read is so by the training trials of each session.
    betas = as_responses(train.betas).take(trials)
    shown = train.trial_stimulus_ids[trials]
    # In the order in which stimuli are first shown now, which is another one where first trials are left out.
    place = {name: row for row, name in enumerate(train.stimulus_ids.tolist())}
    rows = np.array([place[name] for name in first_presentation_order(shown)[0].tolist()], dtype=int)
    fewer = Split(
        betas,
        shown,
        None if train.sessions is None else train.sessions[trials],
        None if train.runs is None else train.runs[trials],
        None if train.images is None else as_rows(train.images).take(rows),
        partial(_rows, train, "captions", rows) if train.has_captions else None,
        partial(_rows, train, "categories", rows) if train.has_categories else None,
    )
    # Encoding models that the study fitted saw all trials.
    return replace(
        subject,
        splits=subject.splits | {"train": fewer},
        encoding_models={},
        notes=[*subject.notes, told],
    )


def _rows(train, name, rows):
    values = getattr(train, name)
    return [values[row] for row in rows]
