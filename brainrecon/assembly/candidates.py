"""Several outputs of an item, drawn by lot, of which the one that fits a decoded embedding best is kept."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.each_sample import inputs_of, read_by
from brainrecon.assembly.step import Step, repeated, rows_of
from brainrecon.assembly.values import SHOWN, Item
from stages.ground.not_finite import NotFinite, named
from stages.ground.progress import SILENT


class Candidates(Step):
    """Draw candidates by some steps in a row, and choose by the cosine of their embedding with a predicted one.

    >>> from brainrecon.assembly.draw import Draw
    >>> from brainrecon.assembly.targets import TargetSource
    >>> class ThreeColours:
    ...     takes, optional, gives, draws_by_lot = {}, frozenset(), "picture", True
    ...     def draw(self, values, items, *, seed=0, batch_size=16, progress=SILENT):
    ...         for position, item in enumerate(items):
    ...             colour = 200 * np.eye(3, dtype=np.uint8)[item.sample]
    ...             yield position, np.tile(colour, (8, 8, 1))
    >>> class Colour:
    ...     shape, n_targets = (3,), 3
    ...     def encode(self, images, batch_size=64):
    ...         return np.asarray(images, dtype=np.float32).mean(axis=(1, 2))
    >>> colour = TargetSource(Colour, checkpoints=())
    >>> step = Candidates([Draw(ThreeColours, reads=())], 3, colour, wanted="decoded")
    >>> found = step.run([Item("subj01", "nsd00042")], {"decoded": [[0.1, 0.9, 0.2]]})
    >>> found["picture"][0][0, 0].tolist()
    [0, 200, 0]

    What chooses comes from the brain, and no shown picture is looked at; unless `wanted` is `brainrecon.assembly.values.SHOWN`,
    whose own embedding chooses then. Some published tables are made so, and say how well one can choose with the truth.

    Parameters
    ----------
    steps : sequence of Step
        Nothing of them is learned; the last one gives the output, a picture.
    n : int
        Candidates for each item. Candidate c of sample k draws by the lot of sample k * n + c.
    source : brainrecon.assembly.targets.TargetSource
        The target that candidates are embedded by.
    wanted : str
        The predicted embedding, flattened rows; or the shown pictures.
    """

    by_lot = True

    def __init__(self, steps, n, source, wanted):
        self._steps, self._n, self._source, self._wanted = tuple(steps), n, source, wanted
        read, spare = inputs_of(steps)
        self.reads, self.chooses_by_shown = tuple(dict.fromkeys([*read, wanted])), wanted == SHOWN
        self.optional = tuple(name for name in spare if name not in self.reads)
        self.gives, self.media = steps[-1].gives, steps[-1].media

    def run(self, items, values, *, seed=0):
        rows = dict(self.stream(items, values, seed=seed))
        return {name: [rows[row][name] for row in range(len(items))] for name in self.gives}

    def stream(self, items, values, *, seed=0, batch_size=None, progress=SILENT):
        (gives,), spoilt = self.gives, []
        for row, item in enumerate(items):
            try:
                candidates = self._drawn(item, rows_of(values, slice(row, row + 1)), seed, batch_size, progress)
            except NotFinite as error:
                spoilt.append(NotFinite([row], [named(item)], error.computed))
                continue
            yield row, {gives: candidates[best_of(candidates, self._wanted_of(values, row), self._source.target)]}
        if spoilt:
            raise NotFinite.together(spoilt)

    def _wanted_of(self, values, row):
        """The embedding that chooses among the candidates of an item."""
        wanted = values[self._wanted][row]
        return self._source.target.encode(np.asarray(wanted)[None])[0] if self.chooses_by_shown else wanted

    def items_at_once(self, batch_size):
        return 1

    def _drawn(self, item, given, seed, batch_size, progress):
        """All candidates of an item, a list."""
        items = [Item(item.subject, item.stimulus_id, item.sample * self._n + one) for one in range(self._n)]
        values = {name: repeated(value, np.zeros(self._n, dtype=int)) for name, value in given.items()}
        *before, last = self._steps
        for step in before:
            values |= step.run(items, read_by(step, values), seed=seed)
        read = read_by(last, values)
        size = batch_size or last.batch_size()
        rows = dict(last.stream(items, read, seed=seed, batch_size=size, progress=progress))
        return [rows[row][last.gives[0]] for row in range(self._n)]

    def load(self, progress=SILENT):
        for step in self._steps:
            step.load(progress)

    def free(self):
        for step in self._steps:
            step.free()

    def batch_size(self):
        return self._steps[-1].batch_size()

    def told(self, present):
        inside = {name for step in self._steps for name in step.gives}
        told = {name: value for step in self._steps for name, value in step.told(present | inside).items()}
        return told | {"candidates": self._n} | ({"chosen by": "the shown picture"} if self.chooses_by_shown else {})


def best_of(pictures, wanted, target):
    """Which of some pictures has the embedding with the highest cosine with a predicted one, int; the first of equal ones."""
    # One by one, so that the choice does not depend on how many there are.
    found = [np.asarray(target.encode(picture[None])).reshape(-1) for picture in pictures]
    return int(np.argmax([_cosine(row, np.asarray(wanted).reshape(-1)) for row in found]))


def _cosine(one, other):
    return float(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12))
