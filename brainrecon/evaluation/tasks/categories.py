"""The task of category identification: name what was seen or imagined by decoded features, among averages of many categories.

A category need not be one that was learned from: of it, as of every other, nothing is known but its average features.
"""

from dataclasses import dataclass
from math import fsum
from typing import Any, ClassVar

import numpy as np

from brainrecon.evaluation.metrics.category_identification import category_rates_of_all_pairs
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.category_scores import CategoryRow, CategoryScores
from brainrecon.evaluation.statistics.bootstrap import N_RESAMPLES
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from brainrecon.evaluation.statistics.permutation_null import permutation_null
from brainrecon.evaluation.tasks.embeddings import N_PERMUTATIONS
from brainrecon.evaluation.tasks.scored_task import ScoredTask, check_reference
from brainrecon.evaluation.tasks.similarities import check_stimuli, in_order
from stages.ground.errors import InputError
from stages.ground.progress import SILENT


@dataclass(frozen=True)
class Candidates:
    """Categories among which predictions of one value are looked for.

    >>> Candidates(("boat", "fish"), np.eye(2), own=np.array([1, 0, 1])).n_stimuli
    3

    Attributes
    ----------
    labels : tuple of str
    means : array of shape (n_candidates, n_values)
        Average features of each category.
    own : int array of shape (n_stimuli,)
        Row of each stimulus's category; -1 if it is none of them.
    own_means : array of shape (n_stimuli, n_values), optional
        The average of its category as it is for a stimulus, such as that without its own picture; NaN if there is none.
    target, roi : str
        The target that the value predicts, and the region that it was decoded from.
    """

    labels: tuple
    means: Any
    own: Any
    own_means: Any = None
    target: str = ""
    roi: str = "all"

    @property
    def n_stimuli(self):
        """Stimuli that it knows the category of, or that it has none."""
        return len(self.own)


@dataclass(frozen=True)
class Categories(ScoredTask):
    """Identify the categories of stimuli by the embeddings that the reference condition predicts.

    >>> outputs = {"reconstruction": Outputs(ids, {"cnn8_V1": predicted})}  # doctest: +SKIP
    >>> candidates = {"cnn8_V1": Candidates(labels, means, own)}  # doctest: +SKIP
    >>> shown = Shown(ids, candidates=candidates)  # doctest: +SKIP
    >>> Categories().score(outputs, shown, "horikawa-2017").categories.rows  # doctest: +SKIP
    """

    name: ClassVar = "categories"
    reads: ClassVar = ("embeddings",)

    def asked_by(self, protocol):
        """Whether a protocol has a table ``[categories.NAME]``."""
        return bool(protocol.categories)

    def score(self, outputs, shown, protocol, *, device="cpu", progress=SILENT):
        """Score predicted embeddings by the protocol's ``[categories.NAME]``; see `score_categories`."""
        protocol = load_protocol(protocol)
        check_reference(self.reference, outputs)
        predicted = in_order(outputs[self.reference], shown)
        found = score_categories(
            protocol.categories, shown.candidates, predicted, shown.stimulus_ids, progress=progress, **self.options
        )
        return self.scores(protocol, categories=found)


def score_categories(
    specs,
    candidates,
    predicted,
    stimulus_ids,
    *,
    seed=0,
    n_permutations=N_PERMUTATIONS,
    n_resamples=N_RESAMPLES,
    progress=SILENT,
):
    """Identification rates of all predicted values among their candidates.

    The null assigns the responses to stimuli by random permutations: predictions keep their distribution, categories their
    frequency, and a response says nothing of the stimulus. If many stimuli are of few categories, some keep theirs by chance.

    >>> from brainrecon.evaluation.protocols.task_specs import CategorySpec
    >>> means, own = np.eye(4), np.arange(4)
    >>> found = score_categories(
    ...     {"identified": CategorySpec("identified")},
    ...     {"cnn8_V1": Candidates(("boat", "cat", "fish", "hat"), means, own, target="cnn8", roi="V1")},
    ...     {"cnn8_V1": means + 0.1},
    ...     ["a", "b", "c", "d"],
    ...     n_resamples=2000,
    ... )
    >>> row = found.row("identified", "cnn8_V1")
    >>> row.target, row.roi, row.n_candidates, row.mean
    ('cnn8', 'V1', 4, 1.0)

    Parameters
    ----------
    specs : mapping of str to CategorySpec
        `Protocol.categories`.
    candidates : mapping of str to Candidates
        By predicted value; those without any are left out.
    predicted : mapping of str to array or FeatureTable of shape (n_stimuli, n_values)
        Rows in the order of `stimulus_ids`.
    stimulus_ids : sequence of str, length n_stimuli
        Each once.
    seed : int
        Of permutations and bootstrap; every value gets the same permutations.
    n_permutations, n_resamples : int
    progress : callable, optional

    Returns
    -------
    scores : CategoryScores
        Without a row for a value of which no stimulus has a category among the candidates.

    Raises
    ------
    InputError
        Shapes do not match, a value is not finite, or there are fewer than two candidates.
    """
    stimulus_ids = tuple(str(one) for one in stimulus_ids)
    check_stimuli(stimulus_ids)
    values, rows = {name: {} for name in specs}, []
    names = [name for name in candidates if name in predicted]
    for done, name in enumerate(names, start=1):
        one, own = candidates[name], np.asarray(predicted[name])
        if one.n_stimuli != len(stimulus_ids) or own.shape != (len(stimulus_ids), np.shape(one.means)[1]):
            raise InputError(
                f"{name} has predictions of shape {own.shape} and candidates of {np.shape(one.means)[1]:,} values for "
                f"{one.n_stimuli:,} of {len(stimulus_ids):,} stimuli; expected (n_stimuli, n_values). Decode that split."
            )
        for metric, spec in specs.items():
            values[metric][name], row = _score(spec, name, one, own, seed, n_permutations, n_resamples)
            rows += [] if row is None else [row]
        progress("identifying categories", done, len(names))
    return CategoryScores(stimulus_ids, values, sorted(rows, key=lambda row: list(specs).index(row.metric)))


def _score(spec, name, candidates, predicted, seed, n_permutations, n_resamples):
    """Rates of all stimuli, and the row of one value; None if no stimulus has a rate."""
    rates, there = np.full(len(predicted), np.nan), np.flatnonzero(np.asarray(candidates.own) >= 0)
    if not len(there):
        return rates, None
    own = np.asarray(candidates.own)[there]
    own_means = None if candidates.own_means is None else np.asarray(candidates.own_means)[there]
    pairs = category_rates_of_all_pairs(
        predicted[there], candidates.means, own, own_means, ties=spec.ties, similarity=spec.similarity
    )
    scored = ~np.isnan(pairs).all(axis=1)
    if not scored.any():
        return rates, None
    pairs, own = pairs[scored][:, scored], own[scored]
    rates[there[scored]] = found = pairs.diagonal()
    estimate = bootstrap_mean(found, seed=seed, n_resamples=n_resamples)
    null = permutation_null(pairs, n_permutations, seed)
    low, high = np.quantile(null, [0.025, 0.975])
    row = CategoryRow(
        metric=spec.name,
        value=name,
        target=candidates.target or name,
        roi=candidates.roi,
        n=len(found),
        n_categories=len(set(own.tolist())),
        n_candidates=len(candidates.labels),
        mean=fsum(found) / len(found),
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        null_mean=fsum(null) / len(null),
        null_low=float(low),
        null_high=float(high),
        n_permutations=n_permutations,
    )
    return rates, row
