"""Scoring: shown pictures and the pictures of each condition in, scores with intervals out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainrecon.evaluation import intervals
from brainrecon.evaluation.extractors import Views, load_network
from brainrecon.evaluation.metrics import correlation_matrix
from brainrecon.evaluation.protocol import load_protocol
from brainrecon.evaluation.scores import ConditionScores, Scores, SummaryRow
from stages.errors import InputError
from weights import store

__all__ = ["Condition", "Scores", "evaluate"]


@dataclass(frozen=True)
class Condition:
    """The pictures of one condition.

    Attributes
    ----------
    stimulus_ids : sequence of str, length n_pictures
        The stimulus each picture is for, in any order. A stimulus that occurs several times has several
        samples: each is scored, and the scores are averaged (never the pictures).
    images : uint8 array of shape (n_pictures, height, width, 3)
    """

    stimulus_ids: Sequence[str]
    images: np.ndarray


def evaluate(
    shown,
    conditions,
    *,
    stimulus_ids,
    categories=None,
    protocol="brainrecon-1",
    reference="reconstruction",
    seed=0,
    n_resamples=intervals.N_RESAMPLES,
    networks=None,
    progress=None,
):
    """Score every condition against the shown pictures.

    Conditions may cover fewer stimuli than were shown. Two-way identification within a condition is computed
    among that condition's own stimuli; the paired difference to the reference condition uses the stimuli both
    have, with identification recomputed among those on both sides. Nothing given is changed.

    Parameters
    ----------
    shown : uint8 array of shape (n_stimuli, height, width, 3)
        The pictures that were seen.
    conditions : mapping of str to Condition
        By name ("reconstruction", "stage_one", "shuffled_responses", ...); pictures may have any size.
    stimulus_ids : sequence of str, length n_stimuli
        The stimulus of each shown picture, each once.
    categories : sequence of sequence of str, length n_stimuli, optional
        The categories of each shown picture. Metrics that compare within a category are left out without them,
        and where a stimulus shares its categories with no other.
    protocol : str or Protocol
        How to score.
    reference : str
        The condition that others are subtracted from.
    seed, n_resamples : int
        Of the bootstrap over stimuli.
    networks : mapping of str to Network, optional
        The protocol's networks by name; those not given are loaded from their checkpoints.
    progress : callable, optional
        `progress(label, done, total)` after each condition.

    Returns
    -------
    scores : Scores

    Raises
    ------
    InputError
        If a condition holds an unknown stimulus, numbers do not match, or the reference is missing.
    weights.store.CheckpointError
        If a network's checkpoint is absent or damaged.
    """
    protocol = load_protocol(protocol)
    shown, stimulus_ids = np.asarray(shown), [str(one) for one in stimulus_ids]
    _check(shown, stimulus_ids, conditions, reference)
    networks, checkpoints = _assemble(protocol, networks or {})
    kin = None if categories is None else _share_a_category(categories)
    positions = {one: row for row, one in enumerate(stimulus_ids)}

    shown_views = Views(shown, protocol, networks)
    scored = {}
    for done, (name, condition) in enumerate(conditions.items()):
        targets = np.array([positions[str(one)] for one in condition.stimulus_ids])
        scored[name] = _Scored(shown_views, Views(condition.images, protocol, networks), targets, kin)
        if progress is not None:
            progress("scoring", done + 1, len(conditions))

    options = {"n_resamples": n_resamples, "seed": seed}
    results, summary, differences = {}, [], []
    for name, condition in scored.items():
        values = {}
        for spec in protocol.metrics.values():
            found = condition.per_stimulus(spec, condition.rows)
            if found is not None:
                values[spec.name] = found
                summary.append(SummaryRow(name, spec.name, *intervals.bootstrap_mean(found, **options)))
        ids = tuple(stimulus_ids[row] for row in condition.rows)
        results[name] = ConditionScores(ids, tuple(condition.n_samples), values)
    for name, condition in scored.items():
        common = np.intersect1d(condition.rows, scored[reference].rows)
        if name == reference or not len(common):
            continue
        for spec in protocol.metrics.values():
            own, other = scored[reference].per_stimulus(spec, common), condition.per_stimulus(spec, common)
            if own is not None and other is not None:
                estimate = intervals.bootstrap_difference(own, other, **options)
                differences.append(SummaryRow(name, spec.name, *estimate))
    return Scores(
        protocol=protocol,
        reference=reference,
        conditions=results,
        summary=summary,
        differences=differences,
        confidence=intervals.CONFIDENCE,
        n_resamples=n_resamples,
        seed=seed,
        checkpoints=checkpoints,
    )


class _Scored:
    """One condition's pictures beside the shown ones.

    Parameters
    ----------
    shown, pictures : Views
    targets : integer array of shape (n_pictures,)
        The row of `shown` that each picture is for.
    kin : boolean array of shape (n_shown, n_shown), or None
        Which shown pictures share a category.
    """

    def __init__(self, shown, pictures, targets, kin=None):
        self._shown, self._pictures, self._targets, self._kin = shown, pictures, targets, kin
        self._per_picture, self._correlations = {}, {}
        self.rows, counts = np.unique(targets, return_counts=True)
        self.n_samples = [int(count) for count in counts]

    def per_stimulus(self, spec, rows):
        """Scores of the stimuli `rows` (sorted rows of the shown pictures), averaged over samples, or None.

        None where the metric compares stimuli with one another and one has nobody to be compared with.
        """
        chosen = np.flatnonzero(np.isin(self._targets, rows))
        own = np.searchsorted(rows, self._targets[chosen])
        if spec.metric.relational:
            if len(rows) < 2 or (spec.within == "category" and self._kin is None):
                return None
            correlation = self._correlation(spec.features)[np.ix_(rows, chosen)]
            allowed = self._kin[np.ix_(rows, self._targets[chosen])] if spec.within == "category" else None
            scores = spec.metric.from_correlation(correlation, targets=own, allowed=allowed)
            if np.isnan(scores).any():
                return None
        else:
            scores = self._each_picture(spec)[chosen]
        return np.bincount(own, weights=scores, minlength=len(rows)) / np.bincount(own, minlength=len(rows))

    def _correlation(self, features):
        """Correlations of all shown pictures with all pictures here: those of a subset are a part of it."""
        if features not in self._correlations:
            self._correlations[features] = correlation_matrix(
                self._shown.features(features), self._pictures.features(features)
            )
        return self._correlations[features]

    def _each_picture(self, spec):
        """Scores that do not depend on the other stimuli, (n_pictures,), computed once."""
        if spec.name not in self._per_picture:
            if spec.metric.takes == "labels":
                reference = [self._label(self._shown, spec, row, row) for row in self._targets]
                predicted = [self._label(self._pictures, spec, row, own) for row, own in enumerate(self._targets)]
            elif spec.metric.takes == "pixels":
                reference, predicted = self._shown.pixels[self._targets], self._pictures.pixels
            else:
                reference = self._shown.features(spec.features)[self._targets]
                predicted = self._pictures.features(spec.features)
            self._per_picture[spec.name] = spec.metric.function(reference, predicted)
        return self._per_picture[spec.name]

    def _label(self, views, spec, row, target):
        """The label of one picture, refined where the picture that was shown asks for it."""
        wanted = self._shown.labels(spec.features, spec.head)[target]
        label = views.labels(spec.features, spec.head)[row]
        if wanted in spec.refine:
            return label, views.labels(spec.features, spec.refine[wanted])[row]
        return label, None


def _share_a_category(categories):
    """Which pairs of stimuli share at least one category: bool (n_stimuli, n_stimuli)."""
    names = sorted({name for own in categories for name in own})
    member = np.array([[name in own for name in names] for own in categories], dtype=int)
    return member @ member.T > 0


def _assemble(protocol, given):
    """The networks that the protocol's metrics use, and the fingerprints of those that were loaded."""
    used = {spec.features for spec in protocol.metrics.values()} - {"pixels"}
    networks, checkpoints = {}, {}
    for name in sorted(used):
        spec = protocol.networks[name]
        if name in given:
            networks[name] = given[name]
        else:
            networks[name] = load_network(spec)
            checkpoints[spec.checkpoint] = store.fingerprint(spec.checkpoint)
    return networks, checkpoints


def _check(shown, stimulus_ids, conditions, reference):
    if len(stimulus_ids) != len(shown) or len(set(stimulus_ids)) != len(stimulus_ids):
        raise InputError(
            f"There are {len(shown)} shown pictures and {len(set(stimulus_ids))} different stimulus ids "
            f"({len(stimulus_ids)} given); expected one id for each picture, each once. Check the test set."
        )
    if reference not in conditions:
        raise InputError(
            f"The reference condition {reference!r} is not among "
            f"{', '.join(map(repr, conditions)) or 'none'}; expected one of these. "
            "Name another reference, or reconstruct first."
        )
    known = set(stimulus_ids)
    for name, condition in conditions.items():
        if len(condition.stimulus_ids) != len(condition.images) or not len(condition.images):
            raise InputError(
                f"Condition {name} has {len(condition.images)} pictures and {len(condition.stimulus_ids)} "
                "stimulus ids; expected as many as pictures, and at least one. Reconstruct it again."
            )
        unknown = sorted({str(one) for one in condition.stimulus_ids} - known)
        if unknown:
            raise InputError(
                f"Condition {name} has {len(unknown)} stimuli that were not shown "
                f"({', '.join(unknown[:3])}); expected some of the {len(known)} shown. "
                "Score it against its own test set."
            )
