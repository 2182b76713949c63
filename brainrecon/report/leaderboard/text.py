"""What the tables of a benchmark are made of, for any kind of page."""

from dataclasses import dataclass

from brainrecon.evaluation.statistics.intervals import SUBJECTS_TO_RESAMPLE

# Whether the first of two is better; None if the interval leaves that open.
MARKS = {True: "▲", False: "▼", None: "○"}
TOLD_APART = "the interval of the paired difference excludes zero, over subjects or within every one of them"
VERDICTS = {True: "better", False: "worse", None: "open"}


@dataclass(frozen=True)
class TableCell:
    """A number, what stands under it, and how it reads: "", "best", "better", "worse" or "open"."""

    value: str
    under: str = ""
    kind: str = ""


@dataclass(frozen=True)
class TableRow:
    """A row: its heading with small print and links, and its cells; `kind` is "method" or ""."""

    label: str
    cells: tuple
    small: str = ""
    links: tuple = ()
    kind: str = ""
    explanation: str = ""


@dataclass(frozen=True)
class Table:
    """A table: heading, text above, columns (label, unit, description), rows, lines below; `kind` is for the page's style."""

    heading: str
    text: str
    columns: tuple
    rows: tuple
    below: tuple = ()
    kind: str = "plain"


def unit_of(spec, unit):
    """The unit of a metric, and an arrow if lower is better: what stands behind its name."""
    return " ".join([unit] * spec.metric.percent + ["↓"] * (not spec.metric.higher_is_better))


def about_intervals(entries, confidence):
    """What the intervals of some entries are over, and how often they hold what they should: few subjects give less.

    Parameters
    ----------
    entries : sequence of brainrecon.report.leaderboard.boards.Entry
    confidence : float
        Nominal coverage, 0 to 1.

    Returns
    -------
    text : str
    """
    counts, asked = sorted({len(entry.cells) for entry in entries}), f"{100 * confidence:g} %"
    over_stimuli = f"{asked} intervals over stimuli"
    if counts == [1]:
        return f"Means over stimuli with their {over_stimuli}."
    text = f"Means over subjects with intervals over subjects{f' (with one subject: {over_stimuli})' if 1 in counts else ''}."
    if few := [n for n in counts if 1 < n < SUBJECTS_TO_RESAMPLE]:
        text += f" With {' or '.join(map(str, few))} subjects they are Student's t, wide as so few deserve."
    return text
