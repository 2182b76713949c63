"""Pictures and simulated responses to them, for the writers of stand-ins: a decoder can learn from what they write."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from brainrecon.datasets import load
from brainrecon.simulation.cohort import simulate

REPEATS = 3
"""Presentations of each picture, no more."""


class SimulatedStudy:
    """One simulated subject.

    Attributes
    ----------
    rois : dict of str to bool array of shape (n_voxels,)
    n_voxels : int
    """

    def __init__(self, subject):
        self._splits = {name: subject.splits[name] for name in ("train", "test")}
        self.rois, self.n_voxels = subject.rois, subject.n_voxels

    def pictures(self, split, n):
        """The first pictures of a split, uint8 (n, 64, 64, 3)."""
        return np.asarray(self._splits[split].images[:n])

    def responses(self, split, n, repeats=1):
        """Responses to each of the first pictures, float32 (n, repeats, n_voxels)."""
        whole = self._splits[split]
        trials = [np.flatnonzero(whole.positions == row)[:repeats] for row in range(n)]
        return np.stack([np.asarray(whole.betas[rows.tolist()]) for rows in trials])


@cache
def simulated_study(n_train=150, n_test=20, n_voxels=200, seed=0):
    """A subject who saw each picture three times; made once for all who ask.

    Parameters
    ----------
    n_train, n_test : int
        Pictures.
    """
    folder = Path(mkdtemp()) / "study"
    simulate(
        folder,
        sessions=3,
        trials_per_session=n_train + n_test,
        shared=n_test,
        voxels=n_voxels,
        seed=seed,
        kinds=("scene",),
    )
    return SimulatedStudy(load(f"nsd:{folder}"))
