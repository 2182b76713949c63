"""Scores of category identification: for each predicted value, how well what was seen is told among many categories."""

from dataclasses import asdict, dataclass, field

import numpy as np


@dataclass(frozen=True)
class CategoryRow:
    """Identification by one predicted value, over all stimuli.

    Attributes
    ----------
    metric : str
        Name of the protocol's `CategorySpec`.
    value : str
        What was predicted, such as ``cnn8_V1``.
    target, roi : str
        The target that it predicts, and the region that it was decoded from.
    n : int
        Stimuli with a rate.
    n_categories : int
        Different categories of these.
    n_candidates : int
        Categories among which they were looked for.
    mean, ci_low, ci_high : float
        Mean rate over stimuli, and its interval (None if there is none).
    null_mean, null_low, null_high : float
        Mean and central 95 % of the same mean when responses are assigned to stimuli at random.
    n_permutations : int
    chance : float
        0.5, whatever the number of candidates.
    """

    metric: str
    value: str
    target: str
    roi: str
    n: int
    n_categories: int
    n_candidates: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    null_mean: float
    null_low: float
    null_high: float
    n_permutations: int
    chance: float = 0.5

    @property
    def ceiling(self):
        """Nobody knows the highest rate that the noise of the responses allows."""
        return None

    @property
    def is_above(self):
        """Whether the interval lies above chance, and the mean above the shuffled responses."""
        return self.ci_low is not None and self.ci_low > self.chance and self.mean > self.null_high


@dataclass(frozen=True, eq=False)
class CategoryScores:
    """What `brainrecon.evaluation.tasks.categories.score_categories` found.

    Attributes
    ----------
    stimulus_ids : tuple of str
    values : dict of str to (dict of str to float64 array of shape (n_stimuli,))
        By metric and predicted value: each stimulus's rate, 0 to 1; NaN for one whose category is no candidate.
    rows : list of CategoryRow
    """

    stimulus_ids: tuple
    values: dict
    rows: list = field(default_factory=list)

    def __eq__(self, other):
        return isinstance(other, CategoryScores) and self.to_dict() == other.to_dict()

    def row(self, metric, value):
        """The row of a metric and a predicted value, or None."""
        return next((one for one in self.rows if (one.metric, one.value) == (metric, value)), None)

    def to_dict(self):
        """Everything in JSON's own types."""
        values = {
            metric: {name: [float(v) if np.isfinite(v) else None for v in rates] for name, rates in own.items()}
            for metric, own in self.values.items()
        }
        return {"stimulus_ids": list(self.stimulus_ids), "values": values, "rows": [asdict(row) for row in self.rows]}

    @classmethod
    def from_dict(cls, content):
        """The scores that `to_dict` gave; KeyError or TypeError if it is something else."""
        values = {
            metric: {name: np.array(rates, dtype=np.float64) for name, rates in own.items()}
            for metric, own in content["values"].items()
        }
        return cls(tuple(content["stimulus_ids"]), values, [CategoryRow(**row) for row in content["rows"]])
