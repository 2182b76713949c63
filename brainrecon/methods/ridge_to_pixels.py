"""Null: ridge regression from patterns straight to pixels: no network and no prior.

Everything has to beat it before its pictures say something about a brain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from brainrecon.assembly.evidence import UNPUBLISHED, Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.step import Step
from brainrecon.assembly.system import Needs, System
from brainrecon.assembly.training_trials import AUTO, check_trials, learned_from, settled_trials
from stages.decoders.ridge.ridge import ALPHAS, RidgeDecoder
from stages.ground.errors import InputError
from stages.ground.pictures import resized_pictures, to_uint8


@dataclass(frozen=True)
class RidgeToPixelsSettings:
    """Settings of the method.

    Attributes
    ----------
    size : int
        Side of the predicted pictures in pixels.
    alpha : tuple of float, or float
        Penalties to choose from, by the error on a stimulus that is left out with all of its trials.
    trials : {"auto", "averaged", "single"}
        What is learned from, as `brainrecon.assembly.training_trials` has it: "auto" takes single trials of few stimuli.
    """

    size: int = 64
    alpha: tuple[float, ...] | float = ALPHAS
    trials: str = AUTO

    def __post_init__(self):
        check_trials(self.trials)
        if self.size < 1:
            raise InputError(f"size is {self.size}; expected 1 pixel or more: pass --set size=64.")


@system
class RidgeToPixels(System):
    """Ridge regression from patterns to pixels, without rescaling; the penalty by exact leave-one-out error."""

    name = "ridge-to-pixels"
    explanation = "ridge regression from patterns straight to pixels: no network and no prior"
    settings_class = RidgeToPixelsSettings
    evidence = Evidence(f"{UNPUBLISHED}; equals scikit-learn's ridge regression", ("simulated NSD",))
    needs = Needs(disjoint_pictures=True)

    def settled(self, train):
        return replace(self.settings, trials=settled_trials(self.settings.trials, train))

    def steps(self, machine):
        return [DecodePixels(self.settings, machine)]


class DecodePixels(Step):
    """Pixels of small pictures by ridge.

    Attributes
    ----------
    decoder : stages.decoders.ridge.ridge.RidgeDecoder
    """

    gives = ("picture",)
    media = {"picture": "picture"}
    is_learned = True

    def __init__(self, settings, machine):
        self.size, self._trials, self._device = settings.size, settings.trials, machine.device
        self.decoder = RidgeDecoder(alphas=settings.alpha, rescale="none", memory=machine.memory, device=machine.device)

    def fit(self, training, workspace):
        train = training.subject.train
        pixels = resized_pictures(train.images, self.size, workspace.progress).astype(np.float32) / 255
        responses, stimuli = learned_from(self._trials, train)
        self.decoder.fit_targets(responses, {"pixels": pixels.reshape(len(pixels), -1)}, stimuli=stimuli)

    def run(self, items, values, *, seed=0):
        predictions = self.decoder.predict(np.asarray(values["patterns"]))
        return {"picture": to_uint8(255 * predictions).reshape(-1, self.size, self.size, 3)}

    def summary(self):
        return self.decoder.summary()

    def save(self, folder):
        self.decoder.save_pretrained(folder)

    def open(self, workspace):
        self.decoder = RidgeDecoder.from_pretrained(workspace.folder).set_params(device=self._device)
