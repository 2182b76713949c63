"""Scores of predicted responses: per stimulus, and their means beside those of controls."""

from dataclasses import asdict, dataclass, field

import numpy as np

PREDICTED = "predicted_responses"
SHUFFLED_STIMULI = "shuffled_stimuli"
MEAN_TRAINING_RESPONSE = "mean_training_response"

LABELS = {
    PREDICTED: ("Predicted responses", "The responses that the method predicts for the picture that was shown."),
    SHUFFLED_STIMULI: ("Shuffled stimuli", "Those that it predicts for the picture of another test stimulus."),
    MEAN_TRAINING_RESPONSE: ("Mean training response", "The average of the training responses, whatever was shown."),
}

VOXELS, PATTERN, IDENTIFICATION = "voxel_correlation", "pattern_correlation", "identification"
MEASURES = {
    VOXELS: (
        "Voxel correlation",
        "Pearson correlation of each voxel over stimuli, averaged over the voxels that vary in both. Its ceiling is the mean "
        "over these voxels of the correlation that the noise of the measured responses allows.",
    ),
    PATTERN: (
        "Pattern correlation",
        "Pearson correlation over voxels of the predicted pattern with the measured one, averaged over stimuli. Voxels differ in "
        "their means, so that the mean training response scores here, too.",
    ),
    IDENTIFICATION: (
        "Two-way identification",
        "How often a predicted pattern correlates more with the pattern measured for its own stimulus than with that of another; "
        "chance is one half, ties fail.",
    ),
}


@dataclass(frozen=True)
class ResponseRow:
    """One measure of the responses of one condition.

    Attributes
    ----------
    condition : str
        A key of `LABELS`.
    measure : str
        A key of `MEASURES`.
    n : int
        Stimuli.
    n_voxels, n_constant : int
        Voxels, and those of them without a correlation: they do not vary over the stimuli, as measured or as predicted.
    mean, ci_low, ci_high : float
        Mean and its interval over stimuli (None if there is none).
    ceiling : float or None
        Of the voxel correlation, if the noise of the responses is known.
    above, above_low, above_high : float or None
        Predicted responses minus this condition, paired by stimulus, with the interval; None of the former themselves.
    """

    condition: str
    measure: str
    n: int
    n_voxels: int
    n_constant: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    ceiling: float | None = None
    above: float | None = None
    above_low: float | None = None
    above_high: float | None = None

    @property
    def share(self):
        """The mean over its ceiling; None without one."""
        return self.mean / self.ceiling if self.ceiling else None


@dataclass(frozen=True, eq=False)
class ResponseScores:
    """What `brainrecon.evaluation.tasks.responses.score_responses` found.

    Attributes
    ----------
    stimulus_ids : tuple of str
    values : dict of str to (dict of str to float64 array of shape (n_stimuli,))
        By condition and measure: the score of each stimulus; of voxel correlation, what each has part in it.
    rows : list of ResponseRow
    """

    stimulus_ids: tuple
    values: dict
    rows: list = field(default_factory=list)

    def __eq__(self, other):
        return isinstance(other, ResponseScores) and self.to_dict() == other.to_dict()

    def row(self, measure, condition=PREDICTED):
        """The row of a measure and a condition, or None."""
        return next((one for one in self.rows if (one.measure, one.condition) == (measure, condition)), None)

    def to_dict(self):
        """Everything in JSON's own types."""
        values = {
            name: {key: list(map(float, own)) for key, own in found.items()} for name, found in self.values.items()
        }
        return {
            "stimulus_ids": list(self.stimulus_ids),
            "values": values,
            "rows": [asdict(row) for row in self.rows],
        }

    @classmethod
    def from_dict(cls, content):
        """The scores that `to_dict` gave; KeyError or TypeError if it is something else."""
        values = {
            name: {key: np.array(own, dtype=np.float64) for key, own in found.items()}
            for name, found in content["values"].items()
        }
        return cls(tuple(content["stimulus_ids"]), values, [ResponseRow(**row) for row in content["rows"]])
