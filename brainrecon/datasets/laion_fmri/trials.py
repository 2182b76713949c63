"""Which picture was shown on each trial of a session: a row of the table for each volume of betas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from brainrecon.datasets.trial_tables import read_table
from stages.ground.errors import InputError

COLUMNS = ("session", "run", "beta_index", "label")
AGAIN = "fetch the table again"
OOD = re.compile(r"shared_\d+rep_OOD_([A-Za-z0-9-]+)_.+")
"""Pictures that are unlike photographs say so in their names, and of which kind they are."""


class Trial(NamedTuple):
    """One presentation.

    >>> Trial(4, 2, 87, "shared_4rep_OOD_gabor_3.png").kind
    'gabor'

    Attributes
    ----------
    session, run : int
        1-based.
    row : int
        0-based volume of the session's betas.
    label : str
        File name of the picture.
    """

    session: int
    run: int
    row: int
    label: str

    @property
    def kind(self) -> str:
        """Of a picture that is out of the distribution of photographs: of which kind it is; else ""."""
        return kind_of(self.label)


def kind_of(label: str) -> str:
    """As `Trial.kind`, of a picture's name."""
    found = OOD.fullmatch(label)
    return found[1] if found else ""


def read_trials(path: Path, session: int, n_volumes: int, betas: Path) -> list[Trial]:
    """Trials of one session in the order of its table.

    Parameters
    ----------
    path : pathlib.Path
    session : int
        Whose table it should be.
    n_volumes : int
        Of the session's betas.
    betas : pathlib.Path
        For messages.

    Raises
    ------
    InputError
        The table is absent or damaged, or not of these betas.
    """
    try:
        rows = read_table(path, "\t")
    except FileNotFoundError:
        raise InputError(f"{betas} has no table of trials beside it; expected {path}: fetch it too.") from None
    absent = [name for name in COLUMNS[1:] if not rows or name not in rows[0]]
    if absent:
        head = ", ".join(rows[0]) if rows else "no rows"
        raise InputError(f"{path} has {head}; expected the columns {', '.join(COLUMNS)}, divided by tabs: {AGAIN}.")
    if len(rows) != n_volumes:
        raise InputError(f"{path} has {len(rows):,} rows but {betas} {n_volumes:,} volumes; fetch both again.")
    trials, taken = [], {}
    for number, row in enumerate(rows, start=2):
        where = f"Row {number} of {path}"
        volume = _number(row["beta_index"], "", where, "beta_index", 0)
        if volume >= n_volumes:
            raise InputError(f"{where} names volume {volume:,} but {betas} has {n_volumes:,}, counted from 0; {AGAIN}.")
        if volume in taken:
            raise InputError(f"Rows {taken[volume]} and {number} of {path} both name volume {volume:,}; {AGAIN}.")
        taken[volume] = number
        own = _number(row["session"], "ses-", where, "session", 1) if row.get("session") else session
        if own != session:
            raise InputError(f"{where} is of session {own} but its place is that of session {session}; {AGAIN}.")
        label = row["label"]
        if not label or label.lower() in ("n/a", "nan", "none"):
            raise InputError(f"{where} names no picture; every volume of the betas is a trial with one: {AGAIN}.")
        trials.append(Trial(session, _number(row["run"], "run-", where, "run", 1), volume, label))
    return trials


def _number(text: str, prefix: str, where: str, column: str, least: int) -> int:
    found = re.fullmatch(rf"(?:{prefix})?(\d{{1,9}})(?:\.0+)?", text)
    if found is None or int(found[1]) < least:
        raise InputError(f"{where} has {column} {text!r}; expected a whole number from {least} on: {AGAIN}.")
    return int(found[1])
