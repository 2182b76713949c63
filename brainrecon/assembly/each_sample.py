"""Steps in a row that are run anew for every sample, as one step at the end of a chain."""

from __future__ import annotations

from collections.abc import Sequence

from brainrecon.assembly.step import Step
from stages.ground.progress import SILENT


class EachSample(Step):
    """Several steps as one, so that what is on the way between them may differ between the samples of a stimulus.

    A run keeps values on the way once for each stimulus. What comes of a sample's own number, a text of its own for example,
    is computed when the output is drawn, and not kept.

    >>> from brainrecon.assembly.values import Item
    >>> class Numbered(Step):
    ...     reads, gives, by_lot = ("labels",), ("caption",), True
    ...     def run(self, items, values, *, seed=0):
    ...         return {"caption": [f"{label} {item.sample}" for item, label in zip(items, values["labels"])]}
    >>> class Loud(Step):
    ...     reads, gives, media = ("caption",), ("shout",), {"shout": "caption"}
    ...     def run(self, items, values, *, seed=0):
    ...         return {"shout": [caption.upper() for caption in values["caption"]]}
    >>> step = EachSample([Numbered(), Loud()])
    >>> step.reads, step.gives
    (('labels',), ('shout',))
    >>> step.run([Item("subj01", "nsd00042", 0), Item("subj01", "nsd00042", 1)], {"labels": ["boat", "boat"]})
    {'shout': ['BOAT 0', 'BOAT 1']}

    Parameters
    ----------
    steps : sequence of Step
        Nothing of them is learned; the last one gives the output.
    """

    by_lot = True

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)
        self.reads, self.optional = inputs_of(steps)
        self.gives, self.media = steps[-1].gives, steps[-1].media

    def run(self, items, values, *, seed=0):
        rows = dict(self.stream(items, values, seed=seed, batch_size=self.batch_size()))
        return {name: [rows[row][name] for row in range(len(items))] for name in self.gives}

    def stream(self, items, values, *, seed=0, batch_size=16, progress=SILENT):
        *before, last = self.steps
        for step in before:
            values = values | step.run(items, read_by(step, values), seed=seed)
        yield from last.stream(items, read_by(last, values), seed=seed, batch_size=batch_size, progress=progress)

    def load(self, progress=SILENT):
        for step in self.steps:
            step.load(progress)

    def free(self):
        for step in self.steps:
            step.free()
            # Targets of steps inside are none of the chain's.
            for source in step.targets.values():
                source.free()

    def batch_size(self):
        return self.steps[-1].batch_size()

    def items_at_once(self, batch_size):
        return self.steps[-1].items_at_once(batch_size)

    def told(self, present):
        inside = {name for step in self.steps for name in step.gives}
        return {name: value for step in self.steps for name, value in step.told(present | inside).items()}


def inputs_of(steps):
    """What steps in a row read from before the first of them: (needed, optional), tuples of str."""
    inside = {name for step in steps for name in step.gives}
    read = tuple(dict.fromkeys(name for step in steps for name in step.reads if name not in inside))
    spare = dict.fromkeys(name for step in steps for name in step.optional if name not in inside)
    return read, tuple(name for name in spare if name not in read)


def read_by(step, values):
    """Those of some values that a step reads."""
    return {name: values[name] for name in (*step.reads, *step.optional)}
