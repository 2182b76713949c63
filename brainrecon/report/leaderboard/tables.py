"""The tables of a benchmark as text: what a cell, a row and the lines around them say, for any kind of page."""

from urllib.parse import quote

from brainrecon.assembly.condition import MEAN_PICTURE
from brainrecon.report.leaderboard.boards import STANDARD
from brainrecon.report.leaderboard.by_sessions import by_sessions, learned_from
from brainrecon.report.leaderboard.comparison import fewer, is_better, metric_phrase, range_text
from brainrecon.report.leaderboard.predicted_tables import predicted_tables
from brainrecon.report.leaderboard.published_table import published_table
from brainrecon.report.leaderboard.regions import region_table
from brainrecon.report.leaderboard.study import study_tables
from brainrecon.report.leaderboard.text import (
    MARKS,
    TOLD_APART,
    VERDICTS,
    Table,
    TableCell,
    TableRow,
    about_intervals,
    unit_of,
)
from brainrecon.report.names import (
    CEILINGS,
    NOTHING,
    ceiling_explanation,
    condition_explanation,
    condition_label,
    difference_text,
    interval_text,
    score_text,
)

_MISSING_IN_VIEW = 8
_ONE_SUBJECT = " With one subject the interval is over stimuli; for identification it is a little narrow."


def notes_of(leaderboard):
    """What a reader has to know of the whole."""
    notes, missing = [], leaderboard.missing
    if missing:
        more = f" and {len(missing) - _MISSING_IN_VIEW} more" if len(missing) > _MISSING_IN_VIEW else ""
        notes.append(f"Not finished. Still without scores: {', '.join(missing[:_MISSING_IN_VIEW])}{more}.")
    if len({(b.protocol.name, b.dataset, b.simulated, b.split) for b in leaderboard.boards}) < len(leaderboard.boards):
        notes.append(
            "Scores of one protocol were given by different judges or under different versions of it. They do not compare "
            "and stand in tables of their own; the digests say which belong together."
        )
    return notes


def board_title(board):
    """By which protocol and on which data: "mindeye-2023 on nsd"."""
    data = board.dataset or "data of unknown origin"
    if board.simulated and not data.startswith("simulated"):
        data = f"simulated {data}"
    return f"{board.protocol.name} on {data}" + ("" if board.split == STANDARD else f", {board.split}")


def board_view(board, preset=None, plan=None):
    """Everything the pages say of a board, as text; with a preset, beside what its study published; by the rows of a plan."""
    counts = [count for block in board.blocks for entry in block.entries for count in entry.n_stimuli]
    judges = ", ".join(f"{name} {digest[:12]}" for name, digest in sorted(board.checkpoints.items()))
    return {
        "title": board_title(board),
        "simulated": board.simulated,
        "notes": board.notes,
        "provenance": f"Protocol {board.protocol.name}, sha256 {board.protocol.sha256[:16]}; with its judges "
        f"{board.identity[:16]}{f' ({judges})' if judges else ''}. Test stimuli per subject: {range_text(counts)}.",
        "regions": region_table(board),
        "blocks": [_block(block, board, preset, plan or {}) for block in board.blocks],
        "tables": [published_table(board)] if board.published else [],
    }


def _block(block, board, preset, plan):
    tables, sessions = [], by_sessions(block, board, plan)
    # Methods that draw nothing have predicted embeddings alone.
    if board.metrics:
        tables += [_scores(block, board)]
        tables += study_tables(block, board, preset) if preset else []
        tables += [_subjects(block, board)] if any(len(entry.cells) > 1 for entry in block.entries) else []
        tables += [_controls(block, board)]
        tables += [_behind(block, board)] if len(block.entries) > 1 else []
    tables += predicted_tables(block, board)
    # No line ends between a number and its percent sign.
    sentences = [
        (entry.method, entry.sentence.removeprefix(entry.method).replace(" %", "\N{NO-BREAK SPACE}%"))
        for entry in block.entries
    ]
    return {"title": block.roi, "sentences": sentences, "tables": tables, "sessions": sessions}


def _scores(block, board):
    rows, regions = [], {entry.method: _regions(entry) for entry in block.entries}
    differ = len(set(regions.values())) > 1
    for entry in block.entries:
        cells = []
        for name, spec in board.metrics.items():
            mean = entry.means[entry.reference].get(name)
            if mean is None:
                cells.append(TableCell(NOTHING))
                continue
            kind = "best" if block.outstanding.get(name) == entry.method else ""
            cells.append(
                TableCell(score_text(mean.mean, spec.metric, unit=False), interval_text(mean, spec.metric), kind)
            )
        links = _links(entry.cells[0]) if len(entry.cells) == 1 else ()
        n_subjects, stimuli = len(entry.cells), range_text(entry.n_stimuli)
        small = (
            f"{n_subjects} subject{'s' if n_subjects > 1 else ''}, {stimuli} stimuli{' each' if n_subjects > 1 else ''}"
        )
        small += f", {regions[entry.method]}" if differ and regions[entry.method] else ""
        small += "".join(f", {text}" for text in learned_from(entry))
        origin = _origin(entry)
        rows.append(TableRow(entry.method, tuple(cells), f"{small}; {origin}" if origin else small, links, "method"))
    return Table(
        "Scores",
        f"{about_intervals(block.entries, board.confidence)} Best first in {metric_phrase(board.metrics[board.headline])}. "
        f"{_direction(board)} Bold: best, and told apart from the runner-up: {TOLD_APART}."
        + _about_floors(block, board)
        + (" Methods have different voxels here: nothing that is measured on the brain compares." if differ else ""),
        (("Method", "", ""), *_metric_columns(board, "%")),
        tuple(rows),
    )


def _about_floors(block, board):
    """What a score has to be above before it says something, for metrics in which that is known."""
    constant, mean = {}, {}
    for entry in block.entries:
        constant |= entry.ceilings.get("best_constant_picture", {})
        mean |= {name: one.mean for name, one in entry.means.get(MEAN_PICTURE, {}).items() if one is not None}
    texts = []
    for label, values, wanted in (
        ("The best constant picture scores", constant, board.metrics),
        ("Chance is the mean picture of the other folds:", mean if board.split != STANDARD else {}, [board.headline]),
    ):
        told = [
            f"{score_text(values[name], board.metrics[name].metric)} in {metric_phrase(board.metrics[name])}"
            for name in wanted
            if name in values
        ]
        texts += [f" {label} {', '.join(told)}."] if told else []
    return "".join(texts)


def _regions(entry):
    """The voxels that a method was given, as text; empty if it is not known."""
    return ", ".join(dict.fromkeys(str(cell.scores.data["roi"]) for cell in entry.cells if cell.scores.data.get("roi")))


def _subjects(block, board):
    rows = []
    for entry in block.entries:
        for cell in entry.cells:
            found = [cell.scores.mean(cell.scores.reference, name) for name in board.metrics]
            cells = [
                _mean_cell(row, spec, interval_text) for row, spec in zip(found, board.metrics.values(), strict=True)
            ]
            links = _links(cell)
            rows.append(TableRow(entry.method, tuple(cells), "" if links else cell.subject, links))
    return Table(
        "Every subject",
        f"Means over stimuli with their {100 * board.confidence:g} % intervals over stimuli.",
        (("Method and subject", "", ""), *_metric_columns(board, "%")),
        tuple(rows),
    )


def _controls(block, board):
    rows = []
    for entry in block.entries:
        own = entry.means[entry.reference]
        cells = [_mean_cell(own.get(name), spec, _bare) for name, spec in board.metrics.items()]
        rows.append(TableRow(entry.method, tuple(cells), _origin(entry), kind="method"))
        for condition, means in entry.means.items():
            if condition in (entry.reference, "binarised"):  # the method's own pictures once more: no control
                continue
            against = entry.differences.get(condition, {})
            cells = [_control_cell(means.get(name), against.get(name), spec) for name, spec in board.metrics.items()]
            some = next(iter(against.values()), None)
            small = "" if some is None else fewer(some, len(entry.cells), entry.n_stimuli)
            explanation = condition_explanation(condition)
            rows.append(TableRow(condition_label(condition), tuple(cells), small, explanation=explanation))
        if entry.heldout:
            cells = [_mean_cell(entry.heldout.get(name), spec, interval_text) for name, spec in board.metrics.items()]
            rows.append(TableRow("On the held-out split", tuple(cells)))
        for kind, found in entry.ceilings.items():
            cells = [
                TableCell(score_text(found.get(name), spec.metric, unit=False)) for name, spec in board.metrics.items()
            ]
            rows.append(TableRow(condition_label(kind), tuple(cells), explanation=ceiling_explanation(kind)))
    return Table(
        "Controls",
        "Each method, and under it what it has to be read against: the mean of the control and, below, the method minus "
        "the control, paired by stimulus, with the interval that says whether it is better. "
        "▲ the method is better, ▼ it is worse, ○ not told apart: "
        f"{TOLD_APART}. The held-out split has "
        "stimuli of its own, so no pairs; its interval stands below."
        + "".join(
            f" {condition_label(kind)}: {CEILINGS.get(kind, '')}."
            for kind in dict.fromkeys(kind for entry in block.entries for kind in entry.ceilings)
        ),
        (("Method and control", "", ""), *_metric_columns(board, "%")),
        tuple(rows),
        kind="methods",
    )


def _behind(block, board):
    best = block.entries[0].method
    one_subject = any(row.n_subjects == 1 for entry in block.entries for row in entry.behind.values())
    rows = []
    for entry in block.entries[1:]:
        cells = []
        for name, spec in board.metrics.items():
            difference = entry.behind.get(name)
            if difference is None or difference.mean is None:
                cells.append(TableCell(NOTHING, "" if difference is None else difference.reason))
                continue
            better = is_better(difference, spec.metric)
            value = f"{MARKS[better]} {difference_text(difference.mean, spec.metric)}"
            cells.append(TableCell(value, difference.interval_text(spec.metric), VERDICTS[better]))
        some = next((row for row in entry.behind.values() if row.mean is not None), None)
        most = max(len(entry.cells), len(block.entries[0].cells))
        small = "" if some is None or some.n_subjects == most else f"{some.n_subjects} of {most} subjects"
        rows.append(TableRow(entry.method, tuple(cells), small))
    return Table(
        f"{best} minus each of the others",
        f"Paired by stimulus within a subject, then over the subjects that both have. ▲ {best} is better, ▼ it is worse, "
        f"○ not told apart: {TOLD_APART}. Where two methods have different stimuli, nothing that compares stimuli with one "
        f"another is subtracted.{_ONE_SUBJECT if one_subject else ''}",
        (("Compared with", "", ""), *_metric_columns(board, "points")),
        tuple(rows),
        kind="differences",
    )


def _mean_cell(mean, spec, under):
    if mean is None:
        return TableCell(NOTHING)
    return TableCell(score_text(mean.mean, spec.metric, unit=False), under(mean, spec.metric))


def _control_cell(mean, difference, spec):
    if mean is None or difference is None or difference.mean is None:
        return _mean_cell(mean, spec, _bare)
    better = is_better(difference, spec.metric)
    under = difference_text(difference.mean, spec.metric)
    if difference.ci_low is not None:
        under = f"{MARKS[better]} {under}, {difference.interval_text(spec.metric)}"
    return TableCell(score_text(mean.mean, spec.metric, unit=False), under, VERDICTS[better])


def _bare(mean, metric):
    return ""


def _metric_columns(board, unit):
    return [(spec.label, unit_of(spec, unit), spec.description) for spec in board.metrics.values()]


def _direction(board):
    lower = [spec.label for spec in board.metrics.values() if not spec.metric.higher_is_better]
    return f"Higher is better; lower where an arrow points down ({', '.join(lower)})." if lower else "Higher is better."


def _origin(entry):
    """The mark of pictures or captions from elsewhere, with the name they came under."""
    if not entry.external:
        return ""
    names = [cell.external.get("name") for cell in entry.cells if isinstance(cell.external, dict)]
    named = next((str(name) for name in names if name), "")
    other = f": {named}" if named and named != entry.method else ""
    what = "captions" if any("captions" in (cell.external or {}) for cell in entry.cells) else "pictures"
    return f"{what} from elsewhere{other}"


def _links(cell):
    """((subject, address of its report),), or nothing if a cell has no page of its own."""
    return ((cell.subject, quote(cell.links["report.html"])),) if "report.html" in cell.links else ()
