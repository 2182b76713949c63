"""Null: independent noise with the training pictures' mean and standard deviation at each pixel.

Everything has to beat it before its pictures say something about a brain.
"""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.arrays_step import ArraysStep
from brainrecon.assembly.evidence import UNPUBLISHED, Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from stages.ground.item_seeds import numpy_generator
from stages.ground.pictures import moments, to_uint8


@system
class Noise(System):
    """Independent normal noise with the training pictures' mean and standard deviation at each pixel."""

    name = "noise"
    explanation = "independent noise with the training pictures' mean and standard deviation at each pixel"
    evidence = Evidence(UNPUBLISHED, ("simulated NSD",))

    def steps(self, machine):
        return [DrawNoise()]


class DrawNoise(ArraysStep):
    """Noise of each item; the response takes no part, and neither does whose response it is."""

    gives = ("picture",)
    media = {"picture": "picture"}
    by_lot = True

    def fit(self, training, workspace):
        mean, deviation = moments(training.subject.train.images, workspace.progress)
        self.fitted = {"mean": mean.astype(np.float32), "standard_deviation": deviation.astype(np.float32)}

    def run(self, items, values, *, seed=0):
        mean, deviation = self.fitted["mean"], self.fitted["standard_deviation"]
        generators = (numpy_generator(seed, one.stimulus_id, one.sample) for one in items)
        drawn = [generator.standard_normal(mean.shape, dtype=np.float32) for generator in generators]
        return {"picture": to_uint8(mean + deviation * np.stack(drawn))}
