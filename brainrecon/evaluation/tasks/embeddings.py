"""Scores of predicted embeddings, before any picture is drawn, beside a permutation null.

A generator makes plausible pictures from poor embeddings; what the responses themselves tell is seen before it.
"""

from dataclasses import asdict, dataclass, field
from math import fsum

import numpy as np

from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.evaluation.metrics.effective_rank import effective_rank
from brainrecon.evaluation.metrics.identification import TIE, n_way_rates, success_matrix
from brainrecon.evaluation.protocols.specs import EMBEDDING_MEASURES
from brainrecon.evaluation.statistics.intervals import N_RESAMPLES, bootstrap_mean
from brainrecon.evaluation.statistics.pair_intervals import bootstrap_pairs
from stages.ground.errors import InputError

N_PERMUTATIONS = 1000

# Of fewer, the outermost 5 % are no permutation at all.
_FEWEST_PERMUTATIONS = 20


@dataclass(frozen=True)
class EmbeddingRow:
    """One score of the predicted embeddings of one target.

    Attributes
    ----------
    metric, target : str
        Name of the protocol's `EmbeddingSpec`, and of the target.
    n : int
        Stimuli.
    mean, ci_low, ci_high : float
        Mean over stimuli and its interval (None where there is none).
    null_mean, null_low, null_high : float
        Mean and central 95 % of the same mean when responses are assigned to stimuli at random.
    n_permutations : int
    """

    metric: str
    target: str
    n: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    null_mean: float
    null_low: float
    null_high: float
    n_permutations: int


@dataclass(frozen=True)
class RankRow:
    """Effective rank of a target's predictions and of its true values, over the same stimuli."""

    target: str
    n: int
    predicted: float
    true: float


@dataclass(frozen=True, eq=False)
class EmbeddingScores:
    """What `score_embeddings` found.

    Attributes
    ----------
    stimulus_ids : tuple of str
    values : dict of str to float64 array of shape (n_stimuli,)
        Per stimulus, by metric.
    rows : list of EmbeddingRow
    ranks : list of RankRow
    """

    stimulus_ids: tuple
    values: dict
    rows: list = field(default_factory=list)
    ranks: list = field(default_factory=list)

    def __eq__(self, other):
        return isinstance(other, EmbeddingScores) and self.to_dict() == other.to_dict()

    def to_dict(self):
        """Everything in JSON's own types."""
        return {
            "stimulus_ids": list(self.stimulus_ids),
            "values": {name: [float(value) for value in values] for name, values in self.values.items()},
            "rows": [asdict(row) for row in self.rows],
            "ranks": [asdict(row) for row in self.ranks],
        }

    @classmethod
    def from_dict(cls, content):
        """The scores that `to_dict` gave; KeyError or TypeError where it is something else."""
        return cls(
            tuple(content["stimulus_ids"]),
            {name: np.array(values, dtype=np.float64) for name, values in content["values"].items()},
            [EmbeddingRow(**row) for row in content["rows"]],
            [RankRow(**row) for row in content["ranks"]],
        )


def score_embeddings(
    specs, true, predicted, stimulus_ids, *, seed=0, n_permutations=N_PERMUTATIONS, n_resamples=N_RESAMPLES
):
    """Score predicted embeddings against the true ones by retrieval among the same stimuli.

    "image_retrieval" looks from a prediction for the shown picture's own value among the values of `n_way` pictures,
    MindEye's forward retrieval (Scotti et al. 2023); "brain_retrieval" looks from a picture's value for its own prediction among
    `n_way` predictions, MindEye's backward retrieval. A stimulus's score is the probability to find it when the other
    candidates are drawn at random, computed exactly; ties fail. Two-way identification is the case of `n_way` 2.

    The null assigns the responses to stimuli by random permutations, so that predictions keep their distribution and lose
    what they say of the stimulus. A score within it tells nothing of the responses.

    Parameters
    ----------
    specs : mapping of str to EmbeddingSpec
        `Protocol.embeddings`. Those whose target is not in both `true` and `predicted` are left out.
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
        With the effective ranks of all targets that are in both. Without rows where there is only one stimulus. Stimuli
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
        own = {name: spec for name, spec in specs.items() if spec.target == target}
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
    pair = _pair(target, true, predicted, stimulus_ids)
    try:
        rank = RankRow(target, len(stimulus_ids), predicted=effective_rank(pair[1]), true=effective_rank(pair[0]))
        matrices = {kind: correlation_matrix(*pair, kind) for kind in {spec.similarity for spec in specs.values()}}
    except InputError as error:
        raise InputError(f"Target {target!r}: {error}") from error
    return rank, matrices


def _score(name, spec, similarity, n_permutations, options):
    """Scores per stimulus, and the row of one metric, from the similarities of true values and predictions."""
    # Columns look for their own row. From a prediction among true values as it is, the other way round transposed.
    similarity = similarity.T if spec.measure == "brain_retrieval" else similarity
    rates = _rates_of_all_pairs(similarity, spec.n_way, spec.top_k)
    values = rates.diagonal().copy()
    if (spec.n_way, spec.top_k) == (2, 1):
        estimate = bootstrap_pairs(*success_matrix(similarity), **options)
    else:
        estimate = bootstrap_mean(values, **options)
    generator, columns = np.random.default_rng(options["seed"]), np.arange(len(values))
    # Exact sums: where a permutation changes nothing but the order, it shall not change the last digit.
    null = [fsum(rates[generator.permutation(columns), columns]) / len(values) for _ in range(n_permutations)]
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


def _rates_of_all_pairs(similarity, n_way, top_k):
    """What column j would score if row i were its own: float64 (n, n); `n_way_rates` is its diagonal.

    How many others row i beats in column j does not depend on which row is the column's own, so that every permutation
    only picks other entries.
    """
    n = len(similarity)
    beaten = np.empty((n, n), dtype=np.intp)
    for column, values in enumerate(similarity.T):
        # Those below by more than a tie; undefined ones are sorted to the end and are never below.
        beaten[:, column] = np.searchsorted(np.sort(values), values - TIE)
    # The rate of every count: in these columns the own row j beats just the j rows before it.
    by_count = n_way_rates(np.tile(np.arange(n, dtype=float)[:, None], (1, n)), n_way=n_way, top_k=top_k)
    rates = by_count[np.minimum(beaten, n - 1)]
    rates[np.isnan(similarity)] = 0.0
    return rates


def _pair(target, true, predicted, stimulus_ids):
    """True and predicted values of a target as two arrays in memory, of one shape."""
    for what, values in (("true values", true), ("predictions", predicted)):
        own = getattr(values, "stimulus_ids", stimulus_ids)
        if tuple(map(str, own)) != stimulus_ids:
            raise InputError(
                f"The {what} of target {target!r} are a table of {len(own):,} stimuli in another order than the "
                f"{len(stimulus_ids):,} to score, or of others; pass the table of the same split."
            )
    true, predicted = np.asarray(true), np.asarray(predicted)
    if true.ndim != 2 or true.shape != predicted.shape or len(true) != len(stimulus_ids):
        raise InputError(
            f"Target {target!r} has true values of shape {true.shape} and predictions of shape {predicted.shape} for "
            f"{len(stimulus_ids):,} stimuli; expected (n_stimuli, n_targets) of both. Decode the same split again."
        )
    return true, predicted


def _check(specs, stimulus_ids, n_permutations):
    if len(set(stimulus_ids)) < len(stimulus_ids):
        raise InputError(
            f"There are {len(set(stimulus_ids)):,} different ones among {len(stimulus_ids):,} stimulus ids; expected each "
            "once. Average the predictions of a stimulus first."
        )
    if n_permutations < _FEWEST_PERMUTATIONS:
        raise InputError(
            f"{n_permutations} permutations are too few for their central 95 %; ask for at least {_FEWEST_PERMUTATIONS}."
        )
    for name, spec in specs.items():
        if spec.measure not in EMBEDDING_MEASURES:
            options = ", ".join(map(repr, EMBEDDING_MEASURES))
            raise InputError(f"Embedding metric {name!r} measures {spec.measure!r}; expected one of {options}.")
