"""Null: the training picture whose response pattern correlates best with the measured one.

It can only repeat. Voxels are standardised by training statistics first, so that none counts for its scale.

Everything has to beat it before its pictures say something about a brain.
"""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.arrays_step import ArraysStep
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import Needs, System


@system
class NearestTrainingPicture(System):
    """The training picture whose response pattern correlates best with the measured one, over voxels."""

    name = "nearest-training-picture"
    explanation = "the training picture whose response pattern correlates best with the measured one"
    needs = Needs(disjoint_pictures=True)

    def steps(self, machine):
        return [Repeat()]


class Repeat(ArraysStep):
    """The nearest training picture of each pattern.

    Attributes
    ----------
    pictures : array-like of shape (n_stimuli, height, width, 3), uint8
        Those of the training split, from the dataset: a copy would be as large.
    """

    gives = ("picture",)
    media = {"picture": "picture"}
    no_mean_response = "less the training mean nothing is left of the mean response"
    pictures = None

    def fit(self, training, workspace):
        patterns = training.subject.train.patterns
        mean, deviation = patterns.mean(axis=0, dtype=np.float64), patterns.std(axis=0, dtype=np.float64)
        # A voxel that never changes tells nothing.
        deviation[deviation <= 1e-7 * np.abs(mean) + 1e-12] = np.inf
        self.fitted = {"patterns": patterns.astype(np.float32), "mean": mean, "standard_deviation": deviation}
        self.pictures = training.subject.train.images

    def open(self, workspace):
        super().open(workspace)
        self.pictures = workspace.training_pictures()

    def nearest(self, patterns):
        """Row of the training stimulus for each of patterns (n, n_voxels), array of int (n,)."""
        known = _unit(self._standardised(self.fitted["patterns"]))
        return np.argmax(_unit(self._standardised(patterns)) @ known.T, axis=1)

    def run(self, items, values, *, seed=0):
        rows = self.nearest(np.asarray(values["patterns"]))
        return {"picture": np.stack([np.asarray(self.pictures[int(row)]) for row in rows])}

    def _standardised(self, patterns):
        return (patterns - self.fitted["mean"]) / self.fitted["standard_deviation"]


def _unit(rows):
    """Rows less their mean, of length one: their products are correlations."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
