"""PyFastL2LiR, the Kamitani group's ridge with selection, as it can be run."""

import types

import numpy as np


class _NumPy(types.ModuleType):
    """NumPy, but that a solution of one column is flat: since version 2.4 no array of one number is taken for the number."""

    def __getattr__(self, name):
        return getattr(np, name)


def fast_l2_lir(selects, loop=None):
    """A `fastl2lir.FastL2LiR`; `selects` says whether ``n_feat`` will be fewer than there are inputs.

    Version 0.11 writes arrays of one number into single places where it selects, which NumPy 2.4 refuses: its call of
    ``numpy.linalg.solve`` is flattened, and nothing else changed. `loop` is gone through in place of its bar of progress: it
    takes the numbers of the units and gives them.
    """
    from fastl2lir import FastL2LiR, fastl2lir

    shim = _NumPy("numpy")
    shim.linalg = types.SimpleNamespace(solve=lambda left, right: np.linalg.solve(left, right)[:, 0])
    fastl2lir.np = shim if selects else np
    fastl2lir.tqdm = loop or (lambda units: units)
    return FastL2LiR()
