"""What the tables of a benchmark are made of, for any kind of page."""

from dataclasses import dataclass

# Whether the first of two is better; None if the interval leaves that open.
MARKS = {True: "▲", False: "▼", None: "○"}
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
