"""Words on the screen: results on standard output, remarks on standard error.

On a terminal tables are drawn; piped, everything is plain lines that are never wrapped, so that ``grep`` and
``cut`` work.
"""

import sys
from collections.abc import Iterable, Sequence


def say(text: str = "") -> None:
    """Print a result on standard output, as it is."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print a remark on standard error, as it is."""
    print(text, file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on standard output.

    Parameters
    ----------
    columns : sequence of str
        The heads.
    rows : iterable of sequences, each as long as `columns`
        The cells; anything `str` can turn into one line of text.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells)
        return
    widths = [max(len(line[column]) for line in [columns, *cells]) for column in range(len(columns))]
    for line in [columns, *cells]:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _draw(columns: Sequence[str], cells: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
