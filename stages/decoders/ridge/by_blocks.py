"""Decoders that are fitted to targets on disk, block by block of their columns.

decoder.start(patterns, targets)            check, factorise the patterns
decoder.tensors_ = ... decoder.layout()     arrays to fill, in memory or in a file
decoder.choose(targets)                     what is chosen once for all columns
for solved in decoder.solve(targets): ...   read the targets once, block by block
decoder.finish()
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from stages.decoders.ridge.target_blocks import plan
from stages.decoders.solved import SolvedDecoder
from stages.ground.errors import InputError
from stages.ground.progress import SILENT


class FittedByBlocks(SolvedDecoder):
    """A solved decoder with ``start``, ``width``, ``layout``, ``choose``, ``solve`` and ``finish``.

    A fit that was interrupted calls ``start`` with ``stored``, what is there of the tensors, and ``solve`` from the block on
    where it was. Parameters `memory` and `device` say what a fit may take and where it computes.
    """

    def fit(self, X, y, groups: Mapping[str, int] | None = None, stimuli=None):
        """Fit all targets.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels)
            Patterns of the training stimuli, or single trials.
        y : array of shape (n_stimuli, n_targets)
            Targets side by side.
        groups : mapping of str to int, optional
            Name and number of columns of each target, in column order; they sum to n_targets. Each gets its own
            penalty. One target called "target" if it is not given.
        stimuli : array of int, shape (n_trials,), optional
            Row of `y` for each trial; trial i shows stimulus i if it is not given.

        Returns
        -------
        self
        """
        kinds = dict(dtype=(np.float64, np.float32), ensure_min_samples=3)
        if stimuli is None:
            X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, **kinds)
        else:
            X, y = validate_data(self, X, **kinds), check_array(y, ensure_2d=False, **kinds)
        single_output = y.ndim == 1
        y = y.reshape(len(y), -1).astype(np.result_type(y.dtype, np.float32), copy=False)
        groups = {"target": y.shape[1]} if groups is None else {name: int(n) for name, n in groups.items()}
        if sum(groups.values()) != y.shape[1]:
            raise InputError(
                f"Groups hold {sum(groups.values()):,} columns but the targets have {y.shape[1]:,}; "
                "pass groups={name: number of columns} in column order."
            )
        targets = {block.name: y[:, block.place] for block in plan(groups, max(groups.values()))}
        self.fit_targets(X, targets, stimuli)
        self._single_output = single_output
        return self

    def fit_targets(self, X, targets, stimuli=None, progress=SILENT):
        """Fit targets that are separate, and may be on disk.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels), float32 or float64, finite
        targets : mapping of str to array-like of shape (n_stimuli, n_columns)
            In memory, or anything with ``shape`` and a method ``columns(start, stop)``.
        stimuli : array of int, shape (n_trials,), optional
        progress : callable, optional
            Called with (label, done, total).

        Returns
        -------
        self
        """
        self.start(X, targets, stimuli)
        self.tensors_ = {name: np.zeros(shape, dtype) for name, (shape, dtype) in self.layout().items()}
        self.choose(targets, progress)
        for _ in self.solve(targets, progress=progress):
            pass
        return self.finish()


def stimuli_shown(n_trials, targets, stimuli=None):
    """Number of stimuli that trials show.

    Parameters
    ----------
    n_trials : int
    targets : mapping of str to array-like of shape (n_stimuli, n_columns)
    stimuli : array of int, shape (n_trials,), optional
        Row of the targets for each trial; trial i shows stimulus i if it is not given.

    Raises
    ------
    InputError
        Not a row for each trial, rows that no trial shows, or targets of other stimuli.
    """
    shown = n_trials
    if stimuli is not None:
        stimuli = np.asarray(stimuli)
        distinct = np.unique(stimuli)
        shown = len(distinct)
        if stimuli.shape != (n_trials,) or not np.array_equal(distinct, np.arange(shown)):
            raise InputError(
                f"stimuli has shape {stimuli.shape} and {shown:,} different values for {n_trials:,} trials; "
                "give each trial the row of its stimulus, counted from 0 without gaps."
            )
    for name, target in targets.items():
        if target.shape[0] != shown:
            raise InputError(
                f"Target {name!r} has {target.shape[0]:,} stimuli but the patterns are of {shown:,}; "
                "encode the stimuli of the same split, or pass stimuli= for single trials."
            )
    return shown
