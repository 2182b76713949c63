"""Responses of a further session, on the scale of those that are trained on.

A session of another day has its own offset and spread in every voxel. How that is met is a choice:

    training   not by statistics of the session itself: percent signal change as it is, and z-scores by the mean and the
               spread within sessions of the core's training trials
    session    each voxel gets the mean and spread that training trials have, by its own over the whole session
    run        the same by its own over each run, as the published scores of imagery do

The last two are transductive: the responses of all stimuli that are tested decide how each of them is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.nsd.betas import SessionStore
from brainrecon.datasets.responses import Responses, ResponsesOf, Standardized
from stages.ground.lazy_rows import LazyRows

SCALES = ("training", "session", "run")
SESSION = 1
"""A further experiment has one session."""


class FurtherStore:
    """The responses of a further session.

    Parameters
    ----------
    own : brainrecon.datasets.nsd.betas.SessionStore
        Of the further session alone, without reference rows.
    core : brainrecon.datasets.nsd.betas.SessionStore
        With the training trials as reference rows, unless `scale` is "training" and `zscore` false.
    zscore : bool
        Whether the core's responses are z-scores.
    scale : {"training", "session", "run"}
    groups : array of int, shape (n_rows_of_the_file,)
        Run of each row; rows below 0 belong to none.
    """

    def __init__(self, own: SessionStore, core: SessionStore, zscore: bool, scale: str, groups: NDArray) -> None:
        self.own, self.core, self.zscore, self.scale = own, core, zscore, scale
        self.n_voxels = own.n_voxels
        self._groups = np.zeros(len(groups), dtype=int) if scale == "session" else np.asarray(groups)
        self._trained: tuple[NDArray, NDArray] | None = None
        self._centres: dict[int, tuple[NDArray, NDArray]] = {}

    @property
    def standardized(self) -> Standardized:
        if not self.zscore:
            return "no"
        return "training" if self.scale == "training" else "session"

    def values(self, rows: NDArray, voxels: Any) -> NDArray:
        """Responses of some rows of the file and some voxels, float32."""
        values = self._percent(rows)[:, voxels].astype(np.float64)
        if self.scale == "training":
            if self.zscore:
                mean, spread = self._of_training()
                values = (values - mean[voxels]) / spread[voxels]
            return values.astype(np.float32)
        for group in np.unique(self._groups[rows]).tolist():
            mean, spread = self._of_group(group)
            there = self._groups[rows] == group
            values[there] = (values[there] - mean[voxels]) / spread[voxels]
        if not self.zscore:
            mean, spread = self._of_training()
            # A voxel without variance in training stays at its mean.
            values = values * np.where(np.isfinite(spread), spread, 0)[voxels] + mean[voxels]
        return values.astype(np.float32)

    def _percent(self, rows):
        return self.own.read(SESSION)[rows].astype(np.float32) / np.float32(self.own.scale)

    def _of_training(self):
        """Mean over the core's sessions of each voxel, and its spread within them, percent signal change."""
        if self._trained is None:
            self._trained = self.core.within_sessions()
        return self._trained

    def _of_group(self, group):
        if group not in self._centres:
            values = self._percent(np.flatnonzero(self._groups == group)).astype(np.float64)
            spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(self.n_voxels)
            self._centres[group] = values.mean(axis=0), np.where(spread > 0, spread, np.inf)
        return self._centres[group]


class FurtherRows(LazyRows):
    """Some rows and voxels of a `FurtherStore`."""

    takes_any_order = True

    def __init__(self, store: FurtherStore, rows: NDArray, voxels: NDArray | None = None) -> None:
        self._store, self._rows, self._voxels = store, np.asarray(rows, dtype=np.int64), voxels
        super().__init__((len(self._rows), store.n_voxels if voxels is None else len(voxels)), np.float32)

    def _read(self, rows):
        return self._store.values(self._rows[rows], slice(None) if self._voxels is None else self._voxels)

    def _of_columns(self, places):
        return FurtherRows(self._store, self._rows, places if self._voxels is None else self._voxels[places])


class FurtherResponses(ResponsesOf):
    """Responses of some trials of a further session, (n_trials, n_voxels) float32; `standardized` may be "training"."""

    is_quick = False

    def _derived(self, rows: LazyRows) -> Responses:
        return FurtherResponses(rows, self.standardized)


def further_responses(store: FurtherStore, rows: NDArray) -> FurtherResponses:
    """Responses of the trials at some 0-based rows of the session's file."""
    return FurtherResponses(FurtherRows(store, rows), store.standardized)
