"""Subjects in a released file whose tensors are called by their numbers, and not by their places."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from stages.ground.errors import InputError
from weights.suggestions import did_you_mean


@dataclass(frozen=True)
class NumberedSubjects:
    """Parts of a file that each subject has for itself, ``<part>.<number>.<name>``.

    >>> import torch
    >>> subjects = NumberedSubjects(("embedder", "builder"), length="embedder.{}.weight")
    >>> stored = {f"embedder.{number}.weight": torch.zeros(3, 8) for number in (1, 7)} | {"head.bias": torch.zeros(2)}
    >>> subjects.lengths(stored)
    {'subj01': 8, 'subj07': 8}
    >>> list(subjects.at_places(stored, ["subj07"]))
    ['head.bias', 'embedder.0.weight']

    Attributes
    ----------
    parts : tuple of str
    length : str
        Name of the weight whose last axis is as long as what the network reads of a subject, with the number in braces.
    named : str
        A subject's name, with the number in braces.
    """

    parts: tuple[str, ...]
    length: str
    named: str = "subj{:02d}"

    def lengths(self, stored: Mapping[str, Tensor]) -> dict[str, int]:
        """Values that are read of each subject in a file, by name, in the order of the numbers."""
        pattern = re.escape(self.length).replace(r"\{\}", r"(\d+)")
        found = {int(match[1]): value for name, value in stored.items() if (match := re.fullmatch(pattern, name))}
        return {self.named.format(number): int(found[number].shape[-1]) for number in sorted(found)}

    def at_places(self, stored: Mapping[str, Tensor], names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Tensors of some subjects, called by their places among `names`, and all that is no subject's; those of others are left.

        Parameters
        ----------
        stored : mapping of str to tensor
        names : sequence of str, optional
            All that are in the file by default.

        Raises
        ------
        InputError
            A subject is not in the file.
        """
        known = self.lengths(stored)
        places = {name: place for place, name in enumerate(known if names is None else names)}
        if absent := [name for name in places if name not in known]:
            raise InputError(
                f"The file knows {', '.join(known) or 'nobody'} and not {absent[0]}{did_you_mean(absent[0], known)}; load one of "
                "these, or fetch the file of this subject."
            )
        found = {name: value for name, value in stored.items() if name.partition(".")[0] not in self.parts}
        for name, value in stored.items():
            part, _, rest = name.partition(".")
            number, _, own = rest.partition(".")
            if part in self.parts and number.isdecimal() and (whose := self.named.format(int(number))) in places:
                found[f"{part}.{places[whose]}.{own}"] = value
        return found
