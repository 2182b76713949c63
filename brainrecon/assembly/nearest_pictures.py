"""The step that shows a picture of a folder: of those whose embeddings are nearest to a decoded one, the best by another."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from brainrecon.assembly.candidates import best_of
from brainrecon.assembly.step import Step
from brainrecon.datasets.stimulus_images import PictureFiles
from stages.ground.errors import InputError

PICTURES = "pictures"
"""Folder of the pictures within a bank."""


class NearestPictures(Step):
    """Candidates from a bank of pictures with their embeddings, and the choice among them by a second embedding.

    >>> from brainrecon.assembly.targets import TargetSource
    >>> class Vector:
    ...     shape, n_targets = (512,), 512
    >>> step = NearestPictures("clip_image", "retrieval", TargetSource(Vector, checkpoints=()), "bank", n=8)
    >>> step.reads, step.gives
    (('clip_image', 'retrieval'), ('picture',))

    Parameters
    ----------
    query : str
        The predicted embedding that candidates are looked for by.
    wanted : str
        The predicted embedding that chooses.
    source : brainrecon.assembly.targets.TargetSource
        The target that `wanted` is a prediction of.
    folder : str
        A bank as `stages.priors.embedding_bank.bank_of_folder` opens it, and in it a folder `pictures`: its files in the order of
        their names are those of the embeddings' rows.
    n : int
        Candidates.
    size : int
        Side in pixels of what is shown: the middle square of a picture.
    """

    gives, media = ("picture",), {"picture": "picture"}

    def __init__(self, query, wanted, source, folder, n=16, size=512):
        self.reads, self._query, self._wanted = (query, wanted), query, wanted
        self._source, self._folder, self._n, self._size = source, Path(folder), n, size

    @cached_property
    def pictures(self):
        """Those of the bank, array-like of shape (n_pictures, size, size, 3), uint8, read one by one."""
        folder = self._folder / PICTURES
        paths = sorted(path for path in folder.glob("*") if not path.name.startswith("."))
        if len(paths) != (n_rows := self._prior.bank.shape[0]):
            raise InputError(
                f"{folder} holds {len(paths):,} pictures but the bank beside it has {n_rows:,} embeddings; put one picture there "
                "for each, in the order of their names."
            )
        return PictureFiles(paths, size=self._size)

    @cached_property
    def _prior(self):
        from stages.priors.embedding_bank import bank_of_folder
        from stages.priors.memory import MemoryPrior

        return MemoryPrior(bank_of_folder(self._folder), self._n)

    def run(self, items, values, *, seed=0):
        rows, _ = self._prior.nearest(np.asarray(values[self._query], dtype=np.float32))
        shown = []
        for own, wanted in zip(rows, values[self._wanted]):
            candidates = self.pictures[own]
            shown.append(candidates[best_of(candidates, wanted, self._source.target)])
        return {"picture": np.stack(shown)}

    def told(self, present):
        return {"bank": str(self._folder), "candidates": self._n}
