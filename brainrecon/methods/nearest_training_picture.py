"""Null: the training picture whose response pattern correlates best with the measured one.

It can only repeat. Everything has to beat it before its pictures say something about a brain.
"""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.evidence import UNPUBLISHED, Evidence
from brainrecon.assembly.nearest_pattern import NearestPattern
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import Needs, System


@system
class NearestTrainingPicture(System):
    """The training picture whose response pattern correlates best with the measured one, over voxels."""

    name = "nearest-training-picture"
    explanation = "the training picture whose response pattern correlates best with the measured one"
    evidence = Evidence(UNPUBLISHED, ("simulated NSD",))
    needs = Needs(disjoint_pictures=True)

    def steps(self, machine):
        return [RepeatPicture()]


class RepeatPicture(NearestPattern):
    """The training picture of the nearest pattern.

    Attributes
    ----------
    pictures : array-like of shape (n_stimuli, height, width, 3), uint8
        Those of the training split, from the dataset: a copy would be as large.
    """

    gives = ("picture",)
    media = {"picture": "picture"}
    pictures = None

    def fit(self, training, workspace):
        super().fit(training, workspace)
        self.pictures = training.subject.train.images

    def open(self, workspace):
        super().open(workspace)
        self.pictures = workspace.training_pictures()

    def run(self, items, values, *, seed=0):
        return {"picture": np.stack([np.asarray(self.pictures[int(row)]) for row in self.nearest(values["patterns"])])}
