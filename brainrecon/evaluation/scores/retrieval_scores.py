"""Scores of retrieval: how often what belongs together is found among many, per stimulus and on average."""

from dataclasses import asdict, dataclass, field

import numpy as np


@dataclass(frozen=True)
class RetrievalRow:
    """One retrieval over all stimuli.

    Attributes
    ----------
    metric, target, direction : str
        Name of the protocol's `RetrievalSpec`, its target and its direction.
    n : int
        Stimuli that were looked for at least once.
    n_candidates : int
        Candidates in a pool: as many as the protocol says, or all stimuli if there are fewer.
    repeats : int
        Pools.
    top_k : int
        Found if among so many best candidates.
    mean, ci_low, ci_high : float
        Mean over stimuli of the share of pools in which each was found, and its interval over stimuli (None if there is
        none). The pools are held fixed.
    mean_over_pools : float
        Mean over pools of the share of their stimuli that were found, as it is published. Stimuli that were drawn more
        often weigh more in it.
    chance : float
        What predictions without information expect: `top_k` / `n_candidates`.
    """

    metric: str
    target: str
    direction: str
    n: int
    n_candidates: int
    repeats: int
    top_k: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    mean_over_pools: float
    chance: float


@dataclass(frozen=True, eq=False)
class RetrievalScores:
    """What `brainrecon.evaluation.tasks.retrieval.score_retrieval` found.

    Attributes
    ----------
    stimulus_ids : tuple of str
    values : dict of str to float64 array of shape (n_stimuli,)
        By metric: the share of pools in which each stimulus was found, 0..1; NaN if no pool held it.
    rows : list of RetrievalRow
        In the order of the protocol.
    """

    stimulus_ids: tuple
    values: dict
    rows: list = field(default_factory=list)

    def __eq__(self, other):
        return isinstance(other, RetrievalScores) and self.to_dict() == other.to_dict()

    def row(self, metric):
        """The row of a metric, or None."""
        return next((row for row in self.rows if row.metric == metric), None)

    def to_dict(self):
        """Everything in JSON's own types; NaN as None."""
        return {
            "stimulus_ids": list(self.stimulus_ids),
            "values": {
                name: [float(value) if np.isfinite(value) else None for value in values]
                for name, values in self.values.items()
            },
            "rows": [asdict(row) for row in self.rows],
        }

    @classmethod
    def from_dict(cls, content):
        """The scores that `to_dict` gave; KeyError or TypeError if it is something else."""
        return cls(
            tuple(content["stimulus_ids"]),
            {name: np.array(values, dtype=np.float64) for name, values in content["values"].items()},
            [RetrievalRow(**row) for row in content["rows"]],
        )
