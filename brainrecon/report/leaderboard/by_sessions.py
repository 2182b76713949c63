"""Scores by the number of sessions that rows of a method learned from, after other subjects, together with them, and alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from brainrecon.datasets.dataset import dataset_of, kinds
from brainrecon.evaluation.metrics.metric import METRICS, Metric
from brainrecon.report.leaderboard.comparison import (
    AcrossSubjects,
    embedding_difference,
    is_better,
    method_difference,
    metric_phrase,
    range_text,
    retrieval_difference,
)
from brainrecon.report.leaderboard.regions import chance_of_board
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
from brainrecon.report.names import NOTHING, difference_text
from brainrecon.report.run.verdict import SHUFFLED
from brainrecon.studies.plan import region_folder
from brainrecon.studies.row_data import way_of

# In the data of scores: the checkpoint of what a method's authors learned from others.
_RELEASED = "pretrained"
ALONE = "alone"
# How a row of a plan learns from others, and how it reads.
WAYS = {"pretrained": "others first", "together": "others together", "": ALONE}


@dataclass(frozen=True, eq=False)
class Line:
    """Rows of one method with the same settings and others, fewest sessions first.

    Attributes
    ----------
    name : str
        Of the method, as its rows have it in common.
    group : int
        Which method it is, from 0: lines of one group differ in `way` alone.
    way : str
        One of `WAYS`.
    entries : dict of int to brainrecon.report.leaderboard.boards.Entry
        By the number of sessions.
    """

    name: str
    group: int
    way: str
    entries: dict

    @property
    def label(self):
        """Name and way."""
        return f"{self.name}, {self.way}"


@dataclass(frozen=True, eq=False)
class Panel:
    """A score that is drawn by sessions.

    Attributes
    ----------
    name : str
        Of the metric.
    label : str
        As a sentence begins.
    metric : Metric
    unit : str
    chance : float or None
    of : {"outputs", "retrieval", "embeddings"}
        What is scored: what is drawn, or predicted values.
    """

    name: str
    label: str
    metric: Metric
    unit: str
    chance: float | None
    of: str = "outputs"

    def mean(self, entry) -> AcrossSubjects | None:
        """The score of a row."""
        if self.of != "outputs":
            return next((row["mean"] for row in getattr(entry, self.of) if row["metric"] == self.name), None)
        return entry.means[entry.reference].get(self.name)

    def shuffled(self, entry) -> AcrossSubjects | None:
        """The same of the shuffled responses; None of predicted values."""
        return None if self.of != "outputs" else entry.means.get(SHUFFLED, {}).get(self.name)

    def difference(self, ours, theirs) -> AcrossSubjects:
        """One row minus another, paired by stimulus."""
        one, other = ({cell.subject: cell.scores for cell in entry.cells} for entry in (ours, theirs))
        return _DIFFERENCES[self.of](one, other, self.name)


_DIFFERENCES = {"outputs": method_difference, "retrieval": retrieval_difference, "embeddings": embedding_difference}


def lines_of(block, rows: Mapping[str, Any]):
    """The lines of a region: of every method of whose rows two or more differ in sessions.

    Parameters
    ----------
    block : brainrecon.report.leaderboard.boards.Block
    rows : mapping of str to mapping
        The methods of the benchmark's plan.

    Returns
    -------
    lines : list of Line
        Those of a method one after the other, in the order of the plan.
    """
    there, groups = {entry.method: entry for entry in block.entries}, {}
    for label, values in rows.items():
        if isinstance(values, Mapping) and isinstance(values.get("sessions"), int):
            key = json.dumps([values.get(name) for name in ("method", "settings", "roi")], sort_keys=True, default=str)
            groups.setdefault(key, []).append(label)
    groups = [labels for labels in groups.values() if len({rows[label]["sessions"] for label in labels}) > 1]
    names, lines = _names(groups, rows), []
    for number, labels in enumerate(groups):
        for others, way in WAYS.items():
            own = {rows[one]["sessions"]: there[one] for one in labels if way_of(rows[one]) == others and one in there}
            lines += [Line(names[number], number, way, dict(sorted(own.items())))] if own else []
    return lines if len({count for line in lines for count in line.entries}) > 1 else []


def _names(groups, rows):
    """What rows of each group have in common before the first comma; their method, or the first row, if that is not enough."""
    names = []
    for labels in groups:
        heads = {label.partition(", ")[0] for label in labels}
        names.append(heads.pop() if len(heads) == 1 else rows[labels[0]]["method"])
    return [name if names.count(name) == 1 else labels[0] for name, labels in zip(names, groups)]


def panels_of(board, lines):
    """What is drawn: the metric that orders methods, and the first retrieval of the protocol that some line was scored in.

    A protocol without pools of its own may search the test set by predicted embeddings.

    Parameters
    ----------
    board : brainrecon.report.leaderboard.boards.Board
    lines : list of Line

    Returns
    -------
    panels : list of Panel
    """
    panels, entries = [], [entry for line in lines for entry in line.entries.values()]
    if board.headline in board.metrics:
        spec = board.metrics[board.headline]
        label = metric_phrase(spec)
        panels.append(
            Panel(
                board.headline,
                label[:1].upper() + label[1:],
                spec.metric,
                unit_of(spec, "points"),
                chance_of_board(board),
            )
        )
    share, found = METRICS["n_way_identification"], {row["metric"]: row for entry in entries for row in entry.retrieval}
    if name := next((name for name in board.protocol.retrieval if name in found), None):
        label = board.protocol.retrieval[name].among(*found[name]["n_candidates"]).label
        low, high = found[name]["chance"]
        return [*panels, Panel(name, label, share, "points", low if low == high else None, "retrieval")]
    found = {row["metric"]: row for entry in entries for row in entry.embeddings}
    searched = (spec for name, spec in board.protocol.embeddings.items() if name in found)
    if spec := next((spec for spec in searched if spec.measure == "image_retrieval" and spec.n_way > 2), None):
        low, high = found[spec.name]["mean"].n_stimuli
        chance = spec.top_k / min(spec.n_way, low) if low == high else None
        panels.append(Panel(spec.name, spec.among(low, high).label, share, "points", chance, "embeddings"))
    return panels


@dataclass(frozen=True, eq=False)
class BySessions:
    """What the pages show of a region by sessions: text, lines, panels, and the table of differences.

    Attributes
    ----------
    text : str
    axis : str
        What the numbers of sessions are.
    lines : list of Line
    panels : list of Panel
    table : brainrecon.report.leaderboard.text.Table or None
    name : str
        Of the file of the figure.
    """

    text: str
    axis: str
    lines: list
    panels: list
    table: Table | None
    name: str


def by_sessions(block, board, plan):
    """What there is to show of a region by sessions; None if no method has rows that differ in them.

    Parameters
    ----------
    block : brainrecon.report.leaderboard.boards.Block
    board : brainrecon.report.leaderboard.boards.Board
    plan : mapping of str to object
        The benchmark's.

    Returns
    -------
    view : BySessions or None
    """
    rows = plan.get("methods")
    lines = lines_of(block, rows) if isinstance(rows, Mapping) else []
    panels = panels_of(board, lines)
    if not (lines and panels):
        return None
    entries = [entry for line in lines for entry in line.entries.values()]
    told = about_intervals(entries, board.confidence)
    told += " Each row learned from the first sessions of the tested subject, as many as it says"
    if others := _others(lines):
        ways = dict.fromkeys(line.way for line in lines if line.way != ALONE)
        how = " or ".join("after" if way == WAYS["pretrained"] else "together with" for way in ways)
        told += f": {how} all sessions of others ({others}), or alone"
    kind = str(plan.get("data", "")).partition(":")[0]
    return BySessions(
        f"{told}.",
        _axis(kind, board.simulated),
        lines,
        panels,
        sessions_table(lines, panels),
        f"sessions-{board.protocol.name}-{region_folder(block.roi)}.svg",
    )


def learned_from(entry):
    """What a row learned from other than all of the tested subject's training sessions: list of str.

    Parameters
    ----------
    entry : brainrecon.report.leaderboard.boards.Entry
    """
    told, data = [], [cell.scores.data for cell in entry.cells]
    if counts := [count for one in data if isinstance(count := one.get("training sessions"), int)]:
        told.append(f"{range_text(counts)} training session{'s' if max(counts) > 1 else ''}")
    for name, how in (("others_first", "after"), ("others_together", "together with")):
        if counts := [one[name].count(",") + 1 for one in data if isinstance(one.get(name), str)]:
            told.append(f"{how} {range_text(counts)} other subject{'s' if max(counts) > 1 else ''}")
    return told + [
        f"after others, {name}" for name in dict.fromkeys(one[_RELEASED] for one in data if _RELEASED in one)
    ]


def _others(lines):
    """Who the others were, if it is the same for all tested subjects; otherwise how many they were."""
    data = [cell.scores.data for line in lines if line.way != ALONE for e in line.entries.values() for cell in e.cells]
    named = {str(one.get("others_first", one.get("others_together", one.get(_RELEASED, "")))) for one in data}
    if len(named) == 1:
        return named.pop()
    counts = [name.count(",") + 1 for name in named]
    return f"{range_text(counts)} of each tested one" if named else ""


def _axis(kind, simulated):
    """What stands under the axis; a simulated session is no hour of scanning."""
    hours = 0 if simulated or kind not in kinds() else dataset_of(kind).description.hours_of_session
    each = f", {hours:g} hour{'s' if hours != 1 else ''} each" if hours else ""
    return f"Sessions of the tested subject{each}"


def sessions_table(lines, panels):
    """Each row with others minus the row alone of as many sessions; None if there is no such pair.

    Parameters
    ----------
    lines : list of Line
    panels : list of Panel

    Returns
    -------
    table : brainrecon.report.leaderboard.text.Table or None
    """
    alone = {line.group: line.entries for line in lines if line.way == ALONE}
    rows = []
    for line in (one for one in lines if one.way != ALONE):
        for count in (one for one in line.entries if one in alone.get(line.group, ())):
            pair = line.entries[count], alone[line.group][count]
            cells = tuple(_difference(panel, panel.difference(*pair)) for panel in panels)
            rows.append(TableRow(f"{count} session{'s' if count > 1 else ''}", cells, line.label))
    if not rows:
        return None
    return Table(
        "By sessions: with other subjects minus alone",
        "After as many sessions of the tested subject, paired by stimulus within a subject, then over subjects. ▲ better with "
        f"others, ▼ worse, ○ not told apart: {TOLD_APART}.",
        (("Sessions", "", ""), *((panel.label, panel.unit, "") for panel in panels)),
        tuple(rows),
        kind="differences",
    )


def _difference(panel, difference):
    if difference.mean is None:
        return TableCell(NOTHING, difference.reason)
    better = is_better(difference, panel.metric)
    value = f"{MARKS[better]} {difference_text(difference.mean, panel.metric)}"
    return TableCell(value, difference.interval_text(panel.metric), VERDICTS[better])
