"""The step from a decoded embedding to the nearest one of a bank: a prior that makes nothing up."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np

from brainrecon.assembly.step import Step
from weights.whole_files import write_text

_TABLE = "embeddings of the bank"


class Remember(Step):
    """Nearest neighbours by cosine, of the training stimuli's own embeddings or of those in a folder.

    >>> from brainrecon.assembly.targets import TargetSource
    >>> class Tokens:
    ...     shape, n_targets = (24, 64), 1536
    >>> step = Remember("decoded", "likely", TargetSource(Tokens, checkpoints=()), n_neighbours=3)
    >>> step.reads, step.gives, step.is_learned
    (('decoded',), ('likely',), True)

    Parameters
    ----------
    reads, gives : str
    source : brainrecon.assembly.targets.TargetSource
        The target that the values are embeddings of.
    folder : str
        A bank as `stages.priors.embedding_bank.bank_of_folder` opens it; empty for the training stimuli.
    n_neighbours : int
        Embeddings that are averaged; see `stages.priors.memory.MemoryPrior`.
    """

    def __init__(self, reads, gives, source, folder="", n_neighbours=1):
        self.reads, self.gives, self.targets = (reads,), (gives,), {gives: source}
        self._folder, self._n_neighbours, self._table = folder, n_neighbours, None
        # Which table the training stimuli's are in is what there is to learn.
        self.is_learned, self.part = not folder, "" if folder else "bank"

    def fit(self, training, workspace):
        self._table = training.features(self.gives)[self.gives[0]]

    def save(self, folder):
        if self.is_learned:
            write_text(Path(folder) / "config.json", json.dumps({"class": type(self).__name__}) + "\n")

    def open(self, workspace):
        self._table = workspace.store.table(workspace.description[_TABLE])

    def description(self):
        return {_TABLE: self._table.folder.name} if self.is_learned else {}

    @cached_property
    def prior(self):
        """The prior, once the bank is there."""
        from stages.priors.embedding_bank import ColumnBank, bank_of_folder
        from stages.priors.memory import MemoryPrior

        where = "The bank of the training stimuli"
        bank = bank_of_folder(self._folder) if self._folder else ColumnBank(self._table, where)
        return MemoryPrior(bank, self._n_neighbours)

    def run(self, items, values, *, seed=0):
        (read,), (gives,) = self.reads, self.gives
        return {gives: self.prior.recall(np.asarray(values[read], dtype=np.float32))}

    def told(self, present):
        return {"prior": "nearest", "bank": self._folder or "training stimuli", "neighbours": self._n_neighbours}
