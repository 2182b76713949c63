"""One condition's pictures beside the shown ones: what each metric found, for any choice of stimuli."""

import numpy as np

from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.evaluation.metrics.identification import success_matrix
from brainrecon.evaluation.statistics import intervals, pair_intervals
from brainrecon.evaluation.tasks.comparison import Comparison, averaged
from brainrecon.evaluation.views.prepared_pictures import blocks_of

# Pixels of so many pairs of pictures are in memory at a time.
_PAIRS_PER_BLOCK = 64


class PictureComparison(Comparison):
    """One condition's pictures beside the shown ones.

    `compute` is called once for every source of the protocol ("pixels" and each network) and stores what is small: a score
    of each picture, correlations of all shown pictures with all pictures here. Everything else is derived from these.

    Parameters
    ----------
    pictures : brainrecon.evaluation.views.prepared_pictures.PreparedPictures
    targets : integer array of shape (n_pictures,)
        The row of the shown pictures that each picture is for.
    same_category : boolean array of shape (n_shown, n_shown), or None
        Which shown pictures share a category.
    """

    def __init__(self, pictures, targets, same_category=None):
        super().__init__(targets)
        self._pictures, self._same_category = pictures, same_category
        self._per_picture, self._correlations = {}, {}

    @staticmethod
    def features_of(shown, metrics, network):
        """What one source makes of the shown pictures: dict of "features" and of labels by head."""
        found = {}
        if any(spec.metric.takes in ("features", "brain") for spec in metrics):
            found["features"] = _features(shown, metrics, network)
        return found | _labels(shown, metrics, network)

    def compute(self, metrics, shown, of_shown, network, brain=None):
        """Compute what the metrics of one source need.

        Parameters
        ----------
        metrics : list of MetricSpec
            All of one source.
        shown : PreparedPictures
        of_shown : dict
            What `features_of` found for the same source.
        network : (NetworkSpec, Network), or None
            None for pixels.
        brain : brainrecon.evaluation.tasks.reconstruction.Brain, optional
        """
        features = _features(self._pictures, metrics, network) if "features" in of_shown else None
        labels = _labels(self._pictures, metrics, network)
        for spec in metrics:
            takes = spec.metric.takes
            if spec.metric.correlates:
                key = (spec.features, spec.similarity)
                if key not in self._correlations:
                    self._correlations[key] = correlation_matrix(
                        of_shown["features"], features, similarity=spec.similarity
                    )
            elif takes == "pixels":
                self._per_picture[spec.name] = self._pair_by_pair(spec, shown)
            elif takes == "features":
                self._per_picture[spec.name] = spec.metric.function(of_shown["features"][self._targets], features)
            elif takes == "brain":
                predicted, measured = brain.models[spec.features].predict(features), brain.patterns[self._targets]
                self._per_picture[spec.name] = spec.metric.function(measured, predicted)
                for region, mask in brain.regions.items():
                    self._per_picture[spec.name, region] = spec.metric.function(measured[:, mask], predicted[:, mask])
            elif takes == "pair":
                self._per_picture[spec.name] = self._distances(shown, network)
            elif takes == "labels":
                self._per_picture[spec.name] = self._agreement(spec, of_shown, labels)
        self._pictures.forget()

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

    def _pair_by_pair(self, spec, shown):
        """Scores of pixels, a block of pictures at a time."""
        return np.concatenate(
            [
                spec.metric.function(
                    shown.pixels(spec.resize, self._targets[block]),
                    self._pictures.pixels(spec.resize, block),
                    **spec.options,
                )
                for block in blocks_of(np.arange(len(self._targets)), _PAIRS_PER_BLOCK)
            ]
        )

    def _distances(self, shown, network):
        """What a network that compares pictures in pairs says of each."""
        spec, judge = network
        pairs = zip(shown.prepared(spec, self._targets), self._pictures.prepared(spec))
        return np.concatenate([np.asarray(judge.distance(*pair), dtype=np.float64) for pair in pairs])

    def _agreement(self, spec, shown, drawn):
        """Whether labels agree; refined if the picture that was shown asks for it."""

        def label(labels, row, target):
            wanted = shown[spec.head][target]
            return labels[spec.head][row], labels[spec.refine[wanted]][row] if wanted in spec.refine else None

        reference = [label(shown, target, target) for target in self._targets]
        predicted = [label(drawn, row, target) for row, target in enumerate(self._targets)]
        return spec.metric.function(reference, predicted)


def _labels(pictures, metrics, network):
    """All classifications that the metrics of one source compare, dict of head to list of str."""
    heads = [head for spec in metrics if spec.metric.takes == "labels" for head in (spec.head, *spec.refine.values())]
    return pictures.labels(*network, dict.fromkeys(heads)) if heads else {}


def _features(pictures, metrics, network):
    """Features of one source, float32 (n, n_features)."""
    if network is not None:
        return pictures.features(*network)
    (resize,) = {spec.resize for spec in metrics if spec.metric.takes == "features"}
    return pictures.pixels(resize, np.arange(len(pictures))).reshape(len(pictures), -1)
