"""Which pictures are tested: those that were shown several times to somebody."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from brainrecon.datasets.bold5000.layout import FIRST_RELEASE, STIMULI
from brainrecon.datasets.bold5000.lines import AGAIN, read_lines
from brainrecon.datasets.bold5000.names import named
from brainrecon.datasets.bold5000.presentations import LISTS, Shown, list_files, read_shown
from stages.ground.errors import InputError
from stages.ground.listing import visible

LISTED = (
    "Scene_Stimuli/repeated_stimuli_113_list.txt",
    "Scene_Stimuli/Presented_Stimuli/repeated_stimuli_113_list.txt",
)


def list_of_repeated(path: Path) -> Path | None:
    """The archive's own list of the pictures that were repeated."""
    places = [path / folder / name for folder in STIMULI for name in LISTED]
    return next((place for place in places if place.exists()), None)


def other_lists(path: Path, subject: str) -> list[Path]:
    """Without the archive's list, the lists of the other subjects, which are read for it."""
    if list_of_repeated(path):
        return []
    return [file for other in _others(path, subject) for file in list_files(path, other)]


def tested_pictures(path: Path, subject: str, shown: Shown) -> tuple[set[str], list[str]]:
    """Ids of the pictures that are tested, and notes.

    They are the archive's list; without it the pictures that were shown more than once, to this subject or to another whose
    lists are there: CSI4 saw some of them once.

    Parameters
    ----------
    path : pathlib.Path
    subject : str
    shown : brainrecon.datasets.bold5000.presentations.Shown
        Of this subject.

    Raises
    ------
    InputError
        None of them was shown, or nothing else was.
    """
    counts = Counter(picture.stimulus_id for picture in shown.pictures)
    own = _repeated(shown)
    file, notes = list_of_repeated(path), []
    if file:
        listed = {named(line, file).stimulus_id for line in read_lines(file)}
        others = sorted(own - listed)
        if others:
            notes.append(
                f"{len(others):,} pictures that no list calls repeated were shown again, such as {others[0]}: they train"
            )
        if not listed & set(counts):
            raise InputError(f"{file} names none of the pictures that {subject} saw; take both from one archive.")
    else:
        listed = own.union(*(_repeated(read_shown(path, other)) for other in _others(path, subject)))
        notes.append(
            f"no repeated_stimuli_113_list.txt: the {len(listed):,} pictures that are tested were shown more than once"
            + ("" if listed == own else f", {len(listed - own):,} of them to other subjects alone")
        )
    tested = listed & set(counts)
    if not tested or len(tested) == len(counts):
        what = "shown once and no list says which are tested" if not tested else "tested and none is left to learn from"
        raise InputError(f"All {len(counts):,} pictures of {subject} are {what}; {AGAIN} from {shown.where}.")
    if absent := len(listed) - len(tested):
        notes.append(f"{absent:,} of {len(listed):,} repeated pictures were not shown to {subject}")
    if once := sum(counts[one] == 1 for one in tested):
        notes.append(f"{once:,} of {len(tested):,} test pictures were shown once, and tell nothing of the noise")
    return tested, notes


def _repeated(shown: Shown) -> set[str]:
    counts = Counter(picture.stimulus_id for picture in shown.pictures)
    marked = {picture.stimulus_id for picture in shown.pictures if picture.is_repeat}
    return marked | {one for one, count in counts.items() if count > 1}


def _others(path: Path, subject: str) -> list[str]:
    """Other subjects whose lists are there, whether their responses are or not."""
    patterns = [f"{place}/{LISTS}/CSI*" for place in STIMULI] + [f"{place}/stim_lists/CSI*" for place in FIRST_RELEASE]
    found = [
        re.match(r"(?:sub-)?CSI0*(\d+)", entry.name)
        for pattern in [*patterns, "CSI*_imgnames.txt", "sub-CSI*"]
        for entry in visible(path, pattern.lstrip("/"))
    ]
    names = {f"CSI{match[1]}" for match in found if match}
    return sorted(name for name in names - {subject} if list_files(path, name))
