"""Which picture NSD showed on which trial.

`nsd_expdesign.mat` counts from 1 throughout; stimulus ids here are the 0-based rows of `nsd_stimuli.hdf5`
(the manual's "73k id" less one), written ``nsd00042``. Follows the NSD data manual, "Experiments" and
"Technical notes".
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.ground.errors import InputError
from stages.ground.reading.matlab_files import read_mat
from stages.ground.reading.wall import reading

NSD_PICTURES = 73_000
"""As many as there are in `nsd_stimuli.hdf5`."""


@dataclass(frozen=True)
class Design:
    """The order of pictures, shared by all subjects, and each subject's pictures.

    Attributes
    ----------
    masterordering : array of int, shape (n_trials,)
        For each trial of the whole experiment, a 1-based position among a subject's pictures.
    subjectim : array of int, shape (n_subjects, n_pictures)
        1-based picture numbers; the first `n_shared` columns are shown to every subject. Rows of subjects
        that a simulated cohort leaves out may hold zeros.
    n_shared : int
        masterordering <= n_shared marks the shared pictures: the test split.
    trials_per_run : array of int, shape (n_sessions, n_runs), or None
        Counted in `stimpattern`, if the file has it.
    """

    masterordering: np.ndarray
    subjectim: np.ndarray
    n_shared: int
    trials_per_run: np.ndarray | None = None

    def pictures(self, subject, trials):
        """0-based rows of the stimulus file shown on the given 0-based trials, (n_trials,) int."""
        row = int(subject.removeprefix("subj")) - 1
        if row >= len(self.subjectim):
            raise InputError(
                f"The design lists {len(self.subjectim)} subjects, so none is {subject}; "
                "take the design and the betas from the same release."
            )
        pictures = self.subjectim[row, self.masterordering[trials] - 1]
        if pictures.min() < 1:
            raise InputError(
                f"The design shows {subject} picture {pictures.min()}, but its pictures count from 1; "
                "take the design and the betas from the same release."
            )
        return pictures - 1

    def is_shared(self, trials):
        """Whether the given 0-based trials show a shared picture, (n_trials,) bool."""
        return self.masterordering[trials] <= self.n_shared


def stimulus_id(picture):
    """``nsd00042`` for picture 42, counted from 0."""
    return f"nsd{picture:05d}"


def read_design(path):
    """Read ``nsd_expdesign.mat``.

    Returns
    -------
    design : Design

    Raises
    ------
    InputError
        The file is absent, no MATLAB file, or lacks a field that is needed.
    """
    if not path.is_file():
        raise InputError(f"There is no {path}; copy it from the NSD bucket to this place.")
    content = read_mat(path)
    absent = [name for name in ("masterordering", "subjectim", "sharedix") if name not in content]
    if absent:
        raise InputError(f"{path} has no {', '.join(absent)}; copy the original file again.")
    masterordering, subjectim, shared = (
        whole_numbers(path, name, content[name]) for name in ("masterordering", "subjectim", "sharedix")
    )
    masterordering, subjectim = masterordering.ravel(), np.atleast_2d(subjectim)
    if shared.size and not 1 <= shared.min() <= shared.max() <= NSD_PICTURES:
        raise InputError(
            f"{path}: sharedix runs from {shared.min()} to {shared.max()}; expected 1-based picture numbers up to "
            f"{NSD_PICTURES:,}: copy the original file again."
        )
    if masterordering.min() < 1 or masterordering.max() > subjectim.shape[1]:
        raise InputError(
            f"{path}: masterordering runs from {masterordering.min()} to {masterordering.max()}, but "
            f"it counts from 1 and there are {subjectim.shape[1]:,} pictures a subject; "
            "copy the original file again."
        )
    trials_per_run = None
    if "stimpattern" in content:
        pattern = content["stimpattern"]
        trials_per_run = (pattern.reshape(*pattern.shape[:2], -1) > 0).sum(axis=-1)
        if trials_per_run.sum() != len(masterordering):
            raise InputError(
                f"{path}: stimpattern has {trials_per_run.sum():,} trials but masterordering "
                f"{len(masterordering):,}; "
                "copy the original file again."
            )
    return Design(masterordering, subjectim, shared.size, trials_per_run)


def whole_numbers(path, name, values):
    """Values of a field as int64, once they are whole numbers."""
    values = np.asarray(values)
    if values.dtype.kind not in "iuf" or not np.array_equal(values, np.rint(values)):
        raise InputError(
            f"{path}: {name} is {values.dtype} {values.shape}; expected whole numbers: copy the original file again."
        )
    return values.astype(np.int64)


def trial_table(design, subject, trials_in_file, responses):
    """Every trial of the sessions found, in the order of presentation.

    Parameters
    ----------
    design : Design
    subject : str
    trials_in_file : dict of int to (pathlib.Path, int)
        For each session found (from 1, in order): its file and how many trials that holds.
    responses : pathlib.Path
        The subject's ``responses.tsv``; used if present.

    Returns
    -------
    trials : pandas.DataFrame
        ``session`` and ``run`` (1-based; the run is -1 where no file says it), ``row`` (0-based, in the
        session's file), ``picture`` (0-based row of the stimulus file), ``shared`` (bool).

    Raises
    ------
    InputError
        A session's file has another number of trials than the design or ``responses.tsv`` gives it, or the
        latter shows another picture.
    """
    planned = planned_trials(design, trials_in_file)
    starts = np.concatenate([[0], np.cumsum(planned)])
    sessions = []
    for session, (path, count) in trials_in_file.items():
        expected = int(planned[session - 1]) if 0 < session <= len(planned) else 0
        if count != expected:
            raise InputError(
                f"{path} has {count:,} trials but the design gives session {session} {expected:,}; "
                "copy the file again, or take the betas and the design from the same release."
            )
        numbers = np.arange(starts[session - 1], starts[session])
        table = pd.DataFrame({"session": session, "row": np.arange(count)})
        table["picture"] = design.pictures(subject, numbers)
        table["shared"] = design.is_shared(numbers)
        table["run"] = -1 if design.trials_per_run is None else runs_of_session(design.trials_per_run[session - 1])
        sessions.append(table)
    if responses.is_file():
        behaviour = read_responses(responses)
        for table in sessions:
            table["run"] = runs_in_responses(behaviour, table, responses)
    return pd.concat(sessions, ignore_index=True)


def planned_trials(design, trials_in_file):
    """Trials of every session of the whole experiment, (n_sessions,) int."""
    if design.trials_per_run is not None:
        return design.trials_per_run.sum(axis=1)
    # Without stimpattern all sessions must be of one length, or a missing one would have an unknown length.
    usual = next(iter(trials_in_file.values()))[1]
    return np.full(len(design.masterordering) // usual, usual)


def runs_of_session(trials_per_run):
    """1-based run of each trial, given the number of trials of each run."""
    return np.repeat(np.arange(1, len(trials_per_run) + 1), trials_per_run)


def read_responses(path):
    """The columns SESSION, RUN and 73KID (from 1) of ``responses.tsv``: a row per trial released."""
    return read_columns(path, ("SESSION", "RUN", "73KID"), sep="\t")


def read_columns(path, whole, texts=(), **options):
    """Columns of a table: those of `whole` as int64, those of `texts` as they are."""
    names = [*whole, *texts]
    with reading(path, f"a table with {', '.join(names[:-1])} and {names[-1]}"):
        table = pd.read_csv(path, usecols=names, **options)
        for name in whole:
            values = pd.to_numeric(table[name])
            if not np.array_equal(values, np.rint(values)) or np.abs(values).max() >= 2**53:
                raise ValueError(f"{name} holds values that are no whole numbers")
            table[name] = values.astype(np.int64)
    return table


def runs_in_responses(behaviour, trials, path):
    """Run of each trial of one session according to ``responses.tsv``, once it agrees about the pictures."""
    session, shown = trials["session"].iloc[0], trials["picture"].to_numpy()
    rows = behaviour[behaviour["SESSION"] == session]
    if len(rows) != len(shown):
        raise InputError(
            f"{path} has {len(rows):,} trials of session {session} but its betas have {len(shown):,}; "
            "take both from the same release."
        )
    told = rows["73KID"].to_numpy() - 1
    differs = np.flatnonzero(told != shown)
    if len(differs):
        first = differs[0]
        raise InputError(
            f"{path} shows picture {told[first]} on trial {first + 1} of session {session} but the design "
            f"{shown[first]} (both counted from 0); take both from the same release."
        )
    return rows["RUN"].to_numpy(dtype=np.int64)


def read_coco_ids(path, pictures):
    """COCO's id and split of each picture, from ``nsd_stim_info_merged.csv``.

    Parameters
    ----------
    path : pathlib.Path
    pictures : array of int, shape (n,)
        0-based; looked up in the column nsdId.

    Returns
    -------
    coco_ids : array of int, shape (n,)
    coco_splits : array of str, shape (n,)
        ``train2017`` or ``val2017``.

    Raises
    ------
    InputError
        The table lacks a column or a picture, or has one twice.
    """
    table = read_columns(path, ("cocoId", "nsdId"), ("cocoSplit",))
    for column in ("nsdId", "cocoId"):
        twice = table[column][table[column].duplicated()]
        if len(twice):
            raise InputError(f"{path} has {column} {twice.iloc[0]} in two rows; copy the file again.")
    table = table.set_index("nsdId")
    missing = np.setdiff1d(pictures, table.index)
    if len(missing):
        raise InputError(
            f"{path} lists {len(table):,} pictures but not picture {missing[0]} (counted from 0), "
            "which was shown; "
            "take the table and the design from the same release."
        )
    rows = table.loc[pictures]
    return rows["cocoId"].to_numpy(dtype=np.int64), rows["cocoSplit"].to_numpy(dtype=str)
