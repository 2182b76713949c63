"""One condition's pictures beside the shown ones: what each metric found, for any choice of stimuli."""

import numpy as np

from brainrecon.evaluation.metrics.identification import success_matrix
from brainrecon.evaluation.statistics import intervals, pair_intervals
from brainrecon.evaluation.tasks.comparison import Comparison, averaged


class PictureComparison(Comparison):
    """One condition's pictures beside the shown ones.

    `brainrecon.evaluation.tasks.picture_walk` fills in what is small: a score of each picture, and correlations of all shown
    pictures with all pictures here. Everything else is derived from these.

    Parameters
    ----------
    targets : integer array of shape (n_pictures,)
        The row of the shown pictures that each picture is for.
    same_category : boolean array of shape (n_shown, n_shown), or None
        Which shown pictures share a category.
    stimulus_ids : sequence of str, length n_shown
        For metrics that draw by lot.
    """

    def __init__(self, targets, same_category=None, stimulus_ids=()):
        super().__init__(targets)
        self._ids = stimulus_ids
        self.targets, self._same_category = targets, same_category
        self._per_picture, self._correlations = {}, {}

    def put_scores(self, key, pictures, scores):
        """Scores of some pictures, by the name of a metric, or by that and a region."""
        if key not in self._per_picture:
            self._per_picture[key] = np.empty(len(self.targets))
        self._per_picture[key][pictures] = scores

    def put_correlations(self, spec, pictures, correlations):
        """Correlations (n_shown, n) of some pictures, of a metric that identifies by them."""
        key = (spec.features, spec.similarity)
        if key not in self._correlations:
            self._correlations[key] = np.empty((len(correlations), len(self.targets)))
        self._correlations[key][:, pictures] = correlations

    def items(self, pictures):
        """The stimulus of each of some pictures, list of str."""
        return [self._ids[row] for row in self.targets[pictures]]

    def per_output(self, spec, rows, chosen):
        """Scores of the pictures `chosen`, all those of the stimuli `rows`, or None."""
        if not spec.metric.correlates:
            return self._per_picture[spec.name][chosen] if spec.name in self._per_picture else None
        if spec.within == "category" and self._same_category is None:
            return None
        correlation, allowed = self._among(spec, rows, chosen)
        own = np.searchsorted(rows, self._targets[chosen])
        scores = spec.metric.from_correlation(correlation, targets=own, allowed=allowed, **spec.options)
        return None if np.isnan(scores).all() else scores

    def estimate(self, spec, rows, options):
        """Mean over the stimuli `rows` and its interval; if every stimulus is also a competitor, resampled as both."""
        if not spec.metric.pairwise:
            return super().estimate(spec, rows, options)
        there = np.isfinite(self.per_stimulus(spec, rows))
        return pair_intervals.bootstrap_pairs(*self._pairs(spec, rows[there]), **options)

    def paired(self, other, spec, rows, own, theirs, options):
        """The interval of a difference; if every stimulus is also a competitor, resampled as both."""
        if not spec.metric.pairwise:
            return super().paired(other, spec, rows, own, theirs, options)
        pairs = (one._pairs(spec, rows) for one in (self, other))
        return pair_intervals.bootstrap_pair_difference(*pairs, **options)

    def by_region(self, spec, region, options):
        """Mean over all stimuli of a metric of brain correlation in one region, with its interval."""
        own = np.searchsorted(self.rows, self._targets)
        return intervals.bootstrap_mean(averaged(self._per_picture[spec.name, region], own), **options)

    def _among(self, spec, rows, chosen):
        """Correlations among some stimuli, and which of them may compete (None: all)."""
        correlation = self._correlations[spec.features, spec.similarity][np.ix_(rows, chosen)]
        allowed = self._same_category[np.ix_(rows, self._targets[chosen])] if spec.within == "category" else None
        return correlation, allowed

    def _pairs(self, spec, rows):
        """Who beats whom among the stimuli `rows`, averaged over samples: success and competes, (n_rows, n_rows)."""
        chosen = np.flatnonzero(np.isin(self._targets, rows))
        own = np.searchsorted(rows, self._targets[chosen])
        correlation, allowed = self._among(spec, rows, chosen)
        success, competes = success_matrix(correlation, own, allowed)
        averaging = np.zeros((len(chosen), len(rows)))
        averaging[np.arange(len(chosen)), own] = 1 / np.bincount(own)[own]
        return success @ averaging, competes @ averaging
