"""The task of encoding: predicted responses against the measured ones, voxel by voxel and pattern by pattern."""

from dataclasses import dataclass
from math import fsum
from typing import Any, ClassVar

import numpy as np

from brainrecon.datasets.shuffled import partners
from brainrecon.evaluation.metrics.feature_correlation import correlate_features
from brainrecon.evaluation.metrics.identification import identification_rates, success_matrix
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.response_scores import (
    IDENTIFICATION,
    MEAN_TRAINING_RESPONSE,
    PATTERN,
    PREDICTED,
    SHUFFLED_STIMULI,
    VOXELS,
    ResponseRow,
    ResponseScores,
)
from brainrecon.evaluation.statistics.bootstrap import N_RESAMPLES
from brainrecon.evaluation.statistics.intervals import bootstrap_difference, bootstrap_mean
from brainrecon.evaluation.statistics.pair_intervals import bootstrap_pair_difference, bootstrap_pairs
from brainrecon.evaluation.tasks.features import FEWEST_STIMULI
from brainrecon.evaluation.tasks.scored_task import ScoredTask, check_reference
from stages.ground.errors import InputError
from stages.ground.progress import SILENT


@dataclass(frozen=True, eq=False)
class MeasuredResponses:
    """The responses that predicted ones are compared with.

    >>> MeasuredResponses(np.zeros((3, 5)), np.zeros(5)).patterns.shape
    (3, 5)

    Attributes
    ----------
    patterns : array of shape (n_stimuli, n_voxels)
        Averages over the repeats of each stimulus.
    mean : array of shape (n_voxels,) or (n_stimuli, n_voxels)
        The mean training response; a row for each stimulus where each was trained on other stimuli.
    noise_ceiling : array of shape (n_voxels,), optional
        Percent of the variance of `patterns` that is no noise.
    """

    patterns: Any
    mean: Any
    noise_ceiling: Any = None


@dataclass(frozen=True)
class Responses(ScoredTask):
    """Compare the responses that the reference condition predicts with the measured ones.

    >>> outputs = {"reconstruction": Outputs(ids, predicted)}  # doctest: +SKIP
    >>> shown = Shown(ids, responses=MeasuredResponses(patterns, mean))  # doctest: +SKIP
    >>> Responses().score(outputs, shown, "brainrecon-1").responses.rows  # doctest: +SKIP
    """

    name: ClassVar = "responses"
    reads: ClassVar = ("responses",)

    def asked_by(self, protocol):
        """Always: responses are compared by the same measures whatever a protocol scores."""
        return True

    def score(self, outputs, shown, protocol, *, device="cpu", progress=SILENT):
        """Score predicted responses; see `score_responses`."""
        check_reference(self.reference, outputs)
        ids, predicted = outputs[self.reference]
        places = {name: place for place, name in enumerate(ids)}
        if len(places) != len(ids) or places.keys() != set(shown.stimulus_ids):
            raise InputError(
                f"Responses were predicted for {len(ids):,} stimuli, others than the {len(shown.stimulus_ids):,} that were "
                "shown; give a row for each of those."
            )
        in_order = np.asarray(predicted)[[places[name] for name in shown.stimulus_ids]]
        found = score_responses(shown.responses, in_order, shown.stimulus_ids, **self.options)
        return self.scores(load_protocol(protocol), responses=found)


def score_responses(measured, predicted, stimulus_ids, *, seed=0, n_resamples=N_RESAMPLES):
    """Score predicted responses beside two controls: those predicted for other stimuli, and the mean training response.

    >>> random = np.random.default_rng(0)
    >>> patterns = random.standard_normal((30, 200)) + random.standard_normal(200)
    >>> predicted = patterns + random.standard_normal((30, 200))
    >>> measured = MeasuredResponses(patterns, patterns.mean(axis=0), noise_ceiling=np.full(200, 64.0))
    >>> found = score_responses(measured, predicted, range(30), n_resamples=2000)
    >>> row = found.row("voxel_correlation")
    >>> round(row.mean, 1), round(row.ceiling, 1), round(row.share, 1)
    (0.7, 0.8, 0.9)
    >>> found.row("identification", "mean_training_response").mean
    0.5

    The measures are those of `brainrecon.evaluation.scores.response_scores.MEASURES`. With r_v the correlation of voxel v over
    stimuli and c_v percent of its variance that is no noise::

        voxel correlation = mean over v of r_v,   ceiling = mean over v of sqrt(c_v / 100)

    over the voxels that vary, as measured and as predicted. The mean training response varies in none: it has no voxel
    correlation. Intervals are bootstrapped over stimuli; that of the voxel correlation by what each stimulus has part in it, see
    `brainrecon.evaluation.metrics.feature_correlation.FeatureCorrelation.profile_values`.

    Parameters
    ----------
    measured : MeasuredResponses
    predicted : array of shape (n_stimuli, n_voxels)
        Rows in the order of `stimulus_ids`.
    stimulus_ids : sequence of str, length n_stimuli
    seed : int
        Of the bootstrap, and of which other stimulus each is given.
    n_resamples : int

    Returns
    -------
    scores : ResponseScores
        Without rows if there are fewer than three stimuli.

    Raises
    ------
    InputError
        Shapes do not match, or a value is not finite.
    """
    stimulus_ids = tuple(str(one) for one in stimulus_ids)
    patterns, predicted = np.asarray(measured.patterns), np.asarray(predicted)
    if patterns.shape != predicted.shape or len(predicted) != len(stimulus_ids):
        raise InputError(
            f"Measured responses have shape {patterns.shape} and predicted ones {predicted.shape} for {len(stimulus_ids):,} "
            "stimuli; expected (n_stimuli, n_voxels) of both: predict for the same subject and roi."
        )
    scores = ResponseScores(stimulus_ids, {})
    if len(stimulus_ids) < FEWEST_STIMULI:
        return scores
    conditions = {
        PREDICTED: predicted,
        SHUFFLED_STIMULI: predicted[partners(len(predicted), seed)],
        MEAN_TRAINING_RESPONSE: np.broadcast_to(measured.mean, patterns.shape),
    }
    compared = {name: _Compared(patterns, own, measured.noise_ceiling) for name, own in conditions.items()}
    options = {"seed": seed, "n_resamples": n_resamples}
    for measure in (VOXELS, PATTERN, IDENTIFICATION):
        for name, one in compared.items():
            if measure in one.values:
                scores.values.setdefault(name, {})[measure] = one.values[measure]
                other = None if name == PREDICTED else compared[PREDICTED]
                scores.rows.append(_row(name, measure, one, other, options))
    return scores


class _Compared:
    """One condition's responses beside the measured ones.

    Attributes
    ----------
    values : dict of str to array of shape (n_stimuli,)
        By measure, those that there are.
    """

    def __init__(self, patterns, predicted, noise_ceiling):
        found = correlate_features(patterns, predicted)
        self.n_voxels, self.n_constant, similarity = found.n_units, found.n_constant, found.similarity
        self.pairs = success_matrix(similarity)
        self.values = {
            PATTERN: np.nan_to_num(similarity.diagonal(), nan=0.0),
            IDENTIFICATION: identification_rates(similarity),
        }
        self.ceiling = None
        if found.n_correlated:
            self.values[VOXELS] = found.profile_values
            if noise_ceiling is not None:
                varies = np.logical_and(*(side.max(axis=0) > side.min(axis=0) for side in (patterns, predicted)))
                self.ceiling = float(np.sqrt(np.asarray(noise_ceiling, dtype=np.float64)[varies] / 100).mean())


def _row(name, measure, one, other, options):
    """A row of one condition; `other` are the predicted responses, if it is a control."""
    values, above = one.values[measure], {}
    if measure == IDENTIFICATION:
        estimate = bootstrap_pairs(*one.pairs, **options)
        difference = other and bootstrap_pair_difference(other.pairs, one.pairs, **options)
    else:
        estimate = bootstrap_mean(values, **options)
        paired = other is not None and measure in other.values
        difference = bootstrap_difference(other.values[measure], values, **options) if paired else None
    if difference:
        above = {"above": difference.mean, "above_low": difference.ci_low, "above_high": difference.ci_high}
    return ResponseRow(
        condition=name,
        measure=measure,
        n=len(values),
        n_voxels=one.n_voxels,
        n_constant=one.n_constant,
        mean=fsum(values) / len(values),
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        ceiling=one.ceiling if measure == VOXELS and other is None else None,
        **above,
    )
