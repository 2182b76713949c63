"""A chain whose targets have shapes and nothing else, and whose generator writes down what it is asked for."""

import numpy as np
from chains import chain_of


class Shaped:
    """A target of which only the shape matters."""

    def __init__(self, *shape):
        self.shape, self.n_targets = shape, int(np.prod(shape))


class StandIn:
    """Stands in for a generator.

    Attributes
    ----------
    folder : str
        What it was made from.
    options : dict
        What it was told then.
    asked : list of (dict, list, dict)
        Values, items and settings of each call of `draw`.
    """

    def __init__(self, folder, takes, optional=(), **options):
        self.folder, self.options, self.asked = folder, options, []
        self.takes, self.optional = takes, frozenset((*optional, "first_picture"))

    def draw(self, values, items, *, seed, batch_size, progress=None, **settings):
        self.asked.append((dict(values), list(items), settings))
        yield from enumerate(np.zeros((len(items), 8, 8, 3), dtype=np.uint8))


def chain_with_shapes(name, settings, shapes):
    """The chain of a system whose targets have these shapes, dict of name to tuple."""
    chain = chain_of(name, settings)
    for target, source in chain.targets.items():
        # What a source loads when it is first asked for its target.
        vars(source)["target"] = Shaped(*shapes[target])
    return chain
