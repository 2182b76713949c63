"""Decoded features in a report: regions by layers, and whether early layers belong to early regions."""

import numpy as np

from brainrecon.evaluation.statistics.bootstrap import Estimate
from brainrecon.evaluation.statistics.interaction import bootstrap_interaction
from brainrecon.evaluation.statistics.intervals import bootstrap_difference
from brainrecon.evaluation.tasks.features import IDENTIFICATION, PATTERN, PROFILE
from brainrecon.report.names import MINUS, NOTHING

LABELS = {
    PROFILE: "Profile correlation",
    PATTERN: "Pattern correlation",
    IDENTIFICATION: "Two-way identification",
}
EXPLANATIONS = {
    PROFILE: "Correlation of each unit over stimuli between decoded and true values, averaged over units.",
    PATTERN: "Correlation of each stimulus over units, z-scored by the training stimuli, averaged over stimuli.",
    IDENTIFICATION: "How often a decoded pattern correlates more with its own stimulus's true pattern than with another's; "
    "chance is one half, ties fail.",
}

# Of the page's blue at the highest score, in percent: ink is read on it, on light and on dark pages.
_DARKEST = 45


def feature_matrices(scores):
    """A table of targets by regions for each measure, list of dict; empty if nothing is known by regions.

    Correlations are there if a target was decoded from two regions or more, identification of categories wherever it was scored.

    Parameters
    ----------
    scores : brainrecon.evaluation.scores.scores.Scores

    Returns
    -------
    matrices : list of dict
        ``measure``, ``label``, ``explanation``, ``regions`` (headings), ``rows`` (name of the target and its cells), ``means``
        (array of shape (n_targets, n_regions), NaN if there is no score), ``low`` and ``high``.
    """
    found = []
    if scores.features is not None:
        regions, targets = scores.features.regions_and_targets()
        for measure, label in LABELS.items():
            rows = [row for row in scores.features.rows if row.measure == measure and row.target in targets]
            found.append(_matrix(measure, label, EXPLANATIONS[measure], rows, regions, targets))
    if scores.categories is not None:
        for name, spec in scores.protocol.categories.items():
            rows = [row for row in scores.categories.rows if row.metric == name]
            regions, targets = (list(dict.fromkeys(getattr(row, key) for row in rows)) for key in ("roi", "target"))
            found.append(_matrix(name, spec.label, _about_categories(spec, rows), rows, regions, targets))
    return [one for one in found if one is not None]


def _about_categories(spec, rows):
    counts = {f"{row.n_candidates:,}" for row in rows}
    return f"{spec.description} {' or '.join(sorted(counts))} categories; chance is one half.".strip()


def _matrix(measure, label, explanation, rows, regions, targets):
    """One table, of rows that have a target and a region; None without any score."""
    known = {(row.target, row.roi): row for row in rows}
    placed = [[known.get((target, roi)) for roi in regions] for target in targets]
    means = np.array([[np.nan if row is None else row.mean for row in own] for own in placed], dtype=float)
    if not np.isfinite(means).any():
        return None
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    return {
        "measure": measure,
        "label": label,
        "explanation": explanation,
        "regions": regions,
        "targets": targets,
        "rows": [
            {"target": target, "cells": [_cell(row, own, low, high) for row in own]}
            for target, own in zip(targets, placed)
        ],
        "means": means,
        "low": number(low),
        "high": number(high),
    }


def feature_rows(scores):
    """A row for each value of a target that was decoded once, with a cell for each measure, list of dict."""
    if scores.features is None:
        return []
    _, targets = scores.features.regions_and_targets()
    values = {}
    for row in scores.features.rows:
        if row.target not in targets:
            values.setdefault(row.value, {})[row.measure] = row
    return [
        {
            "value": value,
            "n_units": f"{next(iter(own.values())).n_units:,}",
            "cells": [None if measure not in own else _cell(own[measure], [], 0, 0) for measure in LABELS],
        }
        for value, own in values.items()
    ]


def about_units(scores):
    """A sentence on units that have no profile correlation; empty if all have one."""
    constant = {}
    for row in scores.features.rows if scores.features is not None else ():
        if row.measure == PROFILE and row.n_constant:
            constant.setdefault(row.target, []).append((row.n_constant, row.n_units))
    if not constant:
        return ""
    told = [f"{target} {max(own)[0]:,} of {max(own)[1]:,}" for target, own in constant.items()]
    return (
        "Units that do not vary over the stimuli, in truth or as they were decoded, have no profile correlation and are left out "
        f"of its mean: {', '.join(told)}{' at most' if any(len(set(own)) > 1 for own in constant.values()) else ''}."
    )


def interaction_sentences(scores):
    """Whether the first layer belongs to the first region and the last layer to the last one, in words, list of str.

    By profile correlation, paired by stimulus; regions and layers in the order of the chain, the last region being the last that
    shares no voxel with the first. Empty if there are not two of each.
    """
    corners = _corners(scores)
    if corners is None:
        return []
    (early, late), (first, last), values = corners
    options = {"confidence": scores.confidence, "n_resamples": scores.n_resamples, "seed": scores.seed}
    of_early = bootstrap_difference(values[early, first], values[early, last], **options)
    of_late = bootstrap_difference(values[late, last], values[late, first], **options)
    both = bootstrap_interaction(
        (values[early, first], values[late, first]), (values[early, last], values[late, last]), **options
    )
    verdict = {"better": "yes", "worse": "no, the other way round", "open": "not told apart"}[_verdict(both)]
    return [
        f"Does {early} belong to {first} and {late} to {last}? By the profile correlation, {verdict}: from {first} rather than "
        f"from {last}, {early} gains on {late} by {_with_interval(both, scores.confidence)}.",
        f"By itself, {early} is decoded better from {first} than from {last} by {_with_interval(of_early, scores.confidence)}, "
        f"and {late} better from {last} than from {first} by {_with_interval(of_late, scores.confidence)}.",
    ]


def number(value):
    """A correlation or a rate with three digits."""
    return NOTHING if value is None or not np.isfinite(value) else f"{value:.3f}".replace("-", MINUS)


def _cell(row, others, low, high):
    """A score with its interval and its ceiling, and how dark its cell is."""
    if row is None:
        return None
    best = max((one.mean for one in others if one is not None), default=row.mean)
    return {
        "value": number(row.mean),
        "interval": "no interval" if row.ci_low is None else f"{number(row.ci_low)} to {number(row.ci_high)}",
        "ceiling": "" if row.ceiling is None else f"ceiling {number(row.ceiling)}",
        "is_open": row.null_low <= row.mean <= row.null_high,
        "is_best": len(others) > 1 and row.mean == best,
        "shade": 0 if high <= low else round(_DARKEST * (row.mean - low) / (high - low)),
    }


def _corners(scores):
    """(first target, last target), (first region, last region) and their values; None if they are not all there."""
    if scores.features is None:
        return None
    _, targets = scores.features.regions_and_targets()
    if len(targets) < 2 or not scores.features.apart:
        return None
    sides, values = ((targets[0], targets[-1]), scores.features.apart), {}
    for target in sides[0]:
        for roi in sides[1]:
            row = scores.features.row(PROFILE, target, roi)
            if row is None:
                return None
            values[target, roi] = scores.features.values[PROFILE][row.value]
    return *sides, values


def _verdict(estimate: Estimate):
    if estimate.ci_low is None or estimate.ci_low <= 0 <= estimate.ci_high:
        return "open"
    return "better" if estimate.mean > 0 else "worse"


def _with_interval(estimate, confidence):
    if estimate.ci_low is None:
        return f"{number(estimate.mean)} (no interval)"
    interval = f"{number(estimate.ci_low)} to {number(estimate.ci_high)}"
    holds = ", which holds 0" if _verdict(estimate) == "open" else ""
    return f"{number(estimate.mean)} ({100 * confidence:g} % interval {interval}{holds})"
