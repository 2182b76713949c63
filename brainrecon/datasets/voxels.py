"""Which voxels: the one language in which every kind of data takes a roi.

    V1                       a region by its name
    V1 + V2, V1 | V2         voxels of either
    nsdgeneral - V1          voxels of the first that are not in the second
    VC & early               voxels of both
    all - (V1 | V2)          parentheses first; everything else from left to right, no sign binds closer than another
    V*                       every region whose name fits; * is any text
    FFA                      FFA-1 and FFA-2, if there are such and none of the name itself
    voxel_x = 3              voxels whose number is 3, if the data keep numbers for voxels (BData)

Names may hold such signs themselves, "FFA-1" and "ecc4+": the longest name that fits is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

ALL, MASK = "all", "mask"
"""All voxels, and the region that a mask of one's own is, see `brainrecon.datasets.own_mask`."""
OPERATORS: dict[str, Callable] = {
    "+": np.logical_or,
    "|": np.logical_or,
    "&": np.logical_and,
    "-": lambda left, right: left & ~right,
}
DEEPEST = 100
"""Parentheses inside each other; each takes a level of Python's own stack."""
PATTERN = re.compile(r"[^()=|+&\s-]*\*[^()=|+&\s-]*")
NUMBER = re.compile(r"-?\s*[^()=|+&\s-]*")
EXAMPLE = "write it as in 'V1 + V2' or 'all - (V1 | V2)'"


@dataclass(frozen=True)
class Regions:
    """The names that a roi may use, and the voxels of each.

    Parameters
    ----------
    where : str or path
        Whose regions they are, for messages: a file, a subject.
    names : sequence of str
        Those that messages list and that ``*`` stands for.
    mask_of : callable
        ``mask_of(name)`` is a bool array, the same shape for each name.
    aliases : sequence of str
        Further names that `mask_of` takes. ``*`` stands for these if it fits none of `names`.
    equal : callable, optional
        ``equal(name, number)``, a bool array: the voxels whose number is that.
    may_be_empty : bool
        Whether a region without a voxel, and a selection of none, is no mistake.
    """

    where: object
    names: tuple[str, ...]
    mask_of: Callable[[str], NDArray]
    aliases: tuple[str, ...] = ()
    equal: Callable[[str, float], NDArray] | None = None
    may_be_empty: bool = False

    def select(self, expression: str) -> NDArray:
        """The voxels that an expression selects.

        Parameters
        ----------
        expression : str
            As this module describes.

        Returns
        -------
        mask : bool array, like those of `mask_of`

        Raises
        ------
        InputError
            A name that is not there, a region without a voxel, an expression that cannot be read or leaves no voxel.
        """
        mask = _Reading(self, str(expression)).whole()
        if not mask.any() and not self.may_be_empty:
            raise InputError(f"The roi '{expression}' of {self.where} leaves no voxel; take less away.")
        return mask

    @cached_property
    def term(self) -> re.Pattern:
        """What finds a name at a place: the longest that is followed by a sign or the end."""
        longest_first = sorted({*self.names, *self.aliases, *self.families} - {""}, key=len, reverse=True)
        follows = r"[-+|&)=]" if self.equal else r"[-+|&)]"
        return re.compile(rf"({'|'.join(map(re.escape, longest_first)) or '(?!)'})(?=\s*(?:{follows}|$))")

    @cached_property
    def families(self) -> dict[str, list[str]]:
        """Regions that are numbered, by what stands before the number: FFA for FFA-1 and FFA-2."""
        found: dict[str, list[str]] = {}
        for name in (*self.names, *self.aliases):
            if numbered := re.fullmatch(r"(.*\w)-\d+", name):
                found.setdefault(numbered[1], []).append(name)
        return {family: parts for family, parts in found.items() if family not in (*self.names, *self.aliases)}

    def region(self, name: str) -> NDArray:
        """The voxels of one region by its name, or of a family of numbered ones."""
        parts = self.families.get(name, [name])
        mask = np.any([self.mask_of(part) for part in parts], axis=0)
        if not mask.any() and not self.may_be_empty:
            filled = ", ".join(other for other in self.names if self.mask_of(other).any())
            raise InputError(
                f"The roi '{name}' of {self.where} has no voxels; those that have some are {filled or 'none'}."
            )
        return mask

    def fitting(self, pattern: str) -> NDArray:
        """The voxels of all regions whose name fits a pattern with ``*``."""
        wanted = re.compile(".*".join(map(re.escape, pattern.split("*"))))
        for names in (self.names, self.aliases):
            found = [name for name in names if wanted.fullmatch(name)]
            if found:
                return np.any([self.mask_of(name) for name in found], axis=0)
        raise self.absent(pattern)

    def absent(self, name: str) -> InputError:
        """The error for a name that is not there."""
        return absent(self.where, "roi", name, self.names, self.aliases)


def absent(where: object, what: str, name: str, names: Sequence[str], aliases: Iterable[str] = ()) -> InputError:
    """The InputError for a name that is not there, with the names that are, and the one that was likely meant.

    Parameters
    ----------
    where : str or path
        What lacks it.
    what : str
        What it would be: "roi", "subject".
    name : str
    names : sequence of str
        Those that are listed.
    aliases : sequence of str
        Further ones that may have been meant.
    """
    meant = did_you_mean(name, (*aliases, *names))
    return InputError(f"{where} has no {what} '{name}'; it has {', '.join(names) or 'none'}{meant}.")


def masked_regions(where: object, masks: dict[str, NDArray], n_voxels: int, whole: str = ALL) -> Regions:
    """Regions given as masks, and all voxels under a name of their own.

    Parameters
    ----------
    where : str or path
    masks : dict of str to bool array of shape (n_voxels,)
    n_voxels : int
    whole : str
        The name of all voxels, unless a region has it; ``all`` is another.

    Returns
    -------
    regions : Regions
    """
    names = (*(name for name in masks if name != whole), whole)
    masks = dict.fromkeys((ALL, whole), np.ones(n_voxels, dtype=bool)) | masks
    return Regions(where, names, masks.__getitem__, aliases=() if ALL in names else (ALL,))


class _Reading:
    """One reading of an expression, from left to right."""

    def __init__(self, regions: Regions, text: str) -> None:
        self.regions, self.text, self.place, self.depth = regions, text, 0, 0

    def whole(self) -> NDArray:
        mask = self._joined()
        if self._next():
            raise self._mistake("an operator")
        return mask

    def _joined(self) -> NDArray:
        mask = self._single()
        while (sign := self._next()) in OPERATORS:
            self.place += 1
            mask = OPERATORS[sign](mask, self._single())
        return mask

    def _single(self) -> NDArray:
        start = self._next()
        if found := self.regions.term.match(self.text, self.place):
            self.place = found.end()
            if self.regions.equal and self._next() == "=":
                return self.regions.equal(found[1], self._number())
            return self.regions.region(found[1])
        if start == "(":
            return self._in_parentheses()
        if found := PATTERN.match(self.text, self.place):
            self.place = found.end()
            return self.regions.fitting(found[0])
        if not start or start in "+-|&)=":
            raise self._mistake("a region")
        # An unknown name ends at the next sign; a minus within it may belong to it.
        raise self.regions.absent(re.split(r"\s*[+|&()=]|\s+-", self.text[self.place :])[0].strip())

    def _in_parentheses(self) -> NDArray:
        self.depth += 1
        if self.depth > DEEPEST:
            raise InputError(f"The roi '{self.text[:40]}...' goes too deep; write it with fewer parentheses.")
        self.place += 1
        mask = self._joined()
        if self._next() != ")":
            if self._next():
                raise self._mistake("an operator")
            raise InputError(f"The roi '{self.text}' cannot be read: a parenthesis stays open; {EXAMPLE}.")
        self.place += 1
        self.depth -= 1
        return mask

    def _number(self) -> float:
        self.place += 1
        self._next()
        found = NUMBER.match(self.text, self.place)
        written = found[0] if found else ""
        try:
            number = float(written.replace(" ", ""))
        except ValueError:
            raise self._mistake("a number") from None
        self.place += len(written)
        return number

    def _next(self) -> str:
        """The next character that is no space, "" at the end."""
        while self.text[self.place : self.place + 1].isspace():
            self.place += 1
        return self.text[self.place : self.place + 1]

    def _mistake(self, expected: str) -> InputError:
        rest = re.match(r"[-+|&()=]|[^-+|&()=\s]+", self.text[self.place :])
        found = repr(rest[0]) if rest else "the end"
        return InputError(
            f"The roi '{self.text}' cannot be read: {found} stands where {expected} was expected; {EXAMPLE}."
        )
