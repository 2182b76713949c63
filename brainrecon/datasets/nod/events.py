"""When each picture was shown: events of a run, on the clock of the scanner.

Every run begins with 16 s of blank. Onsets of some files count from its end, those of others from the first volume. Which of
both is so differs among subjects and sessions of one task:

zero      onsets begin at 0: the blank is left out, and 16 s are added
sixteen   onsets begin at 16: the blank is counted, and nothing is added
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from brainrecon.datasets.trial_tables import read_table
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError

BLANK = 16.0
"""Seconds before the first picture."""
LATE, EARLY = BLANK - 0.5, BLANK / 2
CLOCKS = ("auto", "zero", "sixteen")
FIXATION = 2000
"""`trial_type` of rows that show no picture: the fixation point changed."""
NOTHING = ("", "n/a")
PICTURE_COLUMNS = ("stim_file", "condition")
SIXTEEN_IN_RELEASE = {
    **dict.fromkeys(("sub-04", "sub-06"), ("imagenet01", "imagenet02", "imagenet03", "imagenet04")),
    "sub-07": ("imagenet02", "imagenet04"),
    **dict.fromkeys(("sub-10", "sub-13", "sub-19", "sub-21", "sub-26"), ("imagenet01",)),
}
"""Sessions whose onsets begin at 16 in version 2.1.2 of ds004496."""


class Event(NamedTuple):
    """A picture that was shown.

    Attributes
    ----------
    onset : float
        Seconds from the first volume, the blank counted.
    duration : float
    stimulus_id : str
        Name of its file without ending: ``n03131574_8247``, ``000000124419``.
    trial_type : int
        The authors' number of the class, or of the COCO picture.
    response : str
        As it is written, "1" for animate and "-1" for inanimate; "" if the file has none, as most.
    """

    onset: float
    duration: float
    stimulus_id: str
    trial_type: int
    response: str


class RunEvents(NamedTuple):
    """Events of a run.

    Attributes
    ----------
    file : pathlib.Path
    clock : str
        "zero" or "sixteen", as it was taken; "" if there is no picture.
    events : list of Event
    n_left_out : int
        Rows that show no picture.
    """

    file: Path
    clock: str
    events: list[Event]
    n_left_out: int


def stimulus_of(name: str) -> str:
    """The id of a picture's file.

    >>> stimulus_of("imagenet/n03131574/n03131574_8247.JPEG"), stimulus_of("coco/000000124419.jpg")
    ('n03131574_8247', '000000124419')
    """
    return PurePosixPath(name.strip().replace("\\", "/")).stem


def read_events(file: Path, clock: str = "auto") -> RunEvents:
    r"""Read the events of one run.

    >>> file = getfixture("tmp_path") / "sub-01_ses-imagenet01_task-imagenet_run-01_events.tsv"
    >>> rows = ["onset\tduration\ttrial_type\tstim_file", "0\t1\t467\timagenet/n03131574/n03131574_8247.JPEG"]
    >>> _ = file.write_text("\n".join(rows))
    >>> found = read_events(file)
    >>> found.clock, found.events[0].onset, found.events[0].stimulus_id
    ('zero', 16.0, 'n03131574_8247')

    Parameters
    ----------
    file : path
    clock : {"auto", "zero", "sixteen"}
        "auto" decides by the onset of the first row: below 8 s it is zero, from 15.5 s on it is sixteen.

    Returns
    -------
    found : RunEvents
        Without events if the file has a head alone, as those of sub-01's fifth session have.

    Raises
    ------
    InputError
        The file is damaged, or its onsets do not go with the clock.
    """
    check("clock", clock, OneOf(*CLOCKS), "--option {name}={example}")
    rows = read_table(file, delimiter="\t")
    numbered = list(enumerate(rows, start=2))
    shown = [(number, row) for number, row in numbered if not _is_blank(file, row)]
    if not shown:
        return RunEvents(Path(file), "", [], len(rows))
    onsets = {number: _number(file, number, row, "onset") for number, row in numbered}
    later = [onsets[number] > onsets[number - 1] for number, _ in numbered[1:]]
    if onsets[2] < 0 or not all(later):
        raise InputError(f"{file} has onsets that do not increase from 0 on; take it from OpenNeuro ds004496 again.")
    # Of all rows, as the first may show no picture.
    clock = _clock(file, onsets[2], clock)
    added = BLANK if clock == "zero" else 0.0
    events = [
        Event(
            onsets[number] + added,
            _number(file, number, row, "duration"),
            stimulus_of(_picture(file, number, row)),
            int(_number(file, number, row, "trial_type")),
            "" if row.get("response", "") in NOTHING else row["response"],
        )
        for number, row in shown
    ]
    return RunEvents(Path(file), clock, events, len(rows) - len(shown))


def clock_notes(subject: str, clocks: dict[str, set[str]]) -> list[str]:
    """What to know of the clocks of a subject's sessions.

    Parameters
    ----------
    subject : str
    clocks : dict of str to set of str
        By session, ``imagenet01``: the clocks of its runs.
    """
    notes = []
    sixteen = [session for session, own in clocks.items() if "sixteen" in own]
    if sixteen:
        notes.append(
            f"onsets of {', '.join(sixteen)} count the 16 s of blank, those of other sessions do not; the authors' script adds "
            "16 s to all, so that their betas of these sessions may be 16 s late, unless the files were changed after it ran"
        )
    listed = SIXTEEN_IN_RELEASE.get(subject, ())
    other = [name for name, own in clocks.items() if own and own != {"sixteen" if name in listed else "zero"}]
    if other:
        notes.append(f"onsets of {', '.join(other)} are on another clock than in version 2.1.2 of ds004496")
    return notes


def clocks_in_words(clocks: dict[str, set[str]]) -> str:
    """Which sessions have which clock.

    >>> clocks_in_words({"imagenet01": {"zero"}, "imagenet02": {"sixteen"}, "coco": {"zero"}, "imagenet05": set()})
    'zero: imagenet01, coco; sixteen: imagenet02; unknown: imagenet05'
    """
    told = {name: [session for session, own in clocks.items() if name in own] for name in ("zero", "sixteen")}
    told["unknown"] = [session for session, own in clocks.items() if not own]
    return "; ".join(f"{name}: {', '.join(own)}" for name, own in told.items() if own)


def _clock(file, first, clock):
    if clock == "auto":
        if EARLY <= first < LATE:
            raise InputError(
                f"{file} has its first onset at {first:g} s, which tells no clock; pass clock=zero if it counts from the end "
                "of the 16 s of blank, or clock=sixteen."
            )
        return "zero" if first < EARLY else "sixteen"
    if clock == "sixteen" and first < LATE:
        raise InputError(
            f"{file} has its first onset at {first:g} s, within the 16 s of blank that clock=sixteen counts; pass clock=auto."
        )
    if clock == "zero" and first >= LATE:
        raise InputError(
            f"{file} has its first onset at {first:g} s, which clock=zero would make {first + BLANK:g} s; pass clock=auto."
        )
    return clock


def _is_blank(file, row):
    if absent := [name for name in ("onset", "duration", "trial_type") if name not in row]:
        raise InputError(f"{file} has no column {absent[0]}; take it from OpenNeuro ds004496 again.")
    return row["trial_type"] in (str(FIXATION), f"{FIXATION:.1f}")


def _picture(file, number, row):
    column = next((name for name in PICTURE_COLUMNS if name in row), None)
    if column is None:
        raise InputError(f"{file} has neither of the columns {' and '.join(PICTURE_COLUMNS)}; copy it again.")
    if row[column] in NOTHING:
        raise InputError(
            f"Row {number} of {file} names no picture and has the trial_type {row['trial_type']}, not {FIXATION}; copy it again."
        )
    return row[column]


def _number(file, number, row, name):
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (name == "trial_type" and value != int(value)):
        raise InputError(f"Row {number} of {file} has {row[name]!r} as {name}; expected a number: copy the file again.")
    return value
