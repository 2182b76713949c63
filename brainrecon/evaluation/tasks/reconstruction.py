"""Scoring: shown pictures and the pictures of each condition in, scores with intervals out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import ConditionScores, Scores, SummaryRow
from brainrecon.evaluation.statistics import intervals
from brainrecon.evaluation.tasks.comparison import Comparison
from brainrecon.evaluation.tasks.embeddings import score_embeddings
from brainrecon.evaluation.views.networks import load_network
from brainrecon.evaluation.views.pictures import Pictures
from stages.ground.errors import InputError
from weights import store

__all__ = ["Brain", "Condition", "Scores", "evaluate"]


@dataclass(frozen=True)
class Condition:
    """The pictures of one condition.

    Attributes
    ----------
    stimulus_ids : sequence of str, length n_pictures
        The stimulus each picture is for, in any order. A stimulus that occurs several times has several
        samples: each is scored, and the scores are averaged (never the pictures).
    images : uint8 array of shape (n_pictures, height, width, 3)
        Or anything with `len` that gives such an array for an array of rows.
    captions : sequence of str, length n_pictures, optional
        What was read from the same responses in words, for protocols that score captions.
    """

    stimulus_ids: Sequence[str]
    images: np.ndarray
    captions: Sequence[str] | None = None


@dataclass(frozen=True)
class Brain:
    """What brain correlation needs: the measured patterns, and a model that predicts patterns from pictures.

    Attributes
    ----------
    patterns : float32 array of shape (n_stimuli, n_voxels)
        Measured test patterns of the shown pictures in their order, standardised as the model's predictions are.
    models : mapping of str to object with ``predict(features) -> (n, n_voxels)``
        By name of the network whose features it reads; fitted on training stimuli.
    ceiling : float64 array of shape (n_stimuli,), optional
        The highest correlation that a perfect prediction can expect with each pattern, NaN where repeats do not tell.
    regions : mapping of str to bool array of shape (n_voxels,)
        Voxels over which it is computed once more.
    """

    patterns: np.ndarray
    models: dict
    ceiling: np.ndarray | None = None
    regions: dict = field(default_factory=dict)


def evaluate(
    shown,
    conditions,
    *,
    stimulus_ids,
    categories=None,
    captions=None,
    protocol="brainrecon-1",
    reference="reconstruction",
    embeddings=None,
    brain=None,
    data=None,
    seed=0,
    n_resamples=intervals.N_RESAMPLES,
    networks=None,
    device="cpu",
    progress=None,
):
    """Score every condition against the shown pictures.

    Conditions may cover fewer stimuli than were shown. Two-way identification within a condition is computed
    among that condition's own stimuli; the paired difference to the reference condition uses the stimuli both
    have, with identification recomputed among those on both sides. Nothing given is changed.

    Parameters
    ----------
    shown : uint8 array of shape (n_stimuli, height, width, 3)
        The pictures that were seen; or anything with `len` that gives such an array for an array of rows.
    conditions : mapping of str to (Condition, or uint8 array of shape (n_stimuli, height, width, 3))
        By name ("reconstruction", "stage_one", "shuffled_responses", ...); pictures may have any size. An array has a picture
        for each of `stimulus_ids`, in their order.
    stimulus_ids : sequence of str, length n_stimuli
        The stimulus of each shown picture, each once.
    categories : sequence of sequence of str, length n_stimuli, optional
        The categories of each shown picture. Metrics that compare within a category are left out without them; a
        stimulus that shares its categories with no other has no score there.
    captions : sequence of sequence of str, length n_stimuli, optional
        The captions of each shown picture, for protocols that score captions.
    protocol : str or Protocol
        How to score.
    reference : str
        The condition that others are subtracted from.
    embeddings : pair of mappings, optional
        (true, predicted) values of each target, arrays or feature tables of shape (n_stimuli, n_targets), rows in the
        order of `stimulus_ids`.
    brain : Brain, optional
        Metrics of brain correlation are left out without it.
    data : dict, optional
        What was tested, in plain values; goes into the scores as it is. `data["dataset"]` is compared with the
        protocol's test set.
    seed, n_resamples : int
        Of the bootstrap over stimuli.
    networks : mapping of str to Network, optional
        The protocol's networks by name; those not given are loaded from their checkpoints.
    device : str
        Torch device of the networks that are loaded.
    progress : callable, optional
        `progress(label, done, total)`.

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
    stimulus_ids = [str(one) for one in stimulus_ids]
    conditions = {
        name: Condition(stimulus_ids, drawn) if isinstance(drawn, np.ndarray) else drawn
        for name, drawn in conditions.items()
    }
    _check(shown, stimulus_ids, conditions, reference, {"categories": categories, "captions": captions})
    networks, checkpoints = _assemble(protocol, networks or {}, brain, device)
    positions = {one: row for row, one in enumerate(stimulus_ids)}
    kin = None if categories is None else share_a_category(categories)
    compared = {
        name: Comparison(
            Pictures(condition.images, protocol),
            np.array([positions[str(one)] for one in condition.stimulus_ids]),
            kin,
            condition.captions,
        )
        for name, condition in conditions.items()
    }
    evoked = _look(protocol, networks, Pictures(shown, protocol), compared, brain, captions, progress)

    options = {"n_resamples": n_resamples, "seed": seed}
    results, summary, differences = {}, [], []
    for name, condition in compared.items():
        values = {}
        for spec in protocol.metrics.values():
            found = condition.per_stimulus(spec, condition.rows)
            if found is not None:
                values[spec.name] = found
                summary.append(SummaryRow(name, spec.name, *condition.estimate(spec, condition.rows, options)))
        ids = tuple(stimulus_ids[row] for row in condition.rows)
        results[name] = ConditionScores(ids, tuple(condition.n_samples), values)
    for name, condition in compared.items():
        common = np.intersect1d(condition.rows, compared[reference].rows)
        if name == reference or not len(common):
            continue
        for spec in protocol.metrics.values():
            estimate = compared[reference].difference(condition, spec, common, options)
            if estimate is not None:
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
        data=dict(data or {}),
        embeddings=score_embeddings(protocol.embeddings, *embeddings, stimulus_ids, **options) if embeddings else None,
        regions=_regions(protocol, brain, compared, options),
        ceilings=_ceilings(protocol, brain, evoked, compared[reference].rows, options),
        notes=_about_the_test_set(protocol, len(compared[reference].rows), data or {}),
    )


def share_a_category(categories):
    """Which pairs of stimuli share at least one category: bool (n_stimuli, n_stimuli)."""
    names = sorted({name for own in categories for name in own})
    member = np.array([[name in own for name in names] for own in categories], dtype=int)
    return member @ member.T > 0


def _look(protocol, networks, shown, compared, brain, captions, progress):
    """Let every comparison see what it is to compare, network by network: the features of one at a time are in memory.

    Returns what the shown pictures themselves score in brain correlation, dict of metric to array (n_shown,).
    """
    evoked = {}
    used = {spec.features for spec in protocol.metrics.values() if spec.metric.takes != "captions"}
    sources = [name for name in ("pixels", *protocol.networks) if name in used and name in ("pixels", *networks)]
    done, total = 0, len(sources) * (len(compared) + 1)
    for source in sources:
        metrics = [
            spec
            for spec in protocol.metrics.values()
            if spec.features == source and (spec.metric.takes != "brain" or (brain and source in brain.models))
        ]
        network = (protocol.networks[source], networks[source]) if source != "pixels" else None
        truth = None
        for comparison in (None, *compared.values()):
            if comparison is None:
                truth = Comparison.truth(shown, metrics, network)
                for spec in (one for one in metrics if one.metric.takes == "brain"):
                    predicted = brain.models[source].predict(truth["features"])
                    evoked[spec.name] = spec.metric.function(brain.patterns, predicted)
            else:
                comparison.look(metrics, shown, truth, network, brain)
            done += 1
            if progress is not None:
                progress("scoring", done, total)
    for comparison in compared.values():
        comparison.read(captions)
    return evoked


def _assemble(protocol, given, brain, device):
    """The networks that the protocol's metrics use, and the fingerprints of those that were loaded."""
    used = {
        spec.features
        for spec in protocol.metrics.values()
        if spec.metric.takes != "captions" and (spec.metric.takes != "brain" or brain is not None)
    } - {"pixels"}
    networks, checkpoints = {}, {}
    for name in sorted(used):
        spec = protocol.networks[name]
        if name in given:
            networks[name] = given[name]
        else:
            networks[name] = load_network(spec, device)
            checkpoints[spec.checkpoint] = store.fingerprint(spec.checkpoint)
    return networks, checkpoints


def _of_brains(protocol, brain):
    """The protocol's metrics of brain correlation that can be computed."""
    models = brain.models if brain else ()
    return [spec for spec in protocol.metrics.values() if spec.metric.takes == "brain" and spec.features in models]


def _regions(protocol, brain, compared, options):
    return {
        region: [
            SummaryRow(name, spec.name, *comparison.by_region(spec, region, options))
            for spec in _of_brains(protocol, brain)
            for name, comparison in compared.items()
        ]
        for region in (brain.regions if brain else ())
    }


def _ceilings(protocol, brain, evoked, rows, options):
    """What limits brain correlation: the encoding model, seen from the shown pictures, and the noise, seen from repeats."""
    found = {"shown_pictures": {}, "noise_ceiling": {}}
    for spec in _of_brains(protocol, brain):
        limits = {"shown_pictures": evoked[spec.name], "noise_ceiling": brain.ceiling}
        for kind, values in limits.items():
            values = np.empty(0) if values is None else values[rows][np.isfinite(values[rows])]
            if len(values):
                found[kind][spec.name] = SummaryRow(kind, spec.name, *intervals.bootstrap_mean(values, **options))
    return {kind: limits for kind, limits in found.items() if limits}


def _about_the_test_set(protocol, n_stimuli, data):
    """What tells these scores from published ones of the protocol, tuple of sentences."""
    wanted = protocol.test_set
    if wanted is None:
        return ()
    dataset = data.get("dataset", wanted.dataset)
    if (n_stimuli, dataset) == (wanted.n_stimuli, wanted.dataset) and not data.get("simulated"):
        return ()
    what = f"{'simulated ' if data.get('simulated') else ''}{dataset}"
    return (
        f"{protocol.name} was published on {wanted.n_stimuli:,} stimuli of {wanted.dataset}; these are {n_stimuli:,} of "
        f"{what}: no published score compares.",
    )


def _check(shown, stimulus_ids, conditions, reference, per_stimulus):
    if len(stimulus_ids) != len(shown) or len(set(stimulus_ids)) != len(stimulus_ids):
        raise InputError(
            f"There are {len(shown)} shown pictures and {len(set(stimulus_ids))} different stimulus ids "
            f"({len(stimulus_ids)} given); expected one id for each picture, each once. Check the test set."
        )
    for name, values in per_stimulus.items():
        if values is not None and len(values) != len(shown):
            raise InputError(f"There are {len(shown)} shown pictures but {len(values)} {name}; give one list for each.")
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
