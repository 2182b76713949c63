"""One condition's pictures beside the shown ones: what each metric found, for any choice of stimuli."""

import numpy as np

from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.evaluation.metrics.identification import success_matrix
from brainrecon.evaluation.statistics import intervals, pair_intervals
from brainrecon.evaluation.views.pictures import blocks_of

# Pixels of so many pairs of pictures are in memory at a time.
_PAIRS_PER_BLOCK = 64


class Comparison:
    """One condition's pictures beside the shown ones.

    `look` is called once for every source of the protocol ("pixels" and each network) and keeps what is small: a score
    of each picture, correlations of all shown pictures with all pictures here. Everything else is derived from these.

    Parameters
    ----------
    pictures : brainrecon.evaluation.views.pictures.Pictures
    targets : integer array of shape (n_pictures,)
        The row of the shown pictures that each picture is for.
    kin : boolean array of shape (n_shown, n_shown), or None
        Which shown pictures share a category.
    captions : sequence of str, length n_pictures, or None
    """

    def __init__(self, pictures, targets, kin=None, captions=None):
        self._pictures, self._targets, self._kin, self._captions = pictures, targets, kin, captions
        self._per_picture, self._correlations, self._references = {}, {}, None
        self.rows, counts = np.unique(targets, return_counts=True)
        self.n_samples = [int(count) for count in counts]

    @staticmethod
    def truth(shown, metrics, network):
        """What the shown pictures look like through one source: dict of "features" and of labels by head."""
        found = {}
        if any(spec.metric.takes in ("features", "brain") for spec in metrics):
            found["features"] = _features(shown, metrics, network)
        return found | _labels(shown, metrics, network)

    def look(self, metrics, shown, truth, network, brain=None):
        """Compute what the metrics of one source need.

        Parameters
        ----------
        metrics : list of MetricSpec
            All of one source.
        shown : Pictures
        truth : dict
            What `Comparison.truth` found for the same source.
        network : (NetworkSpec, Network), or None
            None for pixels.
        brain : brainrecon.evaluation.tasks.reconstruction.Brain, optional
        """
        features = _features(self._pictures, metrics, network) if "features" in truth else None
        labels = _labels(self._pictures, metrics, network)
        for spec in metrics:
            takes = spec.metric.takes
            if spec.metric.correlates:
                key = (spec.features, spec.similarity)
                if key not in self._correlations:
                    self._correlations[key] = correlation_matrix(
                        truth["features"], features, similarity=spec.similarity
                    )
            elif takes == "pixels":
                self._per_picture[spec.name] = self._pair_by_pair(spec, shown)
            elif takes == "features":
                self._per_picture[spec.name] = spec.metric.function(truth["features"][self._targets], features)
            elif takes == "brain":
                predicted, measured = brain.models[spec.features].predict(features), brain.patterns[self._targets]
                self._per_picture[spec.name] = spec.metric.function(measured, predicted)
                for region, mask in brain.regions.items():
                    self._per_picture[spec.name, region] = spec.metric.function(measured[:, mask], predicted[:, mask])
            elif takes == "pair":
                self._per_picture[spec.name] = self._distances(shown, network)
            elif takes == "labels":
                self._per_picture[spec.name] = self._agreement(spec, truth, labels)
        self._pictures.forget()

    def read(self, captions):
        """Take the captions of the shown pictures, or None."""
        if self._captions is not None and captions is not None:
            self._references = [captions[row] for row in self._targets]

    def per_stimulus(self, spec, rows):
        """Scores of the stimuli `rows` (sorted rows of the shown pictures), averaged over samples, or None.

        Where the metric compares stimuli with one another, NaN for one that has nobody to be compared with; None where
        nobody has, and where what the metric looks at is not there.
        """
        chosen = np.flatnonzero(np.isin(self._targets, rows))
        own = np.searchsorted(rows, self._targets[chosen])
        if spec.metric.relational and len(rows) < 2:
            return None
        if spec.metric.correlates:
            if spec.within == "category" and self._kin is None:
                return None
            correlation, allowed = self._among(spec, rows, chosen)
            scores = spec.metric.from_correlation(correlation, targets=own, allowed=allowed, **spec.options)
            if np.isnan(scores).all():
                return None
        elif spec.metric.takes == "captions":
            if self._references is None:
                return None
            # Anew for any choice of stimuli: how much a word weighs in CIDEr depends on the others' captions.
            scores = spec.metric.function(
                [self._references[row] for row in chosen], [self._captions[row] for row in chosen], **spec.options
            )
        elif spec.name not in self._per_picture:
            return None
        else:
            scores = self._per_picture[spec.name][chosen]
        return _averaged(scores, own)

    def estimate(self, spec, rows, options):
        """Mean over the stimuli `rows` and its interval; where every stimulus is also a competitor, resampled as both."""
        values = self.per_stimulus(spec, rows)
        there = np.isfinite(values)
        if spec.metric.pairwise:
            return pair_intervals.bootstrap_pairs(*self._pairs(spec, rows[there]), **options)
        return intervals.bootstrap_mean(values[there], **options)

    def by_region(self, spec, region, options):
        """Mean over all stimuli of a metric of brain correlation in one region, with its interval."""
        own = np.searchsorted(self.rows, self._targets)
        return intervals.bootstrap_mean(_averaged(self._per_picture[spec.name, region], own), **options)

    def difference(self, other, spec, rows, options):
        """Mean of own minus another condition's scores over the stimuli `rows`, with its interval; None without either."""
        own, theirs = self.per_stimulus(spec, rows), other.per_stimulus(spec, rows)
        if own is None or theirs is None or not (there := np.isfinite(own) & np.isfinite(theirs)).any():
            return None
        if spec.metric.pairwise:
            pairs = (one._pairs(spec, rows[there]) for one in (self, other))
            return pair_intervals.bootstrap_pair_difference(*pairs, **options)
        return intervals.bootstrap_difference(own[there], theirs[there], **options)

    def _among(self, spec, rows, chosen):
        """Correlations among some stimuli, and which of them may compete (None: all)."""
        correlation = self._correlations[spec.features, spec.similarity][np.ix_(rows, chosen)]
        allowed = self._kin[np.ix_(rows, self._targets[chosen])] if spec.within == "category" else None
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
        """Whether labels agree; refined where the picture that was shown asks for it."""

        def label(labels, row, target):
            wanted = shown[spec.head][target]
            return labels[spec.head][row], labels[spec.refine[wanted]][row] if wanted in spec.refine else None

        reference = [label(shown, target, target) for target in self._targets]
        predicted = [label(drawn, row, target) for row, target in enumerate(self._targets)]
        return spec.metric.function(reference, predicted)


def _averaged(scores, own):
    """Scores of pictures averaged over the samples of each stimulus; `own` is the stimulus of each picture."""
    return np.bincount(own, weights=scores) / np.bincount(own)


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
