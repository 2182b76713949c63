"""Scores of decoded features, unit by unit and pattern by pattern, with what the noise of the responses allows."""

from collections.abc import Callable
from dataclasses import dataclass
from math import fsum

import numpy as np

from brainrecon.evaluation.metrics.feature_correlation import FeatureCorrelation, correlate_features
from brainrecon.evaluation.metrics.identification import identification_rates, rates_of_all_pairs, success_matrix
from brainrecon.evaluation.protocols.task_specs import FEATURE_MEASURES
from brainrecon.evaluation.scores.feature_scores import FeatureRow, FeatureScores
from brainrecon.evaluation.statistics.bootstrap import N_RESAMPLES
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from brainrecon.evaluation.statistics.pair_intervals import bootstrap_pairs
from brainrecon.evaluation.statistics.permutation_null import permutation_null
from brainrecon.evaluation.statistics.split_half import ceiling_of_halves
from brainrecon.evaluation.tasks.similarities import check_paired
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

PROFILE, PATTERN = FEATURE_MEASURES
IDENTIFICATION = "identification"
MEASURES = (PROFILE, PATTERN, IDENTIFICATION)

# Two points correlate by 1 or -1 whatever they are.
FEWEST_STIMULI = 3


@dataclass(frozen=True, eq=False)
class Halves:
    """Features decoded from the halves of the repeats of each stimulus, compared with one another.

    >>> random = np.random.default_rng(0)
    >>> layer = random.standard_normal((40, 100))
    >>> first, second = (layer + random.standard_normal((40, 100)) for _ in range(2))  # decoded from a trial each
    >>> one_trial = np.ones(40)
    >>> decoded = {"fc8": Decoded("fc8", halves=Halves(correlate_features(first, second), one_trial, one_trial))}
    >>> from brainrecon.evaluation.protocols.task_specs import EmbeddingSpec
    >>> specs = {"profile": EmbeddingSpec("profile", "profile_correlation", "fc8")}
    >>> (row,) = score_features(specs, {"fc8": layer}, {"fc8": (first + second) / 2}, decoded, range(40)).rows
    >>> round(row.mean, 1), round(row.ceiling, 1)
    (0.8, 0.8)

    Attributes
    ----------
    between : FeatureCorrelation
        Of what the first half gives with what the second gives, over the stimuli that have two repeats or more.
    smaller, larger : array of shape (n_stimuli,)
        Trials in the halves of each of these stimuli.
    """

    between: FeatureCorrelation
    smaller: np.ndarray
    larger: np.ndarray


@dataclass(frozen=True, eq=False)
class Decoded:
    """What is known of a decoded value besides its numbers.

    >>> Decoded("cnn8", roi="V1").target
    'cnn8'

    Attributes
    ----------
    target : str
        That it predicts.
    roi : str
        Region that it was decoded from; "all" for all voxels.
    training : (mean, std), or callable, optional
        Of the true features of the training stimuli, as `correlate_features` takes them: pattern correlation is left out
        without.
    halves : Halves, optional
        There are no ceilings without.
    voxels : bool array of shape (n_voxels,), optional
        Those of the region: whether two regions share some.
    """

    target: str
    roi: str = "all"
    training: tuple | Callable | None = None
    halves: Halves | None = None
    voxels: np.ndarray | None = None


def score_features(
    specs,
    true,
    predicted,
    decoded,
    stimulus_ids,
    *,
    seed=0,
    n_permutations=1000,
    n_resamples=N_RESAMPLES,
    progress=SILENT,
):
    """Score decoded features against the true ones.

    >>> random = np.random.default_rng(0)
    >>> layer = random.standard_normal((40, 100))
    >>> decoded = {"fc8_V1": Decoded("fc8", "V1"), "fc8_V2": Decoded("fc8", "V2")}
    >>> predicted = {name: layer + noise * random.standard_normal((40, 100)) for name, noise in zip(decoded, (1, 3))}
    >>> scores = score_features({}, {"fc8": layer}, predicted, decoded, range(40))
    >>> [round(scores.row("profile_correlation", "fc8", roi).mean, 1) for roi in ("V1", "V2")]
    [0.7, 0.3]

    "profile_correlation" is the correlation of a unit over stimuli, averaged over the units that vary. "pattern_correlation" is
    that of a stimulus over units, which are z-scored by mean and standard deviation of the training stimuli first; a pattern
    without variation scores 0. "identification" is two-way: the share of the n - 1 other stimuli whose true pattern correlates
    less with a decoded pattern than its own does; ties fail.

    Intervals are bootstrapped over stimuli, those of profile correlation by what each stimulus has part in it, see
    `FeatureCorrelation`. Its nominal 95 % covers 88 to 92 % with 20 stimuli and 93 to 95 % with 50, as much as a bootstrap that
    correlates every unit again. The null assigns the responses to stimuli by random permutations.

    The ceiling of a correlation is what split halves of the repeats allow: features are decoded from the average of every
    other trial of a stimulus and from that of the rest; their mean profile (or pattern) correlation r is stepped up to the
    average of all repeats, and what is without noise correlates with that average by ::

        ceiling = sqrt(2 r / (1 + r))              halves of equal size; see `ceiling_of_halves`

    It is that of the measurement, and holds for the decoder as it is: errors of its weights count as signal. It is one of
    all units: with units that differ in noise, the mean of their own ceilings is lower.

    Parameters
    ----------
    specs : mapping of str to EmbeddingSpec
        `Protocol.embeddings`; those of these measures are read. Their target is a name, or "all" for every decoded value.
    true : mapping of str to array or FeatureTable of shape (n_stimuli, n_units)
        By target, rows in the order of `stimulus_ids`.
    predicted : mapping of str to the same
        By value. Columns are read in blocks if there is a method ``columns(start, stop)``.
    decoded : mapping of str to Decoded
        By value. Others have the name of their target. All measures are taken of the values of a target that was decoded from two
        regions or more, whatever the protocol asks for.
    stimulus_ids : sequence of str, length n_stimuli
    seed, n_permutations, n_resamples : int
    progress : callable, optional

    Returns
    -------
    scores : FeatureScores
        Without rows if there are fewer than three stimuli.

    Raises
    ------
    InputError
        Shapes or the order of stimuli do not match, or a value is not finite.
    """
    stimulus_ids = tuple(str(one) for one in stimulus_ids)
    known = {name: decoded.get(name) or Decoded(name) for name in predicted}
    scores = FeatureScores(stimulus_ids, {}, apart=regions_apart(known.values()))
    if len(stimulus_ids) < FEWEST_STIMULI:
        return scores
    wanted = {name: measures for name, measures in wanted_measures(specs, known).items() if known[name].target in true}
    options = {"seed": seed, "n_resamples": n_resamples}
    for done, (name, measures) in enumerate(wanted.items(), start=1):
        pair = true[known[name].target], predicted[name]
        check_paired(name, *pair, stimulus_ids)
        try:
            found = correlate_features(*pair, known[name].training)
        except InputError as error:
            raise InputError(f"Value {name!r}: {error}") from error
        for measure in measures:
            scored = _SCORED[measure](found, known[name].halves, options)
            if scored is not None:
                values, pairs, estimate, ceiling = scored
                scores.values.setdefault(measure, {})[name] = values
                null = permutation_null(pairs, n_permutations, seed)
                scores.rows.append(_row(measure, name, known[name], found, values, estimate, null, ceiling))
        progress("correlating features", done, len(wanted))
    return scores


def regions_apart(decoded):
    """The first region, and the last one that shares no voxel with it: the ends of a hierarchy, if regions are in its order.

    >>> regions = {"V1": [True, False, False], "HVC": [False, True, True], "VC": [True, True, True]}
    >>> regions_apart(Decoded("cnn8", roi, voxels=np.array(own)) for roi, own in regions.items())
    ('V1', 'HVC')

    Parameters
    ----------
    decoded : iterable of Decoded
        Voxels that are not known are shared with nobody.

    Returns
    -------
    regions : tuple of str
        Two, or none if there are no such two.
    """
    voxels = {}
    for one in decoded:
        voxels.setdefault(one.roi, one.voxels)
    first, *others = voxels or ("",)
    apart = [
        roi for roi in others if voxels[first] is None or voxels[roi] is None or not (voxels[first] & voxels[roi]).any()
    ]
    return (first, apart[-1]) if apart else ()


def wanted_measures(specs, decoded):
    """Which measures to take of which values.

    Parameters
    ----------
    specs : mapping of str to EmbeddingSpec
    decoded : mapping of str to Decoded

    Returns
    -------
    measures : dict of str to tuple of str
        By value; those of which none is wanted are left out.
    """
    asked = {(spec.measure, spec.target) for spec in specs.values() if spec.measure in FEATURE_MEASURES}
    regions = {}
    for one in decoded.values():
        regions.setdefault(one.target, set()).add(one.roi)
    found = {
        name: MEASURES
        if len(regions[one.target]) > 1
        else tuple(measure for measure in FEATURE_MEASURES if {(measure, one.target), (measure, "all")} & asked)
        for name, one in decoded.items()
    }
    return {name: measures for name, measures in found.items() if measures}


def _profile(found, halves, options):
    if not found.n_correlated:
        return None
    values, ceiling = found.profile_values, None
    if halves is not None and halves.between.n_correlated:
        between = bootstrap_mean(halves.between.profile_values, **options)
        ceiling = ceiling_of_halves(between, halves.smaller, halves.larger)
    return values, found.profiles, bootstrap_mean(values, **options), ceiling


def _pattern(found, halves, options):
    if found.patterns is None:
        return None
    pairs, ceiling = np.nan_to_num(found.patterns, nan=0.0), None
    if halves is not None and halves.between.patterns is not None:
        between = bootstrap_mean(np.nan_to_num(halves.between.patterns.diagonal(), nan=0.0), **options)
        ceiling = ceiling_of_halves(between, halves.smaller, halves.larger)
    values = pairs.diagonal().copy()
    return values, pairs, bootstrap_mean(values, **options), ceiling


def _identification(found, halves, options):
    similarity = found.similarity
    rates = rates_of_all_pairs(similarity)
    return identification_rates(similarity), rates, bootstrap_pairs(*success_matrix(similarity), **options), None


_SCORED = {PROFILE: _profile, PATTERN: _pattern, IDENTIFICATION: _identification}


def _row(measure, name, decoded, found, values, estimate, null, ceiling):
    low, high = np.quantile(null, [0.025, 0.975])
    return FeatureRow(
        measure=measure,
        value=name,
        target=decoded.target,
        roi=decoded.roi,
        n=len(values),
        n_units=found.n_units,
        n_constant=found.n_constant,
        mean=fsum(values) / len(values),
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        null_mean=fsum(null) / len(null),
        null_low=float(low),
        null_high=float(high),
        n_permutations=len(null),
        **(dict(zip(("ceiling", "ceiling_low", "ceiling_high"), ceiling[1:])) if ceiling else {}),
    )
