"""A system of a few numbers, for tests of runs: the colour of a picture, predicted from responses by ridge, and painted."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from counting_targets import MeanColour
from safetensors.numpy import load_file, save_file

from brainrecon.assembly.step import Step
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource
from weights.whole_files import whole_file, write_text

PENALTY = 10.0


class LearnColour(Step):
    gives, is_learned = ("colour",), True
    fitted: ClassVar[list] = []
    """Number of stimuli of each fit."""

    def __init__(self):
        source = TargetSource(MeanColour, checkpoints=(), identity=lambda: "mean colour")
        self.targets = {"colour": source}

    def fit(self, training, workspace):
        patterns = np.asarray(training.subject.train.patterns, dtype=np.float64)
        colours = np.asarray(training.features(("colour",))["colour"], dtype=np.float64)
        self.fitted.append(len(patterns))
        self.mean = colours.mean(axis=0)
        gram = patterns @ patterns.T + PENALTY * np.eye(len(patterns))
        self.weights = patterns.T @ np.linalg.solve(gram, colours - self.mean)

    def save(self, folder):
        with whole_file(folder / "model.safetensors") as partial:
            save_file({"weights": self.weights, "mean": self.mean}, partial)
        write_text(folder / "config.json", "{}")

    def open(self, workspace):
        known = load_file(workspace.folder / "model.safetensors")
        self.weights, self.mean = known["weights"], known["mean"]

    def run(self, items, values, *, seed=0):
        return {"colour": (np.stack(values["patterns"]) @ self.weights + self.mean).astype(np.float32)}


class Paint(Step):
    reads, gives, media = ("colour",), ("picture",), {"picture": "picture"}

    def __init__(self, brightness):
        self.brightness = brightness

    def run(self, items, values, *, seed=0):
        colours = np.clip(np.stack(values["colour"]) * self.brightness, 0, 255).astype(np.uint8)
        return {"picture": np.broadcast_to(colours[:, None, None], (len(items), 4, 4, 3)).copy()}


class Describe(Step):
    reads, gives, media = ("colour",), ("caption",), {"caption": "caption"}

    def run(self, items, values, *, seed=0):
        return {"caption": [f"mostly {('red', 'green', 'blue')[int(np.argmax(row))]}" for row in values["colour"]]}


@dataclass(frozen=True)
class PainterSettings:
    brightness: float = 1.0
    penalty: float = PENALTY


class Painter(System):
    name, explanation, settings_class = "painter", "one colour, predicted", PainterSettings
    of_drawing = ("brightness",)

    def steps(self, machine):
        return [LearnColour(), Paint(self.settings.brightness)]


class Describer(System):
    name, explanation, output = "describer", "the name of one colour, predicted", "caption"

    def steps(self, machine):
        return [LearnColour(), Describe()]
