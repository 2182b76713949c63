"""A step that repeats what belongs to the training stimulus with the most alike response pattern."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.arrays_step import ArraysStep
from stages.ground.checks import is_constant


class NearestPattern(ArraysStep):
    """Finds the training pattern that correlates best with a measured one, over voxels.

    Voxels are standardised by training statistics first, so that none counts for its scale.
    """

    no_mean_response = "less the training mean nothing is left of the mean response"

    def fit(self, training, workspace):
        patterns = training.subject.train.patterns
        mean, deviation = patterns.mean(axis=0, dtype=np.float64), patterns.std(axis=0, dtype=np.float64)
        # A voxel that never changes tells nothing.
        deviation[is_constant(mean, deviation)] = np.inf
        self.fitted = {"patterns": patterns.astype(np.float32), "mean": mean, "standard_deviation": deviation}

    def nearest(self, patterns):
        """Row of the training stimulus for each of patterns (n, n_voxels), array of int (n,)."""
        known = _unit(self._standardised(self.fitted["patterns"]))
        return np.argmax(_unit(self._standardised(np.asarray(patterns))) @ known.T, axis=1)

    def _standardised(self, patterns):
        return (patterns - self.fitted["mean"]) / self.fitted["standard_deviation"]


def _unit(rows):
    """Rows less their mean, of length one: their products are correlations."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
