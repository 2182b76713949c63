"""The step that gives decoded values the means and spreads of true ones, value by value."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.arrays_step import ArraysStep
from brainrecon.assembly.training_tables import of_one
from brainrecon.assembly.values import PATTERNS, Item
from stages.ground.checks import OneOf, check, is_constant
from stages.ground.errors import InputError

TRAINING, TRANSDUCTIVE = "training", "transductive"


class MatchMoments(ArraysStep):
    """Give decoded values the mean and the standard deviation of the true ones of the training stimuli.

    >>> from brainrecon.assembly.learn import Learn
    >>> from brainrecon.assembly.targets import TargetSource
    >>> class Latent:
    ...     shape, n_targets = (4,), 4
    >>> learned = Learn({"decoded_latent": TargetSource(Latent, checkpoints=())}, decoder=None)
    >>> step = MatchMoments(learned, "decoded_latent", "first_latent", "training", part="moments")
    >>> step.reads, step.gives
    (('decoded_latent',), ('first_latent',))

    Every value is standardised and then scaled: (decoded - mean) / deviation * true deviation + true mean.

    Parameters
    ----------
    learned : brainrecon.assembly.learn.Learn
        The step that decodes the value from patterns.
    value, gives : str
        What is matched, and its name then.
    by : {"training", "transductive"}
        Standardise by what is decoded of the training patterns; or by what is decoded together, so that a value depends on the
        other stimuli that are tested.
    part : str

    Raises
    ------
    InputError
        `by` is something else; in running, "transductive" is given one value alone.
    """

    reads_subjects = True

    def __init__(self, learned, value, gives, by, part):
        self.reads, self.gives, self.part, self.fitted = (value,), (gives,), part, {}
        self.targets, self._learned = {gives: learned.targets[value]}, learned
        self.by = check("by", by, OneOf(TRAINING, TRANSDUCTIVE))

    @property
    def target_of(self):
        return {self.gives[0]: self.reads[0]}

    @property
    def no_mean_response(self):
        """One decoded value alone has no spread."""
        return "alone it has no spread that transductive statistics could use" if self.by == TRANSDUCTIVE else None

    def fit(self, training, workspace):
        (value,) = self.reads
        made, true = [], []
        for name, subject in training.subjects.items():
            patterns = np.asarray(subject.train.patterns)
            items = [Item(name, one) for one in subject.train.stimulus_ids]
            made.append(self._learned.run(items, {PATTERNS: patterns})[value])
            true.append(np.asarray(of_one(training, name).features((value,))[value][:], dtype=np.float32))
        self.fitted = {}
        for kind, rows in (("made", made), ("true", true)):
            mean, deviation = moments(np.concatenate(rows))
            self.fitted |= {f"{kind} mean": mean, f"{kind} deviation": deviation}
        if workspace.folder is not None:
            self.save(workspace.folder)

    def run(self, items, values, *, seed=0):
        rows, known = np.asarray(values[self.reads[0]], dtype=np.float32), self.fitted
        mean, deviation = known["made mean"], known["made deviation"]
        if self.by == TRANSDUCTIVE:
            if len(rows) < 2:
                raise InputError(
                    f"latent_statistics is {TRANSDUCTIVE!r} but {len(rows)} response is decoded, which has no standard "
                    f"deviation; decode two together or more, or fit with --set latent_statistics={TRAINING}."
                )
            mean, deviation = moments(rows)
        scale = np.where(is_constant(mean, deviation), np.inf, deviation)
        return {
            self.gives[0]: ((rows - mean) / scale * known["true deviation"] + known["true mean"]).astype(np.float32)
        }


def moments(rows):
    """Mean and standard deviation of every column, float32, computed in double precision.

    >>> mean, deviation = moments(np.float32([[1, 5], [3, 5]]))
    >>> mean.tolist(), deviation.tolist()
    ([2.0, 5.0], [1.0, 0.0])
    """
    mean = rows.mean(axis=0, dtype=np.float64)
    deviation = np.sqrt(np.square(rows - mean, dtype=np.float64).mean(axis=0))
    return mean.astype(np.float32), deviation.astype(np.float32)
