"""Rows of tables of predicted responses, for the screen, a report and a leaderboard."""

from brainrecon.evaluation.scores.response_scores import IDENTIFICATION, LABELS, MEASURES, PREDICTED, VOXELS
from brainrecon.report.names import MINUS, NOTHING


def response_rows(scores):
    """A row for each measure and condition, list of dict; empty if no responses were predicted.

    Parameters
    ----------
    scores : brainrecon.evaluation.scores.scores.Scores

    Returns
    -------
    rows : list of dict
        ``measure``, ``label``, ``condition``, ``explanation``, ``n``, ``n_voxels``, ``mean``, ``interval``, ``ceiling``,
        ``share``, ``above`` and ``above_interval`` as texts, empty if there is none, and ``verdict``: whether the predicted
        responses are "better" or "worse" than this condition, or that is "open"; empty for themselves.
    """
    return [] if scores.responses is None else [_row(row) for row in scores.responses.rows]


def measures_there(scores):
    """(name, label, explanation) of each measure that was taken, list of tuple."""
    there = {row.measure for row in scores.responses.rows} if scores.responses is not None else set()
    return [(name, *MEASURES[name]) for name in MEASURES if name in there]


def response_text(value, measure, signed=False):
    """A correlation with three digits, or a rate in percent with one; a dash for None."""
    if value is None:
        return NOTHING
    text = f"{100 * value:.1f}" if measure == IDENTIFICATION else f"{value:.3f}"
    return ("+" * (signed and value >= 0) + text).replace("-", MINUS)


def interval_of(low, high, measure):
    """'0.1 to 0.2', or that there is none."""
    return "no interval" if low is None else f"{response_text(low, measure)} to {response_text(high, measure)}"


def label_of(measure):
    """A measure's label with its unit."""
    return f"{MEASURES[measure][0]} (%)" if measure == IDENTIFICATION else MEASURES[measure][0]


def _row(row):
    label, explanation = LABELS[row.condition]
    verdict = "open"
    if row.above_low is not None and (row.above_low > 0 or row.above_high < 0):
        verdict = "better" if row.above_low > 0 else "worse"
    there = row.above is not None
    return {
        "measure": row.measure,
        "label": label_of(row.measure),
        "condition": label,
        "explanation": explanation,
        "is_reference": row.condition == PREDICTED,
        "n": f"{row.n:,}",
        # Patterns are compared over all voxels.
        "n_voxels": f"{row.n_voxels - row.n_constant * (row.measure == VOXELS):,}",
        "mean": response_text(row.mean, row.measure),
        "interval": interval_of(row.ci_low, row.ci_high, row.measure),
        "ceiling": "" if row.ceiling is None else response_text(row.ceiling, row.measure),
        "share": "" if row.share is None else f"{100 * row.share:.0f} %",
        "above": response_text(row.above, row.measure, signed=True) if there else "",
        "above_interval": interval_of(row.above_low, row.above_high, row.measure) if there else "",
        "verdict": verdict if there else "",
    }
