"""Predicted responses in a leaderboard: a sentence and a table."""

from brainrecon.evaluation.scores.response_scores import LABELS, MEASURES, PREDICTED, SHUFFLED_STIMULI
from brainrecon.report.leaderboard.text import MARKS, TOLD_APART, VERDICTS, Table, TableCell, TableRow
from brainrecon.report.names import in_sentence
from brainrecon.report.response_rows import interval_of, label_of, response_text


def response_sentence(method, rows):
    """What a method's predicted responses score above those for other stimuli; empty if it predicts none.

    Parameters
    ----------
    method : str
    rows : list of dict
        As `brainrecon.report.leaderboard.predicted.response_rows` gives them.

    Returns
    -------
    text : str
    """
    if not rows:
        return ""
    measure, mean = rows[0]["measure"], rows[0]["mean"]
    label = in_sentence(label_of(measure))
    own = f"{response_text(mean.mean, measure)} ({interval_of(mean.ci_low, mean.ci_high, measure)})"
    share = "" if rows[0]["share"] is None else f", {100 * rows[0]['share']:.0f} % of its noise ceiling"
    above = next(row["above"] for row in rows if (row["measure"], row["condition"]) == (measure, SHUFFLED_STIMULI))
    told = {True: "above", False: "below", None: "not told apart from"}[_better(above)]
    difference = response_text(above.mean, measure, signed=True)
    return f"{method}: {own} in {label} of predicted responses{share}; {told} shuffled stimuli ({difference})."


def response_table(block):
    """The table of one region, every method beside its controls.

    Parameters
    ----------
    block : brainrecon.report.leaderboard.boards.Block

    Returns
    -------
    Table
    """
    rows, measures = [], list(MEASURES)
    for entry in block.entries:
        found = {(row["measure"], row["condition"]): row for row in entry.responses}
        for condition in dict.fromkeys(name for _, name in found):
            cells = tuple(_cell(found.get((measure, condition))) for measure in measures)
            label, explanation = LABELS[condition]
            is_method = condition == PREDICTED
            rows.append(
                TableRow(
                    entry.method if is_method else label,
                    cells,
                    kind="method" if is_method else "",
                    explanation="" if is_method else explanation,
                )
            )
    return Table(
        "Predicted responses",
        "Of methods that go from pictures to responses. Below each method its controls, and under their scores by how much the "
        f"method is above them: ▲ it is better, ▼ worse, ○ not told apart: {TOLD_APART}. A share is that of the noise ceiling.",
        (("Method and control", "", ""), *((label_of(one), "", MEASURES[one][1]) for one in measures)),
        tuple(rows),
        kind="methods",
    )


def _cell(row):
    if row is None:
        return TableCell("\N{EN DASH}")
    measure, mean, above = row["measure"], row["mean"], row["above"]
    value = response_text(mean.mean, measure)
    if above is None:
        share = (
            "" if row["share"] is None else f"; {100 * row['share']:.0f} % of {response_text(row['ceiling'], measure)}"
        )
        return TableCell(value, f"{interval_of(mean.ci_low, mean.ci_high, measure)}{share}")
    better = _better(above)
    difference = response_text(above.mean, measure, signed=True)
    under = f"{MARKS[better]} {difference}, {interval_of(above.ci_low, above.ci_high, measure)}"
    return TableCell(value, under, VERDICTS[better])


def _better(above):
    """Whether the predicted responses are better; None if the interval leaves it open."""
    if above.ci_low is None or above.ci_low <= 0 <= above.ci_high:
        return None
    return above.mean > 0
