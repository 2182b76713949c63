"""Scores of predicted embeddings, before any picture is drawn, beside a permutation null.

A generator makes plausible pictures from poor embeddings; what the responses themselves tell is seen before it.
"""

from dataclasses import dataclass
from math import fsum
from typing import ClassVar

import numpy as np

from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.evaluation.metrics.effective_rank import effective_rank
from brainrecon.evaluation.metrics.identification import rates_of_all_pairs, success_matrix
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.protocols.task_specs import EMBEDDING_MEASURES, FEATURE_MEASURES
from brainrecon.evaluation.scores.embedding_scores import EmbeddingRow, EmbeddingScores, RankRow
from brainrecon.evaluation.statistics.bootstrap import N_RESAMPLES
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from brainrecon.evaluation.statistics.pair_intervals import bootstrap_pairs
from brainrecon.evaluation.statistics.permutation_null import permutation_null
from brainrecon.evaluation.tasks.features import score_features
from brainrecon.evaluation.tasks.scored_task import ScoredTask, check_reference
from brainrecon.evaluation.tasks.similarities import check_paired, check_stimuli, in_order, paired
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.suggestions import did_you_mean

N_PERMUTATIONS = 1000

# Of fewer, the outermost 5 % are no permutation at all.
_FEWEST_PERMUTATIONS = 20


@dataclass(frozen=True)
class Embeddings(ScoredTask):
    """Compare the embeddings that the reference condition predicts with those of the shown stimuli.

    >>> outputs = {"reconstruction": Outputs(ids, {"clip_image": predicted})}  # doctest: +SKIP
    >>> shown = Shown(ids, embeddings={"clip_image": true})  # doctest: +SKIP
    >>> Embeddings().score(outputs, shown, "brainrecon-1").embeddings.rows  # doctest: +SKIP
    """

    name: ClassVar = "embeddings"
    reads: ClassVar = ("embeddings",)

    def asked_by(self, protocol):
        """Always: the effective ranks of predictions are measured whatever a protocol scores."""
        return True

    def score(self, outputs, shown, protocol, *, device="cpu", progress=SILENT):
        """Score predicted embeddings by the protocol's ``[[embeddings]]``; see `score_embeddings` and `score_features`."""
        protocol = load_protocol(protocol)
        check_reference(self.reference, outputs)
        predicted, ids = in_order(outputs[self.reference], shown), shown.stimulus_ids
        found = score_embeddings(protocol.embeddings, shown.embeddings, predicted, ids, **self.options)
        features = score_features(
            protocol.embeddings, shown.embeddings, predicted, shown.decoded, ids, **self.options, progress=progress
        )
        return self.scores(protocol, embeddings=found, features=features if features.rows else None)


def score_embeddings(
    specs, true, predicted, stimulus_ids, *, seed=0, n_permutations=N_PERMUTATIONS, n_resamples=N_RESAMPLES
):
    """Score predicted embeddings against the true ones by retrieval among the same stimuli.

    "image_retrieval" looks from a prediction for the shown picture's own value among the values of `n_way` pictures;
    "brain_retrieval" looks from a picture's value for its own prediction among `n_way` predictions. (MindEye's code calls
    the second one forward, see docs/guide/evaluation.md.) A stimulus's score is the probability to find it when the other
    candidates are drawn at random, computed exactly; ties fail. Two-way identification is the case of `n_way` 2.

    The null assigns the responses to stimuli by random permutations, so that predictions keep their distribution and lose
    what they say of the stimulus. A score within it tells nothing of the responses.

    Parameters
    ----------
    specs : mapping of str to EmbeddingSpec
        `Protocol.embeddings`. Those whose target is not in both `true` and `predicted` are left out, and correlations of
        features, which `brainrecon.evaluation.tasks.features.score_features` has.
    true, predicted : mapping of str to array or FeatureTable of shape (n_stimuli, n_targets)
        By target, of the shown pictures and as decoded, rows in the order of `stimulus_ids`. Targets are looked up one after
        the other, each once; one target's two arrays are held in memory as they are.
    stimulus_ids : sequence of str, length n_stimuli
        Each once.
    seed : int
        Of permutations and bootstrap; every metric gets the same permutations.
    n_permutations : int
        At least 20.
    n_resamples : int
        Of the bootstrap over stimuli. For two-way identification it resamples both sides of each comparison, for more
        candidates the stimuli that are looked for.

    Returns
    -------
    scores : EmbeddingScores
        With the effective ranks of all targets that are in both. Without rows if there is only one stimulus. Stimuli
        whose prediction is constant score 0.

    Raises
    ------
    InputError
        If shapes or the order of stimuli do not match, a value is not finite, a spec asks for an unknown measure, or
        there are too few permutations.
    """
    stimulus_ids = tuple(str(one) for one in stimulus_ids)
    _check(specs, stimulus_ids, n_permutations)
    scores = EmbeddingScores(stimulus_ids, {})
    if len(stimulus_ids) < 2:
        return scores
    found, options = {}, {"seed": seed, "n_resamples": n_resamples}
    for target in [name for name in true if name in predicted]:
        own = {
            name: spec for name, spec in specs.items() if spec.target == target and spec.measure not in FEATURE_MEASURES
        }
        rank, matrices = _compare(target, true[target], predicted[target], stimulus_ids, own)
        scores.ranks.append(rank)
        for name, spec in own.items():
            found[name] = _score(name, spec, matrices[spec.similarity], n_permutations, options)
    for name in specs:
        if name in found:
            scores.values[name], row = found[name]
            scores.rows.append(row)
    return scores


def _compare(target, true, predicted, stimulus_ids, specs):
    """Ranks of one target, and its similarity matrices by kind; what was read for them is let go of here."""
    kinds = {spec.similarity for spec in specs.values()}
    # Ranks alone go through them block by block.
    pair = paired(target, true, predicted, stimulus_ids) if kinds else (true, predicted)
    check_paired(target, *pair, stimulus_ids)
    try:
        rank = RankRow(target, len(stimulus_ids), predicted=effective_rank(pair[1]), true=effective_rank(pair[0]))
        matrices = {kind: correlation_matrix(*pair, kind) for kind in kinds}
    except InputError as error:
        raise InputError(f"Target {target!r}: {error}") from error
    return rank, matrices


def _score(name, spec, similarity, n_permutations, options):
    """Scores per stimulus, and the row of one metric, from the similarities of true values and predictions."""
    # Columns look for their own row. From a prediction among true values as it is, the other way round transposed.
    similarity = similarity.T if spec.measure == "brain_retrieval" else similarity
    rates = rates_of_all_pairs(similarity, spec.n_way, spec.top_k)
    values = rates.diagonal().copy()
    if (spec.n_way, spec.top_k) == (2, 1):
        estimate = bootstrap_pairs(*success_matrix(similarity), **options)
    else:
        estimate = bootstrap_mean(values, **options)
    null = permutation_null(rates, n_permutations, options["seed"])
    low, high = np.quantile(null, [0.025, 0.975])
    row = EmbeddingRow(
        metric=name,
        target=spec.target,
        n=len(values),
        mean=fsum(values) / len(values),
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        null_mean=fsum(null) / len(null),
        null_low=float(low),
        null_high=float(high),
        n_permutations=n_permutations,
    )
    return values, row


def _check(specs, stimulus_ids, n_permutations):
    check_stimuli(stimulus_ids)
    if n_permutations < _FEWEST_PERMUTATIONS:
        raise InputError(
            f"{n_permutations} permutations are too few for their central 95 %; ask for at least {_FEWEST_PERMUTATIONS}."
        )
    for name, spec in specs.items():
        if spec.measure not in EMBEDDING_MEASURES:
            options = ", ".join(map(repr, EMBEDDING_MEASURES)) + did_you_mean(spec.measure, EMBEDDING_MEASURES)
            raise InputError(f"Embedding metric {name!r} measures {spec.measure!r}; expected one of {options}.")
