"""Lists of names, a line each."""

from __future__ import annotations

from pathlib import Path

from stages.ground.errors import InputError
from stages.ground.reading.wall import reading

AGAIN = "copy it again"


def read_lines(path: Path) -> list[str]:
    """Lines of a text without blanks around them, whatever ends them; empty ones are left out.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    InputError
        The file is absent, no text in UTF-8, or holds nothing.
    """
    with reading(path, "a list of names", AGAIN):
        text = path.read_bytes().decode("utf-8-sig")
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    if not any(lines):
        raise InputError(f"{path} is empty; expected a name on each line: {AGAIN}.")
    return [line for line in lines if line]
