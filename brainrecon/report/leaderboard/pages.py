"""The table of a benchmark as Markdown, CSV and one HTML page. The same scores give the same bytes."""

import csv
import io
import re

from markupsafe import Markup

from brainrecon.report.leaderboard.by_sessions import by_sessions
from brainrecon.report.leaderboard.region_figure import region_figure
from brainrecon.report.leaderboard.sessions_figure import sessions_file, sessions_svg
from brainrecon.report.leaderboard.tables import board_view, notes_of
from brainrecon.report.templates import template
from brainrecon.studies.plan import region_folder
from stages.ground.table_cells import text_cell
from stages.ground.visible_text import visible

COLUMNS = (
    "protocol",
    "identity",
    "method",
    "subject",
    "roi",
    "split",
    "condition",
    "metric",
    "n",
    "mean",
    "ci_low",
    "ci_high",
    "dataset",
)


def as_csv(leaderboard):
    """Every mean in long form: a row per board, region, method, subject (or "all"), split, condition and metric.

    `n` counts stimuli in the rows of a subject and subjects in those of "all". Conditions besides those that were drawn:
    "predicted_embeddings", "predicted_embeddings_shuffled" (its null, with the central 95 % of permutations), "retrieval",
    "retrieval_over_pools" (the mean over pools, without an interval), and the kinds of ceilings, "shown_pictures" and
    "noise_ceiling". Scores of all captions together have "_corpus" behind the metric, those of predicted responses
    "responses_" before it.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for board in leaderboard.boards:
        for block in board.blocks:
            for entry in block.entries:
                for where, row in _long_rows(entry, board):
                    subject, split, condition, metric = where
                    n, *numbers = row
                    cells = ["" if number is None else repr(float(number)) for number in numbers]
                    place = (
                        board.protocol.name,
                        board.identity,
                        entry.method,
                        subject,
                        block.roi,
                        split,
                        condition,
                        metric,
                    )
                    writer.writerow([*map(text_cell, place), n, *cells, text_cell(board.dataset)])
    return text.getvalue()


def _long_rows(entry, board):
    """((subject, split, condition, metric), (n, mean, low, high)) of everything an entry holds."""
    for cell in entry.cells:
        heldout = cell.heldout if entry.heldout else None
        for split, scores in ((board.split, cell.scores), ("heldout", heldout)):
            if scores is None or scores.identity != board.identity:
                continue
            for row in scores.summary:
                yield (cell.subject, split, row.condition, row.metric), (row.n, row.mean, row.ci_low, row.ci_high)
            for row in (row for rows in scores.ceilings.values() for row in rows.values()):
                yield (cell.subject, split, row.condition, row.metric), (row.n, row.mean, row.ci_low, row.ci_high)
            for row in scores.embeddings.rows if scores.embeddings else ():
                null = (row.n, row.null_mean, row.null_low, row.null_high)
                yield (
                    (cell.subject, split, "predicted_embeddings", row.metric),
                    (row.n, row.mean, row.ci_low, row.ci_high),
                )
                yield (cell.subject, split, "predicted_embeddings_shuffled", row.metric), null
            yield from _predicted_rows(cell.subject, split, scores)
    for condition, means in entry.means.items():
        for metric, mean in means.items():
            yield ("all", board.split, condition, metric), (mean.n_subjects, mean.mean, mean.ci_low, mean.ci_high)
    for metric, mean in entry.heldout.items():
        yield ("all", "heldout", entry.reference, metric), (mean.n_subjects, mean.mean, mean.ci_low, mean.ci_high)
    for row in entry.embeddings:
        mean = row["mean"]
        key = ("all", board.split, "predicted_embeddings", row["metric"])
        yield key, (mean.n_subjects, mean.mean, mean.ci_low, mean.ci_high)
    for row in entry.retrieval:
        mean = row["mean"]
        key = ("all", board.split, "retrieval", row["metric"])
        yield key, (mean.n_subjects, mean.mean, mean.ci_low, mean.ci_high)
    for row in entry.responses:
        mean = row["mean"]
        key = ("all", board.split, row["condition"], f"responses_{row['measure']}")
        yield key, (mean.n_subjects, mean.mean, mean.ci_low, mean.ci_high)
    for condition, values in entry.corpus.items():
        for metric, value in values.items():
            yield ("all", board.split, condition, f"{metric}_corpus"), (len(entry.cells), value, None, None)


def _predicted_rows(subject, split, scores):
    """Rows of one subject's retrieval, of its predicted responses, and of the corpus of its captions."""
    for row in scores.retrieval.rows if scores.retrieval else ():
        yield (subject, split, "retrieval", row.metric), (row.n, row.mean, row.ci_low, row.ci_high)
        yield (subject, split, "retrieval_over_pools", row.metric), (row.n, row.mean_over_pools, None, None)
    for row in scores.responses.rows if scores.responses else ():
        yield (subject, split, row.condition, f"responses_{row.measure}"), (row.n, row.mean, row.ci_low, row.ci_high)
    for condition, values in scores.corpus.items():
        n = len(scores.conditions[condition].stimulus_ids)
        for metric, value in values.items():
            yield (subject, split, condition, f"{metric}_corpus"), (n, value, None, None)


def as_markdown(leaderboard):
    """All tables as Markdown."""
    lines = ["# Leaderboard", ""]
    for text in notes_of(leaderboard):
        lines += [_escaped(text), ""]
    for board in leaderboard.boards:
        view = board_view(board, leaderboard.preset, leaderboard.plan)
        lines += [f"## {_escaped(view['title'])}", ""]
        if board.simulated:
            lines += ["**SIMULATED RESPONSES.** No brain was measured for these scores.", ""]
        lines += [_escaped(view["provenance"]), ""]
        lines += [line for note in board.notes for line in (f"> {_escaped(note)}", "")]
        if view["regions"]:
            lines += _markdown_table(view["regions"])
        for block in view["blocks"]:
            lines += [f"### {_escaped(block['title'])}", ""]
            lines += [f"- **{_escaped(method)}**{_escaped(rest)}" for method, rest in block["sentences"]] + [""]
            by_sessions_first = [block["sessions"].table] if block["sessions"] and block["sessions"].table else []
            for table in by_sessions_first + block["tables"]:
                lines += _markdown_table(table)
        for table in view["tables"]:
            lines += _markdown_table(table)
    return "\n".join(lines).rstrip() + "\n"


def _markdown_table(table):
    units = [f" ({unit})" if unit else "" for _, unit, _ in table.columns]
    head = [_escaped(label) + unit for (label, _, _), unit in zip(table.columns, units, strict=True)]
    lines = [f"**{_escaped(table.heading)}.** {_escaped(table.text)}", ""]
    lines += [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in table.rows:
        links = [f"[{_escaped(text)}]({address})" for text, address in row.links]
        small = ", ".join([_escaped(row.small)] * bool(row.small) + links)
        label = _escaped(row.label) + (f" ({small})" if small else "")
        cells = [_markdown_cell(cell) for cell in row.cells]
        lines.append(f"| {' | '.join([label, *cells])} |")
    return [*lines, "", *[line for text in table.below for line in (_escaped(text), "")]]


def _markdown_cell(cell):
    value = _escaped(cell.value)
    value = f"**{value}**" if cell.kind == "best" else value
    return f"{value} ({_escaped(cell.under)})" if cell.under else value


def _escaped(text):
    """Text that Markdown and the HTML inside it leave alone."""
    text = visible(re.sub(r"\s+", " ", text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|#~])", r"\\\1", text)


def as_html(leaderboard, alone=False):
    """All tables as one page that needs no other file, no script and no network; all text in it is escaped.

    Parameters
    ----------
    leaderboard : Leaderboard
    alone : bool
        Only the tables of scores, for a notebook.
    """
    boards = []
    for number, board in enumerate(leaderboard.boards):
        view = board_view(board, leaderboard.preset, leaderboard.plan)
        view["figure"] = "" if alone else Markup(region_figure(board))  # noqa: S704
        for place, block in enumerate(view["blocks"]):
            # One figure for each score: on a phone they stand one below the other.
            block["figures"] = [] if alone else [Markup(svg) for svg in _by_sessions(block, f"{number}-{place}")]  # noqa: S704
        boards.append(view)
    return template(__file__, "leaderboard.html.jinja").render(alone=alone, notes=notes_of(leaderboard), boards=boards)


def _by_sessions(block, salt):
    """The figures of a region by sessions, one for each score, as SVG."""
    view = block["sessions"]
    return [sessions_svg(view.lines, [one], view.axis, f"{salt}-{one.name}") for one in (view.panels if view else ())]


def session_figures(leaderboard):
    """The files of figures by sessions: dict of name to SVG, all scores of a region beside one another."""
    found = {}
    for board in leaderboard.boards:
        for block in board.blocks:
            if view := by_sessions(block, board, leaderboard.plan):
                # Boards of one protocol, by other judges or of other stimuli.
                name = view.name if view.name not in found else f"{board.identity[:8]}-{board.split}-{view.name}"
                found[region_folder(name)] = sessions_file(view.lines, view.panels, view.axis, name)
    return found
