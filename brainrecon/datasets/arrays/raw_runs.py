"""Responses from raw runs: a label per volume, the lag of the response, a straight line taken out, z-scores within each run.

The steps are those of nilearn (`nilearn.signal.clean` with ``runs``, and its example of Miyawaki's pictures): each voxel is
detrended in each run, then z-scored there; the response to a volume's label is the volume `shift` volumes later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.signal import detrend as without_line

from brainrecon.datasets.arrays.finite_voxels import LEFT_OUT
from brainrecon.datasets.dataset import Option
from brainrecon.datasets.responses import Responses
from brainrecon.datasets.split import check_finite
from stages.ground.checks import Number, OneOf, check, is_constant
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_rows

REST = ("", "rest", "-1", "n/a")
"""Labels of volumes without a stimulus."""
OPTIONS = (
    Option("shift", "raw runs: by how many volumes responses lag behind their labels; 2 by default"),
    Option("detrend", "raw runs: take a straight line out of each voxel in each run; true by default"),
    Option("zscore", "raw runs: z-score each voxel in each run; true by default"),
    Option("blocks", "raw runs: average, a trial per block of volumes of one stimulus, or volumes, a trial per volume"),
)
_RULES = {
    "shift": Number(0, whole=True, example=2),
    "detrend": OneOf(True, False),
    "zscore": OneOf(True, False),
    "blocks": OneOf("average", "volumes"),
}


@dataclass(frozen=True)
class Cleaning:
    """What is done to raw runs.

    Attributes
    ----------
    shift : int
        Volumes by which responses lag; a run loses so many labels at its end.
    detrend : bool
        Take a straight line, and the mean with it, out of each voxel in each run, before anything is cut off.
    zscore : bool
        Divide by the standard deviation over the volumes of the run (ddof 1); a voxel that does not vary becomes 0.
    blocks : {"average", "volumes"}
        A trial is the mean over volumes that follow each other with one label, or every volume by itself.
    """

    shift: int = 2
    detrend: bool = True
    zscore: bool = True
    blocks: str = "average"

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            check(name, getattr(self, name), rule, "--option {name}={example}")

    def clean(self, volumes):
        """Volumes (n_volumes, n_voxels) of one run, cleaned, float64."""
        values = np.asarray(volumes, dtype=np.float64)
        size = np.abs(values).max(axis=0)
        if self.detrend:
            values = without_line(values, axis=0)
        if self.zscore:
            values = values - values.mean(axis=0)
            spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
            # Of a constant voxel, or a straight line, rounding is left, which is no response.
            values = np.divide(values, spread, out=np.zeros_like(values), where=~is_constant(size, spread))
        return values

    @property
    def note(self):
        """What was done, in words."""
        steps = ["a straight line taken out of each voxel in each run"] if self.detrend else []
        steps += ["z-scored within each run"] if self.zscore else []
        trial = (
            "a trial is the mean over volumes that follow each other with one stimulus"
            if self.blocks == "average"
            else "each volume with a stimulus is a trial; those of one block follow each other, so they are not independent"
        )
        return (
            f"raw runs: {', '.join(steps) or 'not cleaned'}; responses {self.shift} volumes after their labels; {trial}"
        )


def cleaning(where, holds_volumes, asked):
    """The `Cleaning` that options ask for; None if a file holds responses already, which takes none of them.

    Parameters
    ----------
    where : path
        For messages.
    holds_volumes : bool
    asked : dict
        Values of `OPTIONS` by name, None for what was not asked.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    if not holds_volumes and given:
        raise InputError(
            f"'{next(iter(given))}' does nothing for {where}, which holds no volumes of raw runs; leave it out."
        )
    return replace(Cleaning(), **given) if holds_volumes else None


class Blocks(NamedTuple):
    """Trials of raw runs.

    Attributes
    ----------
    responses : RunResponses
    labelled : array of int, shape (n_trials,)
        The first labelled row of each trial, to look up whatever else is told by row.
    notes : list of str
    """

    responses: RunResponses
    labelled: np.ndarray
    notes: list[str]


def trials_of_runs(volumes, labels, runs, how, where):
    """The trials of raw runs.

    Parameters
    ----------
    volumes : array of shape (n_volumes, n_voxels)
        In memory or read by rows; the runs one after the other, each in time order.
    labels : sequence of str, length n_volumes
        The stimulus shown during each volume; one of `REST` for none.
    runs : sequence of int, length n_volumes
    how : Cleaning
    where : str or path
        For messages.

    Returns
    -------
    Blocks

    Raises
    ------
    InputError
        The volumes of a run are not together, no label is left, or a run has no more volumes than `shift`.
    """
    labels, runs = np.asarray(labels, dtype=str), np.asarray(runs)
    starts = np.flatnonzero(np.r_[True, runs[1:] != runs[:-1]])
    if len(starts) > len(np.unique(runs)):
        again = next(run for place, run in enumerate(runs[starts]) if run in runs[starts][:place])
        raise InputError(
            f"{where} has volumes of run {again} in two places; give each run its volumes together, in time order."
        )
    spans = list(zip(starts.tolist(), [*starts[1:].tolist(), len(runs)]))
    shown, trials, lost = ~np.isin(labels, REST), [], 0
    for span, (start, stop) in enumerate(spans):
        if stop - start <= how.shift:
            raise InputError(
                f"Run {runs[start]} of {where} has {stop - start:,} volumes, so a shift of {how.shift:,} leaves none; pass less."
            )
        last = stop - how.shift
        lost += int(shown[last:stop].sum())
        rows = np.flatnonzero(shown[start:last]) + start
        follows = np.r_[False, (np.diff(rows) == 1) & (labels[rows[1:]] == labels[rows[:-1]])] if len(rows) else rows
        for row, joins in zip(rows.tolist(), follows if how.blocks == "average" else np.zeros(len(rows), dtype=bool)):
            if joins:
                trials[-1][1].append(row)
            else:
                trials.append((span, [row]))
    if not trials:
        raise InputError(
            f"{where} labels no volume with a stimulus; expected ids, and {', '.join(REST[1:])} or nothing at rest."
        )
    notes = [how.note]
    if lost:
        notes.append(f"{lost:,} labelled volumes at the end of runs have no response {how.shift} volumes later")
    return Blocks(
        RunResponses(as_rows(volumes), spans, trials, how, where), np.array([rows[0] for _, rows in trials]), notes
    )


class RunResponses(Responses):
    """Responses to the trials of raw runs: a run is cleaned when one of its trials is asked for.

    Parameters
    ----------
    volumes : LazyRows of shape (n_volumes, n_voxels)
    spans : list of (int, int)
        First row, and row behind the last, of each run.
    trials : list of (int, list of int)
        The run of each trial, and its labelled rows.
    how : Cleaning
    where : str or path
    """

    def __init__(self, volumes, spans, trials, how, where):
        super().__init__((len(trials), volumes.shape[1]), np.float32)
        self._volumes, self._spans, self._trials, self._how, self._where = volumes, spans, trials, how, where
        self.standardized = "session" if how.zscore else "no"
        self._kept = None, None

    def _read(self, rows):
        found = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        for place, trial in enumerate(rows):
            span, labelled = self._trials[trial]
            start = self._spans[span][0]
            found[place] = self._run(span)[np.array(labelled) - start + self._how.shift].mean(axis=0)
        return found

    def _run(self, span):
        # Trials come in order, so that the run before is asked for no more.
        if self._kept[0] != span:
            values = self._volumes[slice(*self._spans[span])]
            check_finite(values, self._where, LEFT_OUT)
            self._kept = span, self._how.clean(values)
        return self._kept[1]

    def _of_columns(self, places):
        return RunResponses(self._volumes.columns(places), self._spans, self._trials, self._how, self._where)
