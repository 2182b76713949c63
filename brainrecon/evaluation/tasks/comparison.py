"""One condition beside what was shown, for any choice of stimuli; and what follows from it: means and paired differences."""

import numpy as np

from brainrecon.evaluation.scores.scores import ConditionScores, SummaryRow
from brainrecon.evaluation.statistics import intervals


class Comparison:
    """The outputs of one condition, each beside the stimulus it is for.

    A subclass says with `per_output` what each output scores.

    Parameters
    ----------
    targets : integer array of shape (n_outputs,)
        The row of the shown stimuli that each output is for.
    """

    def __init__(self, targets):
        self._targets = targets
        self.rows, counts = np.unique(targets, return_counts=True)
        self.n_samples = [int(count) for count in counts]

    def per_output(self, spec, rows, chosen):
        """Scores of the outputs `chosen`, all those of the stimuli `rows`: float64 (n_chosen,); or None if there are none."""
        raise NotImplementedError

    def per_stimulus(self, spec, rows):
        """Scores of the stimuli `rows` (sorted rows of what was shown), averaged over samples, or None.

        If the metric compares stimuli with one another: NaN for one that has nobody to be compared with. None if nobody
        has, and if something that the metric needs is not there.
        """
        if spec.metric.relational and len(rows) < 2:
            return None
        chosen = np.flatnonzero(np.isin(self._targets, rows))
        scores = self.per_output(spec, rows, chosen)
        return None if scores is None else averaged(scores, np.searchsorted(rows, self._targets[chosen]))

    def estimate(self, spec, rows, options):
        """Mean over the stimuli `rows` and its interval."""
        values = self.per_stimulus(spec, rows)
        return intervals.bootstrap_mean(values[np.isfinite(values)], **options)

    def difference(self, other, spec, rows, options):
        """Mean of own minus another condition's scores over the stimuli `rows`, with its interval; None without either."""
        own, theirs = self.per_stimulus(spec, rows), other.per_stimulus(spec, rows)
        if own is None or theirs is None or not (there := np.isfinite(own) & np.isfinite(theirs)).any():
            return None
        return self.paired(other, spec, rows[there], own[there], theirs[there], options)

    def paired(self, other, spec, rows, own, theirs, options):
        """The interval of a difference between two arrays of scores of the stimuli `rows`."""
        return intervals.bootstrap_difference(own, theirs, **options)


def summarise(compared, specs, reference, stimulus_ids, options):
    """Score every condition, and subtract each from the reference over the stimuli that both have.

    Parameters
    ----------
    compared : mapping of str to Comparison
        By condition.
    specs : sequence of MetricSpec or CaptionSpec
    reference : str
        A key of `compared`.
    stimulus_ids : sequence of str
        Of what was shown.
    options : dict
        Of the bootstrap.

    Returns
    -------
    found : dict
        `conditions`, `summary` and `differences` as `brainrecon.evaluation.scores.scores.Scores` has them.
    """
    conditions, summary, differences = {}, [], []
    for name, condition in compared.items():
        values = {}
        for spec in specs:
            scores = condition.per_stimulus(spec, condition.rows)
            if scores is not None:
                values[spec.name] = scores
                summary.append(SummaryRow(name, spec.name, *condition.estimate(spec, condition.rows, options)))
        ids = tuple(stimulus_ids[row] for row in condition.rows)
        conditions[name] = ConditionScores(ids, tuple(condition.n_samples), values)
    for name, condition in compared.items():
        common = np.intersect1d(condition.rows, compared[reference].rows)
        if name == reference or not len(common):
            continue
        for spec in specs:
            estimate = compared[reference].difference(condition, spec, common, options)
            if estimate is not None:
                differences.append(SummaryRow(name, spec.name, *estimate))
    return {"conditions": conditions, "summary": summary, "differences": differences}


def averaged(scores, own):
    """Scores of outputs averaged over the samples of each stimulus; `own` is the stimulus of each output, from 0."""
    return np.bincount(own, weights=scores) / np.bincount(own)
