"""Scores of decoded features: correlations with the true ones, by target and by the region that they were decoded from."""

from dataclasses import asdict, dataclass, field

import numpy as np


@dataclass(frozen=True)
class FeatureRow:
    """One score of one decoded value.

    Attributes
    ----------
    measure : {"profile_correlation", "pattern_correlation", "identification"}
        As `brainrecon.evaluation.tasks.features.score_features` defines them.
    value, target, roi : str
        Name of the value; the target that it predicts; the region that it was decoded from, "all" for all voxels.
    n : int
        Stimuli.
    n_units, n_constant : int
        Units of the target; of these, units without a profile correlation, for they do not vary over the stimuli.
    mean, ci_low, ci_high : float
        Over stimuli, with its interval (None if there is none).
    null_mean, null_low, null_high : float
        Mean and central 95 % of the same mean when responses are assigned to stimuli at random.
    n_permutations : int
    ceiling, ceiling_low, ceiling_high : float or None
        Highest correlation that the noise of the test responses allows, with its interval; None if repeats do not tell.
    """

    measure: str
    value: str
    target: str
    roi: str
    n: int
    n_units: int
    n_constant: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    null_mean: float
    null_low: float
    null_high: float
    n_permutations: int
    ceiling: float | None = None
    ceiling_low: float | None = None
    ceiling_high: float | None = None


@dataclass(frozen=True, eq=False)
class FeatureScores:
    """What `brainrecon.evaluation.tasks.features.score_features` found.

    Attributes
    ----------
    stimulus_ids : tuple of str
    values : dict of str to (dict of str to float64 array of shape (n_stimuli,))
        By measure and by value: the score of each stimulus; of profile correlation, what each has part in it.
    rows : list of FeatureRow
        In the order of the values.
    apart : tuple of str
        The first region, and the last one that shares no voxel with it; empty if there is none.
    """

    stimulus_ids: tuple
    values: dict
    rows: list = field(default_factory=list)
    apart: tuple = ()

    def __eq__(self, other):
        return isinstance(other, FeatureScores) and self.to_dict() == other.to_dict()

    def row(self, measure, target, roi):
        """The row of a measure, a target and a region, or None."""
        return next((one for one in self.rows if (one.measure, one.target, one.roi) == (measure, target, roi)), None)

    def regions_and_targets(self):
        """Regions, and the targets that were decoded from two of them or more: two lists in the order of the values."""
        decoded_from = {}
        for row in self.rows:
            decoded_from.setdefault(row.target, {})[row.roi] = None
        targets = [target for target, regions in decoded_from.items() if len(regions) > 1]
        return list(dict.fromkeys(roi for target in targets for roi in decoded_from[target])), targets

    def to_dict(self):
        """Everything in JSON's own types."""
        return {
            "stimulus_ids": list(self.stimulus_ids),
            "values": {
                measure: {name: [float(one) for one in values] for name, values in found.items()}
                for measure, found in self.values.items()
            },
            "rows": [asdict(row) for row in self.rows],
            "apart": list(self.apart),
        }

    @classmethod
    def from_dict(cls, content):
        """The scores that `to_dict` gave; KeyError or TypeError if it is something else."""
        return cls(
            tuple(content["stimulus_ids"]),
            {
                measure: {name: np.array(values, dtype=np.float64) for name, values in found.items()}
                for measure, found in content["values"].items()
            },
            [FeatureRow(**row) for row in content["rows"]],
            tuple(content["apart"]),
        )
