"""A published comparison run again: its values beside own ones, what it claims, and what its methods learnt."""

import numpy as np

from brainrecon.report.leaderboard.comparison import is_better, method_difference
from brainrecon.report.leaderboard.text import MARKS, VERDICTS, Table, TableCell, TableRow
from brainrecon.report.names import MINUS, NOTHING, difference_text, interval_text, score_text

_SIMULATED = " Responses here are simulated: directions may be compared with the study's, numbers may not."


def study_tables(block, board, preset):
    """The tables of a study in one region of a board.

    Parameters
    ----------
    block : brainrecon.report.leaderboard.boards.Block
    board : brainrecon.report.leaderboard.boards.Board
    preset : brainrecon.studies.preset.Preset

    Returns
    -------
    tables : list of Table
        Empty if the board's protocol is not the one that the study's values belong to.
    """
    if board.protocol.name not in (*preset.plan.get("protocols", ()), *preset.same_scores):
        return []
    entries = {entry.method: entry for entry in block.entries}
    tables = [
        _rows(entries, board, preset),
        _claims(entries, board, preset),
        _training(entries, board, preset),
        _weights(entries, preset),
    ]
    return [table for table in tables if table is not None and table.rows]


def _rows(entries, board, preset):
    """Each row of the study: the published value, and its own with the interval."""
    names = dict.fromkeys(metric for values in preset.published.values() for metric in values)
    specs = [board.metrics[name] for name in names if name in board.metrics]
    if not specs:
        return None
    rows = []
    for method in preset.methods:
        if method not in entries:
            continue
        cells, means = [], entries[method].means[entries[method].reference]
        for spec in specs:
            cells.append(
                TableCell(score_text(preset.published.get(method, {}).get(spec.name), spec.metric, unit=False))
            )
            mean = means.get(spec.name)
            under = "" if mean is None else interval_text(mean, spec.metric)
            cells.append(TableCell(score_text(None if mean is None else mean.mean, spec.metric, unit=False), under))
        rows.append(TableRow(method, tuple(cells)))
    unit = ["%" if spec.metric.percent else "" for spec in specs]
    columns = [(f"{spec.label}, {where}", u, "") for spec, u in zip(specs, unit) for where in ("published", "here")]
    return Table(
        f"The rows of {preset.name}",
        f"{preset.description} Published: {preset.source}. {NOTHING}: no figure was printed."
        + (_SIMULATED if board.simulated else ""),
        (("Row", "", ""), *columns),
        tuple(rows),
    )


def _claims(entries, board, preset):
    """The paired difference behind each claim, in every metric that the study printed and in the headline."""
    names = dict.fromkeys((board.headline, *(metric for values in preset.published.values() for metric in values)))
    specs = [board.metrics[name] for name in names if name in board.metrics]
    rows = []
    for comparison in preset.comparisons:
        for one, other in comparison.pairs:
            if one not in entries or other not in entries:
                continue
            scores = [{cell.subject: cell.scores for cell in entries[name].cells} for name in (one, other)]
            cells = []
            for spec in specs:
                difference = method_difference(*scores, spec.name)
                if difference.mean is None:
                    cells.append(TableCell(NOTHING, difference.reason))
                    continue
                better = is_better(difference, spec.metric)
                value = f"{MARKS[better]} {difference_text(difference.mean, spec.metric)}"
                cells.append(TableCell(value, difference.interval_text(spec.metric), VERDICTS[better]))
            rows.append(TableRow(f"{one} minus {other}", tuple(cells), comparison.claim))
    unit = ["points" if spec.metric.percent else "" for spec in specs]
    return Table(
        f"What {preset.name} claims",
        "The difference behind each claim, paired by stimulus. ▲ the first is better, ▼ it is worse, ○ not told apart.",
        (("Difference", "", ""), *((spec.label, u, "") for spec, u in zip(specs, unit))),
        tuple(rows),
        kind="differences",
    )


def _training(entries, board, preset):
    """How alike pictures of training stimuli are, mean over subjects, beside what the study printed."""
    rows, names = [], dict.fromkeys(metric for values in preset.published_training.values() for metric in values)
    specs = [board.metrics[name] for name in names if name in board.metrics]
    for method in preset.methods:
        learnt = [cell.learnt for cell in entries[method].cells if cell.learnt] if method in entries else []
        parts = dict.fromkeys(row["pictures"] for rows_of in learnt for row in rows_of if "pictures" in row)
        for part in parts:
            alike = [row for rows_of in learnt for row in rows_of if row.get("pictures") == part]
            published = preset.published_training.get(method, {}) if part == "training" else {}
            cells = []
            for spec in specs:
                cells.append(TableCell(score_text(published.get(spec.name), spec.metric, unit=False)))
                own = [row[spec.name] for row in alike if spec.name in row]
                cells.append(TableCell(score_text(float(np.mean(own)) if own else None, spec.metric, unit=False)))
            rows.append(TableRow(f"{method}, {part} pictures", tuple(cells)))
    columns = [(f"{spec.label}, {where}", "", "") for spec in specs for where in ("published", "here")]
    return Table(
        "Pictures that were there in training",
        "Drawn from averaged training patterns and compared at their own size. Validation pictures were kept away from the "
        "weights, and told training when to stop.",
        (("Row", "", ""), *columns),
        tuple(rows),
    )


def _weights(entries, preset):
    """What each row learnt, mean over subjects, and what the study found."""
    rows, width = [], 0
    for method in preset.methods:
        learnt = [cell.learnt for cell in entries[method].cells if cell.learnt] if method in entries else []
        if not learnt or "weight" not in learnt[0][0]:
            continue
        names = [next(iter(row.values())) for row in learnt[0]]
        own = np.mean([[row["weight"] for row in rows_of] for rows_of in learnt], axis=0)
        published = preset.published_weights.get(method, {})
        cells = []
        for name, value in zip(names, own):
            beside = f"{name}; published {published[name]:.2f}" if name in published else name
            cells.append(TableCell(f"{value:.2f}".replace("-", MINUS), beside))
        width = max(width, len(cells))
        rows.append((method, cells))
    return Table(
        "Weights of the sizes of elements",
        "How much the decoded contrasts of each size, averaged over the elements that cover a cell, count for the picture; of "
        "coefficients that every element has for itself, the mean. Where weights were trained, on held-out training patterns.",
        (("Row", "", ""), *((f"size {place + 1}", "", "") for place in range(width))),
        tuple(TableRow(name, tuple(cells + [TableCell("")] * (width - len(cells)))) for name, cells in rows),
    )
