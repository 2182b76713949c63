"""Scores of predicted embeddings, before any picture is drawn, beside a permutation null."""

from dataclasses import dataclass, field


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
        Mean over stimuli and its interval (None where there is none).
    null_mean, null_low, null_high : float
        Mean and central 95 % of the same mean when responses are assigned to other stimuli at random.
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


@dataclass(frozen=True)
class EmbeddingScores:
    """What `score_embeddings` found.

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
