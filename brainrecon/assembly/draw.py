"""The step from named values to the output, by a generator."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from brainrecon.assembly.step import Step
from brainrecon.assembly.values import ABSENT
from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite
from stages.ground.out_of_memory import HalvedOnce
from stages.ground.progress import SILENT


class Draw(Step):
    """Draw with a generator of `stages.generators`.

    >>> import numpy as np
    >>> from brainrecon.assembly.values import Item
    >>> class Plain:
    ...     takes, optional = {"colour": (3,)}, frozenset()
    ...     gives, draws_by_lot = "picture", False
    ...     def draw(self, values, items, *, seed=0, batch_size=16, progress=SILENT):
    ...         for position in range(len(items)):
    ...             yield position, np.full((8, 8, 3), values["colour"][position], dtype=np.uint8)
    >>> step = Draw(Plain, reads=("colour",))
    >>> found = step.run([Item("subj01", "nsd00042")], {"colour": np.float32([[200, 100, 0]])})
    >>> found["picture"][0][0, 0].tolist()
    [200, 100, 0]

    Parameters
    ----------
    load : callable
        ``load() -> generator``; called when the first output is drawn.
    reads, optional : tuple of str
        Values that the generator takes.
    gives : str
        Name of the output.
    medium : str
        Of the output.
    by_lot : bool
        Whether the generator draws by lot.
    options : callable, optional
        ``options(present) -> dict``: what the generator's `draw` is told besides, given the names of the values that are
        not absent.
    at_a_time : callable, optional
        ``at_a_time(generator) -> int``: outputs in a batch.
    targets : mapping of str to brainrecon.assembly.targets.TargetSource
        Where the values come from: their shapes have to be those that the generator takes.
    less_memory : sequence of str
        Settings with which the generator takes less memory, as they are typed.
    no_mean_response : str, optional
        Why nothing can be drawn for the mean training response, in a few words.
    called : mapping of str to str
        Value -> what the generator calls it, of those for which it has another name.
    """

    def __init__(
        self,
        load,
        reads,
        optional=(),
        gives="picture",
        *,
        medium="picture",
        by_lot=True,
        options=None,
        at_a_time=None,
        targets=None,
        less_memory=(),
        no_mean_response=None,
        called=None,
    ):
        self.reads, self.optional, self.gives, self.media = tuple(reads), tuple(optional), (gives,), {gives: medium}
        self.by_lot, self._load, self._options, self._at_a_time = by_lot, load, options, at_a_time
        self._sources, self._less_memory, self.no_mean_response = targets or {}, tuple(less_memory), no_mean_response
        self._called = dict(called or {})
        self._batches = HalvedOnce(f"{medium}s", self._advice)

    def load(self, progress=SILENT):
        if "generator" not in vars(self):
            progress("loading the generator", 0, 1)
            self.generator  # noqa: B018
            progress("loading the generator", 1, 1)

    def free(self):
        vars(self).pop("generator", None)

    @cached_property
    def generator(self):
        """The generator, once it is sure that it takes what the chain gives.

        Raises
        ------
        InputError
            It needs a value that the chain does not give, or one of another shape.
        """
        generator, names = self._load(), (*self.reads, *self.optional)
        read = {self._called.get(name, name): name for name in names}
        for called, shape in generator.takes.items():
            name = read.get(called, called)
            if called not in read:
                if called not in generator.optional:
                    raise InputError(
                        f"{type(generator).__name__} takes {called} of shape {shape} but this method gives it {', '.join(read)} "
                        "only; name a generator that belongs to the method."
                    )
                continue
            if name in self._sources and tuple(own := self._sources[name].outline.shape) != tuple(shape):
                raise InputError(
                    f"Target {name}{_of(self._sources[name])} has shape {tuple(own)} but the generator "
                    f"takes {tuple(shape)}; name checkpoints that belong together."
                )
        return generator

    def run(self, items, values, *, seed=0):
        rows = dict(self.stream(items, values, seed=seed, batch_size=self.batch_size()))
        return {name: [rows[row][name] for row in range(len(items))] for name in self.gives}

    def stream(self, items, values, *, seed=0, batch_size=16, progress=SILENT):
        given = {name: None if value is ABSENT else _rows(value) for name, value in values.items()}
        present = frozenset(name for name, value in given.items() if value is not None)
        options = self._options(present) if self._options else {}
        generator = self.generator

        def draw(rows, batch_size):
            chosen = {
                self._called.get(name, name): None if value is None else _chosen(value, rows)
                for name, value in given.items()
            }
            own = [items[row] for row in rows]
            try:
                yield from generator.draw(chosen, own, seed=seed, batch_size=batch_size, progress=progress, **options)
            except NotFinite as error:
                raise NotFinite([rows[position] for position in error.positions], error.names, error.computed) from None

        for position, output in self._batches.go_through(draw, len(items), batch_size):
            yield position, {self.gives[0]: output}

    def _advice(self, tried):
        """What to do if so many outputs at a time need more memory than there is."""
        fewer = f" with --batch-size {tried // 2}" if tried > 1 else ""
        told = f"free some and run the same command again{fewer}"
        if self._less_memory:
            told += f", or draw with --set {' or --set '.join(self._less_memory)} and another --out"
        return told

    def told(self, present):
        return self._options(present) if self._options else {}

    def batch_size(self):
        return self._at_a_time(self.generator) if self._at_a_time else super().batch_size()


def _of(source):
    return f" of checkpoint {source.checkpoints[0]}" if source.checkpoints else ""


def _chosen(value, rows):
    """Some rows of a value, by their numbers."""
    return value[rows] if isinstance(value, np.ndarray) else [value[row] for row in rows]


def _rows(value):
    """A value as an array, if its rows have one shape; as a list if they do not, as of captions."""
    return value if isinstance(value, np.ndarray) else list(value)
