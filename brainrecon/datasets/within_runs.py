"""Responses that are z-scored within each run by the run's own trials, when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.responses import Responses, Standardized
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_rows


class ZScoredWithinRuns(Responses):
    """Responses minus the mean of their run, divided by its standard deviation.

        z = (x - mean of the run's x) / sd of the run's x

    >>> betas = np.float32([[1, 5], [3, 5], [10, 0], [20, 8]])
    >>> ZScoredWithinRuns(betas, [1, 1, 2, 2])[:].tolist()
    [[-1.0, 0.0], [1.0, 0.0], [-1.0, -1.0], [1.0, 1.0]]

    The standard deviation is NumPy's, without a degree of freedom taken off. A voxel that has one value throughout a run is 0
    in it. What a run's trials become depends on that run alone.

    Parameters
    ----------
    betas : array of shape (n_trials, n_voxels)
        Of one split; in memory or lazy.
    runs : sequence of length n_trials
        The run of each trial, in any values that can be compared.

    Attributes
    ----------
    standardized : str
        "session": the statistics are settled, whatever is trained on.

    Raises
    ------
    InputError
        There is not one run for each trial, or a run has one trial, which has no spread.
    """

    standardized: Standardized = "session"
    takes_any_order = True

    def __init__(self, betas: Any, runs: Sequence[Any] | NDArray[Any]) -> None:
        rows = as_rows(betas)
        super().__init__(rows.shape, np.float32)
        names, self._run = np.unique(np.asarray(runs), return_inverse=True, axis=0)
        if len(self._run) != len(rows):
            raise InputError(f"There are {len(rows):,} trials but {len(self._run):,} runs; give one per trial.")
        counts = np.bincount(self._run, minlength=len(names))
        if len(rows) and counts.min() < 2:
            raise InputError(
                f"Run {names[int(counts.argmin())]} has {counts.min()} trial, which has no spread to z-score by; load the "
                "responses without zscore."
            )
        self._source, self._n_runs = rows, len(names)

    @cached_property
    def _statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation (n_runs, n_voxels); those of a voxel that does not change are its value and 1."""
        means, deviations = (np.empty((self._n_runs, self.shape[1])) for _ in range(2))
        for run in range(self._n_runs):
            own = self._source[np.flatnonzero(self._run == run)].astype(np.float64)
            # Of equal numbers the mean is rounded, and the deviation would be what rounding leaves.
            flat = (own == own[0]).all(axis=0)
            means[run] = np.where(flat, own[0], own.mean(axis=0))
            deviations[run] = np.where(flat, 1.0, own.std(axis=0))
        return means, deviations

    def _read(self, rows: NDArray) -> NDArray:
        means, deviations = self._statistics
        own = self._run[rows]
        return ((self._source._values(rows) - means[own]) / deviations[own]).astype(np.float32)

    def _of_columns(self, places: NDArray) -> ZScoredWithinRuns:
        return ZScoredWithinRuns(self._source._of_columns(places), self._run)
