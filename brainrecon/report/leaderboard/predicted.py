"""Scores of predicted embeddings and of the corpus of captions, over the subjects of one method."""

import numpy as np

from brainrecon.evaluation.scores.response_scores import PREDICTED
from brainrecon.evaluation.statistics import intervals
from brainrecon.report.leaderboard.comparison import AcrossSubjects, retrieval_difference


def embedding_rows(scores):
    """A row per score of the predicted embeddings, means over the subjects that have it.

    Parameters
    ----------
    scores : sequence of Scores
        One per subject.

    Returns
    -------
    rows : list of dict
        target, metric, mean (AcrossSubjects), null_mean, null_low, null_high, rank, true_rank (None if not known).
    """
    having = [one.embeddings for one in scores if one.embeddings is not None]
    rows = []
    for metric in dict.fromkeys(row.metric for one in having for row in one.rows):
        found = [(one, row) for one in having for row in one.rows if row.metric == metric]
        target = found[0][1].target
        ranks = [rank for one, _ in found for rank in one.ranks if rank.target == target]
        rows.append(
            {
                "target": target,
                "metric": metric,
                "mean": _mean(found),
                "null_mean": float(np.mean([row.null_mean for _, row in found])),
                "null_low": min(row.null_low for _, row in found),
                "null_high": max(row.null_high for _, row in found),
                "rank": float(np.mean([rank.predicted for rank in ranks])) if ranks else None,
                "true_rank": float(np.mean([rank.true for rank in ranks])) if ranks else None,
            }
        )
    return rows


def retrieval_rows(scores):
    """A row per retrieval, means over the subjects that have it.

    Parameters
    ----------
    scores : sequence of Scores
        One per subject.

    Returns
    -------
    rows : list of dict
        metric, mean (AcrossSubjects), mean_over_pools, chance as (lowest, highest) of a subject, and n_candidates of each.
    """
    having = [one.retrieval for one in scores if one.retrieval is not None]
    rows = []
    for metric in dict.fromkeys(row.metric for one in having for row in one.rows):
        found = [(one, row) for one in having for row in one.rows if row.metric == metric]
        chance = [row.chance for _, row in found]
        rows.append(
            {
                "metric": metric,
                "mean": _mean(found),
                "mean_over_pools": float(np.mean([row.mean_over_pools for _, row in found])),
                "chance": (min(chance), max(chance)),
                "n_candidates": tuple(row.n_candidates for _, row in found),
            }
        )
    return rows


def response_rows(scores):
    """A row per measure and condition of predicted responses, means over the subjects that have it.

    Parameters
    ----------
    scores : sequence of Scores
        One per subject.

    Returns
    -------
    rows : list of dict
        measure, condition, mean (AcrossSubjects), ceiling and share (means over subjects, None if not known), and above
        (AcrossSubjects, None of the predicted responses): these minus the condition, within each subject.
    """
    having = [one.responses for one in scores if one.responses is not None]
    rows = []
    for measure, condition in dict.fromkeys((row.measure, row.condition) for one in having for row in one.rows):
        found = [(one, row) for one in having if (row := one.row(measure, condition)) is not None]
        shares = [(row.ceiling, row.share) for _, row in found if row.share is not None]
        ceiling, share = map(float, np.mean(shares, axis=0)) if shares else (None, None)
        mean = _over_subjects(
            [(row, one.values[condition][measure]) for one, row in found], ("mean", "ci_low", "ci_high")
        )
        paired = [
            (row, one.values[PREDICTED][measure] - one.values[condition][measure])
            for one, row in found
            if row.above is not None
        ]
        above = _over_subjects(paired, ("above", "above_low", "above_high")) if paired else None
        rows.append(
            {
                "measure": measure,
                "condition": condition,
                "mean": mean,
                "ceiling": ceiling,
                "share": share,
                "above": above,
            }
        )
    return rows


def _over_subjects(found, fields):
    """Mean over subjects of pairs (row, values by stimulus); the row's own `fields` where there is one subject."""
    counts = [row.n for row, _ in found]
    if len(found) == 1:
        return AcrossSubjects(1, (counts[0], counts[0]), *(getattr(found[0][0], name) for name in fields))
    estimate = intervals.mean_over_subjects([own for _, own in found], bounds=(-1.0, 1.0))
    return AcrossSubjects(len(found), (min(counts), max(counts)), estimate.mean, estimate.ci_low, estimate.ci_high)


def retrieval_leads(scores):
    """The best method of each retrieval, and by how much it is ahead of each of the others.

    Parameters
    ----------
    scores : mapping of str to (mapping of str to Scores)
        By method and subject.

    Returns
    -------
    leads : dict of str to (str, dict of str to AcrossSubjects)
        By retrieval: the method with the highest mean, and the best minus each other method that was scored in it, paired by
        stimulus. Retrievals of a single method are left out.
    """
    means = {
        method: {row["metric"]: row["mean"].mean for row in retrieval_rows(list(own.values()))}
        for method, own in scores.items()
    }
    leads = {}
    for metric in dict.fromkeys(name for own in means.values() for name in own):
        having = {method: own[metric] for method, own in means.items() if metric in own}
        if len(having) < 2:
            continue
        best = max(having, key=lambda method: having[method])
        others = [method for method in having if method != best]
        leads[metric] = best, {one: retrieval_difference(scores[best], scores[one], metric) for one in others}
    return leads


def corpus_means(scores):
    """Scores of all captions together by condition and metric, means over the subjects that have them, dict of dict."""
    found = {}
    for one in scores:
        for condition, values in one.corpus.items():
            for metric, value in values.items():
                if value is not None:
                    found.setdefault(condition, {}).setdefault(metric, []).append(value)
    return {name: {metric: float(np.mean(own)) for metric, own in values.items()} for name, values in found.items()}


def _mean(found):
    """Mean over subjects of pairs (scores, row), with the interval of one subject or of several."""
    (_, row), counts = found[0], [row.n for _, row in found]
    if len(found) == 1:
        return AcrossSubjects(1, (row.n, row.n), row.mean, row.ci_low, row.ci_high)
    values = [one.values[row.metric] for one, row in found]
    estimate = intervals.mean_over_subjects([own[np.isfinite(own)] for own in values], bounds=(0.0, 1.0))
    return AcrossSubjects(len(found), (min(counts), max(counts)), estimate.mean, estimate.ci_low, estimate.ci_high)
