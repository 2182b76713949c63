"""The step that gives decoded values the means and the spread of true ones."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.arrays_step import ArraysStep
from brainrecon.assembly.training_tables import of_one
from brainrecon.assembly.values import PATTERNS, Item
from stages.ground.checks import OneOf, check, is_constant
from stages.ground.errors import InputError

TRAINING, TRANSDUCTIVE = "training", "transductive"
EACH_VALUE, ALL_VALUES = "each value", "all values"
_ROWS_AT_A_TIME = 256


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

    Every value is standardised and then scaled: (decoded - mean) / deviation * true deviation + true mean. Deviations are each
    value's own, or one of all: then what is decoded keeps its form, and values of which little is known are not raised to noise.

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
    spread : {"each value", "all values"}
        Whose deviations are matched.

    Raises
    ------
    InputError
        `by` or `spread` is something else; in running, "transductive" is given one value alone.
    """

    reads_subjects = True

    def __init__(self, learned, value, gives, by, part, spread=EACH_VALUE):
        self.reads, self.gives, self.part, self.fitted = (value,), (gives,), part, {}
        self.targets, self._learned = {gives: learned.targets[value]}, learned
        self.by = check("by", by, OneOf(TRAINING, TRANSDUCTIVE))
        self._spread = check("spread", spread, OneOf(EACH_VALUE, ALL_VALUES))

    @property
    def target_of(self):
        return {self.gives[0]: self.reads[0]}

    @property
    def no_mean_response(self):
        """One decoded value alone has no spread."""
        return "alone it has no spread that transductive statistics could use" if self.by == TRANSDUCTIVE else None

    def fit(self, training, workspace):
        (value,) = self.reads
        made, true = Moments(), Moments()
        for name, subject in training.subjects.items():
            patterns, ids = subject.train.patterns, list(subject.train.stimulus_ids)
            table = of_one(training, name).features((value,))[value]
            for first in range(0, len(ids), _ROWS_AT_A_TIME):
                chosen = slice(first, first + _ROWS_AT_A_TIME)
                items = [Item(name, one) for one in ids[chosen]]
                made.add(self._learned.run(items, {PATTERNS: np.asarray(patterns[chosen])})[value])
                true.add(np.asarray(table[chosen]))
        self.fitted = {}
        for kind, found in (("made", made), ("true", true)):
            mean, deviation = self._matched(found)
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
            here = Moments()
            here.add(rows)
            mean, deviation = self._matched(here)
        scale = np.where(is_constant(mean, deviation), np.inf, deviation)
        return {
            self.gives[0]: ((rows - mean) / scale * known["true deviation"] + known["true mean"]).astype(np.float32)
        }

    def _matched(self, found):
        """The means and the deviations that are matched, float32."""
        mean, deviation = found.mean, found.deviation
        if self._spread == ALL_VALUES:
            deviation = np.full_like(deviation, np.sqrt(np.square(deviation).mean()))
        return mean.astype(np.float32), deviation.astype(np.float32)


class Moments:
    """Mean and standard deviation of every column of rows that come in blocks, in double precision.

    >>> found = Moments()
    >>> found.add(np.float32([[1, 5]]))
    >>> found.add(np.float32([[3, 5]]))
    >>> found.mean.tolist(), found.deviation.tolist()
    ([2.0, 5.0], [1.0, 0.0])
    """

    def __init__(self):
        self._n, self.mean, self._squares = 0, 0.0, 0.0

    @property
    def deviation(self):
        """Of the rows so far."""
        return np.sqrt(self._squares / self._n)

    def add(self, rows):
        """Take further rows into account."""
        rows = np.asarray(rows, dtype=np.float64)
        mean, n = rows.mean(axis=0), self._n + len(rows)
        away = mean - self.mean
        self._squares = self._squares + np.square(rows - mean).sum(axis=0) + away**2 * (self._n * len(rows) / n)
        self._n, self.mean = n, self.mean + away * (len(rows) / n)
