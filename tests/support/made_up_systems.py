"""Steps and systems that nobody published: small enough to be worked out by hand, and they count what they do."""

import numpy as np

from brainrecon.assembly.step import Step
from brainrecon.assembly.system import Needs, System
from brainrecon.assembly.values import ABSENT
from stages.ground.item_seeds import numpy_generator


class Adding(Step):
    """Gives the sum of everything that it reads for an item, twice; by lot it adds noise of the item.

    Attributes
    ----------
    ran : list of list of (str, int)
        Stimulus and sample of each item of each call.
    """

    def __init__(self, reads, *gives, optional=(), by_lot=False, media=None, targets=None, no_mean_response=None):
        self.reads, self.optional, self.gives, self.by_lot = tuple(reads), tuple(optional), gives, by_lot
        self.media, self.targets, self.no_mean_response, self.ran = media or {}, targets or {}, no_mean_response, []

    def run(self, items, values, *, seed=0):
        self.ran.append([(one.stimulus_id, one.sample) for one in items])
        present = [values[name] for name in (*self.reads, *self.optional) if values[name] is not ABSENT]
        sums = sum(np.asarray(rows, dtype=np.float32).reshape(len(items), -1).sum(axis=1) for rows in present)
        if self.by_lot:
            sums = sums + [numpy_generator(seed, one.stimulus_id, one.sample).normal() for one in items]
        return {name: np.stack([sums, sums], axis=1).astype(np.float32) for name in self.gives}


class Learning(Adding):
    """Adds as well what it learned: how often any of its kind was fitted before it.

    Attributes
    ----------
    course : list of str
        What was done, in order, shared by the steps of a chain.
    """

    is_learned = True

    def __init__(self, course, part, *args, **options):
        super().__init__(*args, **options)
        self.course, self.part, self.offset = course, part, None

    def fit(self, training, workspace):
        self.offset = len(self.course)
        self.course.append(f"fit {self.part}")

    def save(self, folder):
        self.course.append(f"save {self.part}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(str(self.offset))

    def open(self, workspace):
        self.course.append(f"open {self.part}")
        self.offset = int((workspace.folder / "config.json").read_text())

    def description(self):
        return {f"offset of {self.part}": self.offset}

    def run(self, items, values, *, seed=0):
        return {name: rows + self.offset for name, rows in super().run(items, values, seed=seed).items()}


def system_of(*steps, output="picture", **attributes):
    """A system with these steps."""

    class MadeUp(System):
        name, explanation, needs = "made-up", "nothing that anybody saw", Needs(pictures=False)

        def steps(self, machine):
            return list(steps)

    MadeUp.output = output
    for name, value in attributes.items():
        setattr(MadeUp, name, value)
    return MadeUp()
