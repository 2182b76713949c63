"""Rows of a report's tables of predicted values: embeddings, retrieval, and the corpus of captions."""

from brainrecon.report.names import NOTHING, condition_explanation, condition_label, score_text

_DIRECTIONS = {
    "brain_to_picture": "A prediction is given, and its picture is searched among pictures.",
    "picture_to_brain": "A picture is given, and its prediction is searched among predictions.",
}


def embedding_rows(scores):
    """A row per score of the predicted embeddings, list of dict; empty if none were scored."""
    if scores.embeddings is None:
        return []
    return [_embedding_row(row, scores.protocol.embeddings.get(row.metric)) for row in scores.embeddings.rows]


def rank_rows(scores):
    """A row per target with the effective rank of its predictions, list of dict; empty if none were measured."""
    if scores.embeddings is None:
        return []
    return [
        {
            "target": row.target,
            "n": f"{row.n:,}",
            "predicted": f"{row.predicted:.1f}",
            "true": f"{row.true:.1f}",
            "share": f"{100 * row.predicted / row.true:.0f} %" if row.true > 0 else NOTHING,
        }
        for row in scores.embeddings.ranks
    ]


def retrieval_rows(scores):
    """A row per retrieval, list of dict; empty if none was scored."""
    if scores.retrieval is None:
        return []
    return [_retrieval_row(row, scores.protocol.retrieval.get(row.metric)) for row in scores.retrieval.rows]


def by_metric(scores):
    """Cells of what is scored of predictions, by the name of the metric and of the value, dict of (str, str) to dict.

    Those of `embedding_rows` and `retrieval_rows`, and of categories that were identified by some value.
    """
    rows = [*_found(scores, "embeddings"), *_found(scores, "retrieval")]
    cells = {
        (one.metric, one.target): row for one, row in zip(rows, (*embedding_rows(scores), *retrieval_rows(scores)))
    }
    return cells | {(row.metric, row.value): _category_cell(row) for row in _found(scores, "categories")}


def labels_of_several(scores):
    """Labels of what is scored of predictions in some scores of one protocol, with how many candidates there were in each.

    Parameters
    ----------
    scores : sequence of brainrecon.evaluation.scores.scores.Scores

    Returns
    -------
    dict of str to str
        By metric.
    """
    found: dict = {}
    for one in scores:
        for row in (*_found(one, "embeddings"), *_found(one, "retrieval")):
            found.setdefault(row.metric, []).append(getattr(row, "n_candidates", row.n))
    protocol = scores[0].protocol
    specs = protocol.embeddings | protocol.retrieval
    labels = {name: specs[name].among(*counts).label if name in specs else name for name, counts in found.items()}
    return labels | {name: spec.label for name, spec in protocol.categories.items()}


def _found(scores, kind):
    return () if getattr(scores, kind) is None else getattr(scores, kind).rows


def retrieval_explanation(spec):
    """What a retrieval gives and what it searches, in a sentence or two."""
    return f"{spec.description} {_DIRECTIONS[spec.direction]}".strip()


def corpus_rows(scores):
    """A row per condition with the scores of all its captions together, list of dict; empty if there are none."""
    specs = scores.protocol.captions
    return [
        {
            "label": condition_label(name),
            "explanation": condition_explanation(name),
            "is_reference": name == scores.reference,
            "cells": [score_text(values.get(spec.name), spec.metric, unit=False) for spec in specs.values()],
        }
        for name, values in scores.corpus.items()
    ]


def percent_text(value):
    """A share as a percentage, a dash for None."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def _embedding_row(row, spec):
    """Retrieval is read as a percentage; its chance is the share of candidates that count as found."""
    mean, low, high, null, null_low, null_high = (
        percent_text(value) for value in (row.mean, row.ci_low, row.ci_high, row.null_mean, row.null_low, row.null_high)
    )
    spec = spec and spec.among(row.n)
    return {
        "label": spec.label if spec else row.metric,
        "description": spec.description if spec else "",
        "target": row.target,
        "n": f"{row.n:,}",
        "mean": mean,
        "interval": "no interval" if row.ci_low is None else f"{low} to {high}",
        "null": null,
        "null_range": f"{null_low} to {null_high}",
        "n_permutations": f"{row.n_permutations:,}",
        # Among fewer stimuli than candidates all of them are taken.
        "chance": f"{100 * spec.top_k / min(spec.n_way, row.n):.3g}" if spec else NOTHING,
        "verdict": "better" if row.mean > row.null_high else "worse" if row.mean < row.null_low else "open",
    }


def _category_cell(row):
    """How often a category was told by a value, and whether that is above one half and above shuffled responses."""
    low, high = row.ci_low, row.ci_high
    return {
        "n": f"{row.n:,}",
        "mean": percent_text(row.mean),
        "interval": "no interval" if low is None else f"{percent_text(low)} to {percent_text(high)}",
        "chance": f"{100 * row.chance:.3g}",
        "verdict": "better" if row.is_above else "worse" if high is not None and high < row.chance else "open",
    }


def _retrieval_row(row, spec):
    """A retrieval, its candidates, and whether its interval lies above chance."""
    low, high = row.ci_low, row.ci_high
    above, below = low is not None and low > row.chance, high is not None and high < row.chance
    pools = f"{row.n_candidates:,} in each of {row.repeats:,} pools" if row.repeats > 1 else f"{row.n_candidates:,}"
    spec = spec and spec.among(row.n_candidates)
    return {
        "label": spec.label if spec else row.metric,
        "description": retrieval_explanation(spec) if spec else "",
        "target": row.target,
        "n": f"{row.n:,}",
        "candidates": pools,
        "top_k": f"{row.top_k:,}",
        "mean": percent_text(row.mean),
        "interval": "no interval" if low is None else f"{percent_text(low)} to {percent_text(high)}",
        "over_pools": percent_text(row.mean_over_pools),
        "chance": f"{100 * row.chance:.3g}",
        "verdict": "better" if above else "worse" if below else "open",
    }
