"""What a picture file shows, from its name: the stimulus by its id or by a row of the test set, and which picture of it."""

from __future__ import annotations

import re
from string import Formatter
from typing import NamedTuple

from stages.ground.errors import InputError
from weights.names import identifier_of

# stim-<id>_sample-<k>, as a run writes them; both additions may be absent.
_OWN = r"(?:stim-)?(?P<id>.+?)(?:_sample-(?P<sample>\d+))?"
FIELDS = {"id": r"(?P<id>.+?)", "row": r"(?P<row>\d+)", "number": r"(?P<number>\d+)", "sample": r"(?P<sample>\d+)"}
"""Fields of a pattern: the stimulus by its id, by its row from 0, or by its number from 1; and which picture of it."""


class Shown(NamedTuple):
    """What a file shows.

    Attributes
    ----------
    stimulus_id : str
    sample : int
    row : int or None
        From 0, if the name tells a row.
    """

    stimulus_id: str
    sample: int
    row: int | None = None


class PictureNames:
    """Names of picture files.

    >>> names = PictureNames("{id}_recon.png", ["nsd00012", "nsd00345"])
    >>> names.read("nsd00345_recon.png")
    Shown(stimulus_id='nsd00345', sample=0, row=None)
    >>> PictureNames("{row:04d}.png", ["nsd00012", "nsd00345"]).read("0001.png")
    Shown(stimulus_id='nsd00345', sample=0, row=1)

    Parameters
    ----------
    pattern : str or None
        With one of the fields id, row and number, and sample or not; a folder before a slash. None: ``{id}.png``, with
        ``stim-`` before and ``_sample-{sample}`` behind, or without, and any suffix.
    stimulus_ids : sequence of str
        The test stimuli.
    row_ids : sequence of str, optional
        The stimulus of each row; by default `stimulus_ids`.

    Raises
    ------
    InputError
        The pattern is none.
    """

    def __init__(self, pattern, stimulus_ids, row_ids=None):
        self.pattern, self._ids = pattern, set(stimulus_ids)
        self._row_ids = list(stimulus_ids if row_ids is None else row_ids)
        self._expression = re.compile("(?s)" + (_OWN if pattern is None else _expression(pattern)))

    @property
    def has_rows(self):
        """Whether names tell rows."""
        return "(?P<row>" in self._expression.pattern or "(?P<number>" in self._expression.pattern

    @property
    def has_folders(self):
        """Whether pictures may lie in folders of the folder."""
        return self.pattern is not None and "/" in self.pattern

    def read(self, name):
        """What a name says, or None; without a pattern the suffix is no part of the name.

        Raises
        ------
        InputError
            It tells a row that is not there.
        """
        name = name if self.pattern else name.rpartition(".")[0]
        # If the whole name is an id, take it as the id: an id may itself look like a name with additions.
        if self.pattern is None and name in self._ids:
            return Shown(name, 0)
        match = self._expression.fullmatch(name)
        if match is None:
            return None
        told = match.groupdict()
        sample = int(told.get("sample") or 0)
        if "id" in told:
            # As a run writes ids that no file can be called by.
            name = told["id"] if told["id"] in self._ids else identifier_of(told["id"])
            return Shown(name if name in self._ids else told["id"], sample)
        first = int("number" in told)
        row = int(told["number" if first else "row"]) - first
        if not 0 <= row < len(self._row_ids):
            raise InputError(
                f"{name} is number {row + first} but there are {first} to {len(self._row_ids) - 1 + first}; write "
                + ("{row} if rows count from 0" if first else "{number} if they count from 1")
                + ", or pass the stimulus id of each, one a line, as --ids FILE."
            )
        return Shown(self._row_ids[row], sample, row)


def _expression(pattern):
    """Regular expression of a pattern."""
    try:
        pieces = list(Formatter().parse(pattern))
    except ValueError:
        pieces = []
    used = [field for _, field, _, _ in pieces if field is not None]
    if sum(field != "sample" for field in used) != 1 or len(set(used)) < len(used) or not set(used) <= set(FIELDS):
        raise InputError(
            f"--pattern {pattern} has the fields {', '.join(used) or '(none)'}; expected one of id, row and number, and sample "
            "if a stimulus has several pictures: write --pattern '{id}_recon.png', for example."
        )
    return "".join(re.escape(text) + FIELDS.get(field, "") for text, field, _, _ in pieces)
