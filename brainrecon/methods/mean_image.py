"""Null: the average of the training pictures, whatever the response.

Everything has to beat it before its pictures say something about a brain.
"""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.arrays_step import ArraysStep
from brainrecon.assembly.evidence import UNPUBLISHED, Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from stages.ground.pictures import moments, to_uint8


@system
class MeanImage(System):
    """The average of the training pictures, whatever the response."""

    name = "mean-image"
    explanation = "the average of all training pictures, whatever the response"
    evidence = Evidence(UNPUBLISHED, ("simulated NSD",))

    def steps(self, machine):
        return [ShowMean()]


class ShowMean(ArraysStep):
    """One picture for everybody."""

    gives = ("picture",)
    media = {"picture": "picture"}

    def fit(self, training, workspace):
        mean, _ = moments(training.subject.train.images, workspace.progress)
        self.fitted = {"mean": mean.astype(np.float32)}

    def run(self, items, values, *, seed=0):
        return {"picture": np.repeat(to_uint8(self.fitted["mean"])[None], len(items), axis=0)}
