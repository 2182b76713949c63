"""Text in a table that a spreadsheet may open: what begins like a formula is written so that none is run."""

from __future__ import annotations

_FORMULA = tuple("=+-@\t\r\n")


def text_cell(text: str) -> str:
    """Write a text as a cell: with an apostrophe before what a spreadsheet would take for a formula; numbers stay.

    >>> text_cell("=1+1"), text_cell("-0.5"), text_cell("subj01")
    ("'=1+1", '-0.5', 'subj01')

    `text_of` is the way back. What begins with apostrophes and goes on like a formula gets another one, so that no two texts
    have one cell.
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) and not _is_number(text) else text


def text_of(cell: str) -> str:
    """Read a text that `text_cell` wrote.

    >>> text_of("'=1+1"), text_of("'tis")
    ('=1+1', "'tis")
    """
    return cell[1:] if cell.startswith("'") and text_cell(cell[1:]) == cell else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
