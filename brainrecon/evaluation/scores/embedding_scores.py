"""Scores of predicted embeddings: per stimulus, their means beside a permutation null, and effective ranks."""

from dataclasses import asdict, dataclass, field

import numpy as np


@dataclass(frozen=True)
class EmbeddingRow:
    """One score of the predicted embeddings of one target.

    Attributes
    ----------
    metric, target : str
        Name of the protocol's `EmbeddingSpec`, and of the target.
    n : int
        Stimuli.
    mean, ci_low, ci_high : float
        Mean over stimuli and its interval (None if there is none).
    null_mean, null_low, null_high : float
        Mean and central 95 % of the same mean when responses are assigned to stimuli at random.
    n_permutations : int
    """

    metric: str
    target: str
    n: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    null_mean: float
    null_low: float
    null_high: float
    n_permutations: int


@dataclass(frozen=True)
class RankRow:
    """Effective rank of a target's predictions and of its true values, over the same stimuli."""

    target: str
    n: int
    predicted: float
    true: float


@dataclass(frozen=True, eq=False)
class EmbeddingScores:
    """What `brainrecon.evaluation.tasks.embeddings.score_embeddings` found.

    Attributes
    ----------
    stimulus_ids : tuple of str
    values : dict of str to float64 array of shape (n_stimuli,)
        Per stimulus, by metric.
    rows : list of EmbeddingRow
    ranks : list of RankRow
    """

    stimulus_ids: tuple
    values: dict
    rows: list = field(default_factory=list)
    ranks: list = field(default_factory=list)

    def __eq__(self, other):
        return isinstance(other, EmbeddingScores) and self.to_dict() == other.to_dict()

    def to_dict(self):
        """Everything in JSON's own types."""
        return {
            "stimulus_ids": list(self.stimulus_ids),
            "values": {name: [float(value) for value in values] for name, values in self.values.items()},
            "rows": [asdict(row) for row in self.rows],
            "ranks": [asdict(row) for row in self.ranks],
        }

    @classmethod
    def from_dict(cls, content):
        """The scores that `to_dict` gave; KeyError or TypeError if it is something else."""
        return cls(
            tuple(content["stimulus_ids"]),
            {name: np.array(values, dtype=np.float64) for name, values in content["values"].items()},
            [EmbeddingRow(**row) for row in content["rows"]],
            [RankRow(**row) for row in content["ranks"]],
        )
