"""What a subject was shown, trial by trial, from whichever list there is.

Lists of runs (``Stimuli_Presentation_Lists/CSI1/CSI1_sess01/CSI_sess01_run01.txt``), else the events of ds001499
(``sub-CSI1/ses-01/func/*_task-5000scenes_run-01_events.tsv``), else one list without runs (``CSI1_imgnames.txt`` of release 2,
``stim_lists/CSI01_stim_lists.txt`` of release 1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from brainrecon.datasets.arrays.bids_events import entities
from brainrecon.datasets.arrays.bids_events import in_order as events_in_order
from brainrecon.datasets.bold5000.layout import FIRST_RELEASE, STIMULI, below
from brainrecon.datasets.bold5000.lines import AGAIN, read_lines
from brainrecon.datasets.bold5000.names import REPEAT, Named, named
from brainrecon.datasets.trial_tables import read_table
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.wall import reading

LISTS = "Stimuli_Presentation_Lists"
NAME_COLUMNS = ("ImgName", "stim_file")
_SESSION = re.compile(r".*sess?(?:ion)?[-_]?0*(\d+)", re.IGNORECASE)
_RUN = re.compile(r".*?run[-_]?0*(\d+)\.txt", re.IGNORECASE)


@dataclass(frozen=True)
class Shown:
    """What one subject was shown.

    Attributes
    ----------
    pictures : list of Named
        One for each trial.
    sessions, runs : list of int, length n_trials, or None
        Counted from 1, as the folders and files count them.
    where : str
        What was read, for messages.
    """

    pictures: list[Named]
    sessions: list[int] | None
    runs: list[int] | None
    where: str

    def of_session(self, session: int) -> list[int]:
        """Trials of a session, counted from 0."""
        return [trial for trial, own in enumerate(self.sessions or ()) if own == session]


def list_files(path: Path, subject: str) -> list[Path]:
    """The lists that `read_shown` reads: of runs, else events, else one list; none if there is none."""
    return [file for file, _, _ in _runs(path, subject)] or _events(path, subject) or _single(path, subject)[:1]


def read_shown(path: Path, subject: str) -> Shown:
    """What a subject was shown, in the order of the responses.

    Parameters
    ----------
    path : pathlib.Path
        The whole folder.
    subject : str
        Such as ``CSI1``.

    Raises
    ------
    InputError
        There is no list, one is damaged, or two that should agree do not.
    """
    if runs := _runs(path, subject):
        shown = _joined(
            [([named(line, file) for line in read_lines(file)], session, run) for file, session, run in runs],
            str(runs[0][0].parent.parent),
        )
    elif events := _events(path, subject):
        shown = _joined([_of_events(file) for file in events], f"the events below {path / f'sub-{subject}'}")
    elif single := _single(path, subject):
        return Shown([named(line, single[0]) for line in read_lines(single[0])], None, None, str(single[0]))
    else:
        raise InputError(
            f"{path} does not say what {subject} was shown; add {STIMULI[0]}/{LISTS}/{subject} of the archive of stimuli, or "
            f"sub-{subject}/ses-*/func/*_events.tsv of OpenNeuro ds001499."
        )
    _check_same(shown, path, subject)
    return shown


def _joined(parts, where: str) -> Shown:
    """Runs one after the other; `parts` are pictures, session and run of each."""
    pictures = [picture for own, _, _ in parts for picture in own]
    sessions = [session for own, session, _ in parts for _ in own]
    runs = [run for own, _, run in parts for _ in own]
    return Shown(pictures, sessions, runs, where)


def _runs(path: Path, subject: str) -> list[tuple[Path, int, int]]:
    """Lists of runs with session and run, in order."""
    found: dict[tuple[int, int], Path] = {}
    without = []
    folder = below(path, STIMULI, f"{LISTS}/{subject}")
    for session_folder in visible(folder):
        if not session_folder.is_dir() or not (session := _SESSION.fullmatch(session_folder.name)):
            continue
        own = [(file, _RUN.fullmatch(file.name)) for file in visible(session_folder)]
        for file, run in own:
            if run is None:
                continue
            key = int(session[1]), int(run[1])
            if key in found:
                raise InputError(f"{found[key]} and {file} are both session {key[0]}, run {key[1]}; keep one of them.")
            found[key] = file
        if not any(run for _, run in own):
            without.append(session_folder)
    # Events may stand in for lists, but not for some of them.
    if found and without:
        raise InputError(f"{without[0]} has no list of a run such as CSI_sess01_run01.txt; {AGAIN}.")
    return [(file, *key) for key, file in sorted(found.items())]


def _events(path: Path, subject: str) -> list[Path]:
    return events_in_order(visible(path / f"sub-{subject}", "**/*task-5000scenes*_events.tsv"))


def _single(path: Path, subject: str) -> list[Path]:
    number = re.sub(r"\D", "", subject)
    names = [path / f"{subject}_imgnames.txt", below(path, STIMULI, f"{LISTS}/{subject}/{subject}_imgnames.txt")]
    for name in (f"CSI{int(number):02d}_stim_lists.txt", f"{subject}_stim_lists.txt"):
        names.append(below(path, FIRST_RELEASE, f"stim_lists/{name}"))
    return [file for file in names if file.exists()]


def second_list(path: Path, subject: str) -> Path | None:
    """Release 2's own list, with which lists of runs or events are compared."""
    return next((file for file in _single(path, subject) if file.name.endswith("_imgnames.txt")), None)


def _of_events(file: Path):
    with reading(file, "a table of events", AGAIN):
        rows = read_table(file, delimiter="\t")
    column = next((name for name in NAME_COLUMNS if rows and name in rows[0]), None)
    if column is None:
        raise InputError(
            f"{file} has none of the columns {', '.join(NAME_COLUMNS)} that name the picture; take it from OpenNeuro ds001499 "
            "again."
        )
    numbers = [
        int(digits[0]) if (digits := re.findall(r"\d+", entities(file).get(key, ""))) else 1 for key in ("ses", "run")
    ]
    pictures = [named(row[column], file) for row in rows]
    marks = [row.get("ImgType", "").startswith(REPEAT) for row in rows]
    return [one._replace(is_repeat=one.is_repeat or mark) for one, mark in zip(pictures, marks)], *numbers


def _check_same(shown: Shown, path: Path, subject: str) -> None:
    """Raise an InputError if release 2's own list, where it is as long, has another order."""
    other = second_list(path, subject)
    if other is None:
        return
    ids = [named(line, other).stimulus_id for line in read_lines(other)]
    mine = [picture.stimulus_id for picture in shown.pictures]
    if len(ids) != len(mine) or ids == mine:
        return
    row = next(row for row, pair in enumerate(zip(ids, mine)) if pair[0] != pair[1])
    raise InputError(
        f"Trial {row + 1:,} of {subject} showed {mine[row]} by {shown.where} but {ids[row]} by {other}; copy both again."
    )
