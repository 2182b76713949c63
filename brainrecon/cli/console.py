"""Words on the screen: results on standard output, remarks on standard error.

On a terminal tables fit its width; piped, everything is plain lines that are never wrapped, so that ``grep`` and ``cut``
work. A print never ends the work: what the stream's encoding lacks is written otherwise, and a stream that is gone is not
written to any more. What would steer a terminal (colours, jumps, text that runs backwards) is written as its code, for names
and notes come from data.
"""

import codecs
import io
import os
import shutil
import sys
import textwrap
import time
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import TextIO

from stages.ground.process_group import is_first
from stages.ground.visible_text import visible
from weights.remark import Remark

_GAP = "  "
# As few columns as a number with its interval and a word of a label take.
_NARROWEST = 40
# A launcher ends the others when the first has put everything away, which takes seconds on a machine that has much to do.
_SECONDS_FOR_THE_FIRST = 15.0
# Labels are broken to this length before columns are.
_SHORT_LABEL = 20
_PLAINER = {
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{UPWARDS ARROW}": "^",
    "\N{DOWNWARDS ARROW}": "v",
    "\N{BULLET}": "*",
}


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """What to write in place of characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAINER.get(one) or _without_marks(one) for one in lacking), error.end


def _without_marks(character: str) -> str:
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


codecs.register_error("plainer", _plainer)


def be_lenient() -> None:
    """Let standard output and error write what their encoding lacks otherwise: a minus sign as a hyphen, and so on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plainer")


def say(text: str = "") -> None:
    """Print a result on standard output, as it is."""
    write_line(text, sys.stdout)


def tell(sentence: str) -> None:
    """Print a sentence on standard output; on a terminal broken between words."""
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size().columns, _NARROWEST)
        sentence = textwrap.fill(sentence, width, break_long_words=False, break_on_hyphens=False)
    say(sentence)


def note(text: str) -> None:
    """Print a remark on standard error, as it is."""
    write_line(text, sys.stderr)


@contextmanager
def one_voice() -> Iterator[None]:
    """Within, let the first of the processes that were started together speak alone; `say_in_need` is heard of all."""
    if is_first():
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def say_in_need(text: str) -> None:
    """Print why a process other than the first fails, a moment later: if the first fails too, the launcher ends this one."""
    with suppress(KeyboardInterrupt):
        time.sleep(_SECONDS_FOR_THE_FIRST)
        write_line(f"Process {os.environ.get('RANK')}: {text}", sys.__stderr__)


@contextmanager
def plain_remarks() -> Iterator[None]:
    """Within, print each of the toolkit's own warnings as the sentence that it is; those of libraries as Python does.

    Neither steers a terminal, whatever names of files or of data are in it.
    """
    with warnings.catch_warnings():
        as_usual = warnings.showwarning

        def show(message, category, filename, lineno, file=None, line=None):
            text = one_line(str(message))
            if issubclass(category, Remark):
                note(text)
            else:
                plain = message if text == str(message) else UserWarning(text)
                as_usual(plain, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def one_line(text: str) -> str:
    r"""Text as `visible` gives it, in one line.

    >>> print(one_line("first\nsecond"))
    first\nsecond
    """
    return visible(text).replace("\n", r"\n").replace("\t", " ")


def write_line(text: str, stream: TextIO) -> None:
    """Write a line at once, as `visible` gives it; nothing if the stream is gone.

    Its reader may have ended, its terminal may be closed, its disk may be full.
    """
    try:
        print(visible(text), file=stream, flush=True)
    except OSError:
        # What is left in its buffer would be an error again at the end.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table of words on standard output; on a terminal long cells go on below.

    Parameters
    ----------
    columns : sequence of str
        The heads.
    rows : iterable of sequences, each as long as `columns`
        The cells; anything `str` can turn into one line of text.
    """
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells)
    else:
        _say_lines(columns, cells)


def numbers(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table of numbers on standard output, a label before each row.

    On a terminal no number is cut or broken: labels and heads are broken between words, and columns that do not fit beside
    the others follow below, with the labels again.

    Parameters
    ----------
    columns : sequence of str
        The heads, first that of the labels.
    rows : iterable of sequences, each as long as `columns`
        A label, and short cells.
    """
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        _say_lines(columns, cells)
        return
    for line in fitted(columns, cells, shutil.get_terminal_size().columns):
        say(line)


def fitted(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines of a table of numbers, none wider than `width` if that is 40 or more.

    >>> fitted(("score", "a", "b"), [("SSIM", "0.31", "0.27")], 80)
    ['score     a     b', 'SSIM   0.31  0.27']

    Parameters
    ----------
    columns, cells
        As for `numbers`, as text.
    width : int
        Of the terminal, in characters.

    Returns
    -------
    lines : list of str
        Blocks of them, an empty line between two.
    """
    width = max(width, _NARROWEST)
    least = max(_SHORT_LABEL, width * 2 // 5)
    widths = []
    for column in range(1, len(columns)):
        # A name without a blank may be longer than the line.
        word = min(max(map(len, columns[column].split()), default=0), width - least - len(_GAP))
        widths.append(max(word, *(len(row[column]) for row in cells), 1))
    names = max(len(text) for text in (columns[0], *(row[0] for row in cells)))
    beside = width - sum(len(_GAP) + one for one in widths)
    if names > beside:
        names = min(names, beside if beside >= _SHORT_LABEL else least)
    blocks: list[list[int]] = [[]]
    for column in range(1, len(columns)):
        taken = names + sum(len(_GAP) + widths[one - 1] for one in (*blocks[-1], column))
        if blocks[-1] and taken > width:
            blocks.append([])
        blocks[-1].append(column)
    lines: list[str] = []
    for block in blocks:
        lines += [""] if lines else []
        lines += _broken([columns[0], *(columns[one] for one in block)], names, [widths[one - 1] for one in block])
        for row in cells:
            lines += _broken([row[0], *(row[one] for one in block)], names, [widths[one - 1] for one in block])
    return lines


def _broken(cells: Sequence[str], names: int, widths: Sequence[int]) -> list[str]:
    """A row as lines: its cells broken between words, all ending on the last line, those of columns at its right."""
    parts = [textwrap.wrap(cells[0], names) or [""]]
    parts += [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells[1:], widths, strict=True)]
    height = max(map(len, parts))
    parts = [[""] * (height - len(part)) + part for part in parts]
    lines = [_GAP.join(map(str.rjust, line[1:], widths)) for line in zip(*parts, strict=True)]
    return [(label.ljust(names) + _GAP + line).rstrip() for label, line in zip(parts[0], lines, strict=True)]


def _say_lines(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[column]) for line in [columns, *cells]) for column in range(len(columns))]
    for line in [columns, *cells]:
        say(_GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _draw(columns: Sequence[str], cells: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for head in columns:
        drawn.add_column(head, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
