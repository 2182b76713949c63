"""A system of a few numbers, for tests of runs: the colour of a picture, predicted from responses by ridge, and painted."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from counting_targets import MeanColour
from safetensors.numpy import load_file, save_file

from brainrecon.assembly import registry
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


class LearnColourOfMany(LearnColour):
    """The same of several subjects: weights of each, and a mean colour that all share and a new subject keeps."""

    for_new_subject = "go on"

    def fit(self, training, workspace):
        self.fitted.append(tuple(training.subjects))
        self.weights, rows = {}, {}
        for name, subject in training.subjects.items():
            own = training.features(("colour",), subject=name)["colour"]
            rows[name] = np.asarray(subject.train.patterns, np.float64), np.asarray(own, dtype=np.float64)
        self.mean = np.concatenate([colours for _, colours in rows.values()]).mean(axis=0)
        if workspace.pretrained is not None:
            self.mean = load_file(workspace.pretrained / "model.safetensors")["mean"]
        for name, (patterns, colours) in rows.items():
            gram = patterns @ patterns.T + PENALTY * np.eye(len(patterns))
            self.weights[name] = patterns.T @ np.linalg.solve(gram, colours - self.mean)

    def save(self, folder):
        with whole_file(folder / "model.safetensors") as partial:
            save_file({"mean": self.mean, **self.weights}, partial)
        write_text(folder / "config.json", "{}")

    def open(self, workspace):
        self.weights = load_file(workspace.folder / "model.safetensors")
        self.mean = self.weights.pop("mean")

    def run(self, items, values, *, seed=0):
        (subject,) = {one.subject for one in items}
        return {"colour": (np.stack(values["patterns"]) @ self.weights[subject] + self.mean).astype(np.float32)}


class ManyPainter(Painter):
    name, many_subjects = "many-painter", "together"

    def steps(self, machine):
        return [LearnColourOfMany(), Paint(self.settings.brightness)]


class Bring(Step):
    """Brings patterns of a new subject to those of a reference, by least squares over the stimuli that both saw."""

    reads, gives, part, is_learned = ("patterns",), ("brought",), "brought", True

    def fit(self, training, workspace):
        (own,) = training.subjects.values()
        self.map, self.shared = np.eye(own.n_voxels), np.array([], dtype=str)
        for reference in training.pretraining.values():
            ids, patterns = reference.test.stimulus_ids, reference.test.patterns
            self.shared = np.intersect1d(own.train.stimulus_ids, ids)
            mine, theirs = (
                of.patterns[[of.stimulus_ids.tolist().index(name) for name in self.shared]]
                for of in (own.train, reference.test)
            )
            assert theirs.shape[1] == patterns.shape[1]
            self.map = np.linalg.lstsq(mine.astype(np.float64), theirs.astype(np.float64), rcond=None)[0]

    def save(self, folder):
        with whole_file(folder / "model.safetensors") as partial:
            save_file({"map": np.ascontiguousarray(self.map)}, partial)
        write_text(folder / "config.json", "{}")

    def open(self, workspace):
        self.map = load_file(workspace.folder / "model.safetensors")["map"]

    def run(self, items, values, *, seed=0):
        return {"brought": (np.stack(values["patterns"]) @ self.map).astype(np.float32)}


class LearnColourOnce(LearnColour):
    reads, for_new_subject = ("brought",), "keep"

    def run(self, items, values, *, seed=0):
        return super().run(items, {"patterns": values["brought"]}, seed=seed)


class ReferencePainter(Painter):
    name, many_subjects = "reference-painter", "reference"

    def steps(self, machine):
        return [Bring(), LearnColourOnce(), Paint(self.settings.brightness)]


def register_painters(monkeypatch):
    """Make the painters of one subject and of several known for a test, with nothing fitted yet."""
    for system in (Painter, ManyPainter, ReferencePainter):
        monkeypatch.setitem(registry._REGISTERED, system.name, system)
    for step in (LearnColour, LearnColourOfMany, LearnColourOnce):
        monkeypatch.setattr(step, "fitted", [])
