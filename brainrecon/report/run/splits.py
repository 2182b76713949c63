"""The splits of a run side by side: scores of each, what its decoder predicted, and pictures of those beside the run's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from brainrecon.report import predicted_rows, tables

# Rows of the grid of a split beside: of the best, of the median and of the worst; and of those whatever their score.
N_EACH, N_UNSELECTED = 3, 3


@dataclass(frozen=True)
class SplitBeside:
    """A split that was tested beside a run's own.

    Attributes
    ----------
    name : str
    content : brainrecon.report.run.html.ReportContent
        Its pictures and scores; of `without_scores` if it has none.
    why_not : str
        Why it has no scores, a sentence.
    link : str
        Path of its own report, relative to the folder that this one lies in; empty if there is none.
    """

    name: str
    content: Any
    why_not: str = ""
    link: str = ""


def without_scores(scores):
    """Scores of the same protocol and reference in which nothing was scored."""
    nothing: dict = dict(conditions={}, summary=(), differences=(), corpus={}, ceilings={}, regions={}, notes=())
    return replace(scores, embeddings=None, retrieval=None, features=None, categories=None, responses=None, **nothing)


def scored_anywhere(splits):
    """Metrics that some split has: list of MetricSpec in the protocol's order.

    Parameters
    ----------
    splits : sequence of SplitBeside
        The run's own first.
    """
    named = {spec.name: spec for split in splits for spec in tables.scored_metrics(split.content.scores)}
    return [spec for name, spec in splits[0].content.scores.metrics.items() if name in named]


def split_groups(splits, specs):
    """The rows of each split, list of dict with `split`, `n` and `rows` as `brainrecon.report.tables.mean_rows` has them."""
    return [
        {
            "split": split,
            "n": f"{len(split.content.stimulus_ids):,}",
            "rows": tables.mean_rows(split.content.scores, specs) if specs else [],
        }
        for split in splits
    ]


def predicted_table(splits):
    """Scores of predicted embeddings, retrieval and categories, a column for each split: list of (label, value, cells).

    A cell has `mean`, `interval`, `chance` and `verdict`, or is None.
    """
    cells: dict = {}
    for place, split in enumerate(splits):
        scores = split.content.scores
        for what, cell in predicted_rows.by_metric(scores).items():
            cells.setdefault(what, [None] * len(splits))[place] = cell
    labels = predicted_rows.labels_of_several([split.content.scores for split in splits])
    return [(labels[metric], target, own) for (metric, target), own in cells.items()]
