"""Rows of a report's tables: scores, differences, regions, and what the decoder says of itself."""

import re

from brainrecon.report.names import (
    NOTHING,
    ceiling_explanation,
    condition_explanation,
    condition_label,
    difference_text,
    interval_text,
    score_text,
)
from brainrecon.report.predicted_rows import percent_text
from stages.ground.errors import InputError


def scored_metrics(scores):
    """The metrics that some condition has, or that have a ceiling: list of MetricSpec in the protocol's order."""
    found = {row.metric for row in scores.summary} | {metric for rows in scores.ceilings.values() for metric in rows}
    return [spec for name, spec in scores.metrics.items() if name in found]


def mean_rows(scores, specs=None):
    """A row per condition with its means, list of dict; a cell for each of `specs`, by default for what was scored."""
    return [
        {
            **_named(name),
            **_cells(scores, lambda metric, name=name: scores.mean(name, metric), _mean_cell, specs),
            "is_reference": name == scores.reference,
        }
        for name in scores.conditions
    ]


def ceiling_rows(scores):
    """What limits the scores as more rows of means, list of dict."""
    return [
        {
            "label": condition_label(kind),
            "explanation": ceiling_explanation(kind),
            "is_reference": False,
            **_cells(scores, rows.get, _mean_cell),
        }
        for kind, rows in scores.ceilings.items()
    ]


def difference_rows(scores):
    """A row per other condition: the reference minus it, list of dict."""
    return [
        {
            **_named(name),
            **_cells(scores, lambda metric, name=name: scores.difference(name, metric), _difference_cell),
            "is_reference": False,
        }
        for name in scores.conditions
        if name != scores.reference
    ]


def region_table(rows, scores):
    """Columns and rows of the table by region.

    Parameters
    ----------
    rows : sequence of mappings
        `roi` first, then plain values (a number of voxels) or, under the name of a metric or of a score of embeddings,
        a row with `mean`, `ci_low` and `ci_high`, or None.
    scores : brainrecon.evaluation.scores.scores.Scores
        Whose protocol names the metrics.

    Returns
    -------
    columns : list of (str, str)
        Headings and units.
    cells : list of (list of str or dict)
        A list per region: text, or a mean with its interval.

    Raises
    ------
    InputError
        If a row has no `roi`, or scores something that the protocol does not.
    """
    keys, specs = table_columns(rows), scores.metrics | scores.protocol.embeddings
    for row in rows:
        scored = [key for key, value in row.items() if hasattr(value, "mean")]
        if "roi" not in row or any(key not in specs for key in scored):
            raise InputError(
                f"A row of regions has {', '.join(map(repr, row))}; expected 'roi' and scores among "
                f"{', '.join(specs)}. Score the regions under {scores.protocol.name}."
            )
    cells = [[_region_cell(row.get(key), specs.get(key)) for key in keys] for row in rows]
    return [_region_heading(key, specs.get(key)) for key in keys], cells


def table_columns(rows):
    """Every key that occurs in some mappings, in the order of first occurrence."""
    return list(dict.fromkeys(key for row in rows for key in row))


# As the metrics' own labels have them.
_NAMES = {"pixcorr": "PixCorr", "ssim": "SSIM"}


def heading(key):
    """A key as the heading of a column: 'Number of targets' for n_targets."""
    if key in _NAMES:
        return _NAMES[key]
    text = re.sub("^n ", "number of ", str(key).replace("_", " "))
    return text[:1].upper() + text[1:]


def as_cell(value):
    """A plain value in a table: four digits of a number, thousands apart."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return plain(value) or NOTHING


def plain(value):
    """A setting as text: TOML's words for truth, nothing for None, commas between the parts of a list."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return str(value)


def _named(name):
    return {"label": condition_label(name), "explanation": condition_explanation(name)}


def _cells(scores, lookup, cell, specs=None):
    """The cells of a row, one for each of `specs` or of `scored_metrics`, and how many stimuli are behind them."""
    found = [(lookup(spec.name), spec.metric) for spec in (scored_metrics(scores) if specs is None else specs)]
    return {
        "n": f"{max((row.n for row, _ in found if row is not None), default=0):,}",
        "cells": [None if row is None else cell(row, metric) for row, metric in found],
    }


def _mean_cell(row, metric):
    return {"value": score_text(row.mean, metric, unit=False), "interval": interval_text(row, metric)}


def _difference_cell(row, metric):
    """A difference, and whether the reference is better, worse, or not told apart by the interval."""
    better = (row.mean > 0) == metric.higher_is_better
    return {
        "value": difference_text(row.mean, metric),
        "interval": interval_text(row, metric, signed=True),
        "verdict": ("better" if better else "worse") if row.excludes_zero else "open",
    }


def _region_heading(key, spec):
    """Heading and unit; a spec without a metric is one of embeddings, which are read as percentages."""
    if spec is None:
        return ("Region" if key == "roi" else heading(key)), ""
    percent = not hasattr(spec, "metric") or spec.metric.percent
    return spec.label, "%" if percent else ""


def _region_cell(value, spec):
    if not hasattr(value, "mean"):
        return as_cell(value)
    metric = getattr(spec, "metric", None)
    if metric is not None:
        return _mean_cell(value, metric)
    interval = (
        "no interval" if value.ci_low is None else f"{percent_text(value.ci_low)} to {percent_text(value.ci_high)}"
    )
    return {"value": percent_text(value.mean), "interval": interval}
