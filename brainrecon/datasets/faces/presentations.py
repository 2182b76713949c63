"""Which faces were shown when: events of the runs, and which picture of CelebA each file is."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from brainrecon.datasets.arrays.bids_events import entities, in_order
from brainrecon.datasets.trial_tables import read_table
from stages.ground.errors import InputError
from stages.ground.listing import visible

NAMES = "ImageNames2Celeba.txt"
SPLITS = {"train_face": "train", "test_face": "test"}
IMAGERY = "img"
COLUMNS = ("trial_type", "stim_file", "oneback")
_PICTURE = re.compile(r"(sub\d+/run\d+/[FM]\w*\.jpe?g)[\s,;]+(\S+)", re.IGNORECASE)
GENDERS = {"M": "male", "F": "female"}


class Presentation(NamedTuple):
    """A row of a run's events.

    Attributes
    ----------
    split : str
        "train", "test", "imagery", or nothing for a pause.
    stimulus_id : str
        Name of the picture in CelebA, without its ending: one face has several files. Empty unless a face was shown.
    picture : str
        File below ``stimuli/``; its name begins with F or M.
    is_repeat : bool
        Whether the face was that of the row before, which had to be told by a button.
    session, run : int
    """

    split: str
    stimulus_id: str
    picture: str
    is_repeat: bool
    session: int
    run: int

    @property
    def gender(self):
        """As the first letter of the file's name says."""
        return GENDERS[PurePosixPath(self.picture).name[0].upper()]


def events_files(path: Path, subject: str) -> list[Path]:
    """Events of a subject's runs of faces, in order."""
    return in_order(visible(Path(path) / subject, "**/*task-faces*_events.tsv"))


def read_presentations(path: Path, subject: str) -> dict[Path, list[Presentation]]:
    """Read the events of all runs of faces.

    Parameters
    ----------
    path : path
        The whole folder.
    subject : str
        Such as ``sub-01``.

    Returns
    -------
    presentations : dict of path to list of Presentation
        By file of events, a presentation for each of its rows, in order.

    Raises
    ------
    InputError
        Files are absent or damaged, or a picture is not among the names.
    """
    files = events_files(path, subject)
    if not files:
        raise InputError(
            f"{Path(path) / subject} has no events of faces; give the folder of ds001761, with "
            f"{subject}/ses-01/func/{subject}_ses-01_task-faces_run-01_events.tsv and the others."
        )
    names = read_names(path)
    return {file: [_presentation(file, row, names) for row in _rows(file)] for file in files}


def read_names(path: Path) -> dict[str, str]:
    """Read which picture of CelebA each file is, dict of file below ``stimuli/`` to id."""
    place = Path(path) / "stimuli" / NAMES
    try:
        text = place.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        raise InputError(
            f"{place} is missing, which names the face of each picture; take it from OpenNeuro ds001761."
        ) from None
    found = {file: PurePosixPath(name).stem for file, name in _PICTURE.findall(text.replace("\\", "/"))}
    if not found:
        raise InputError(
            f"{place} names no pictures; expected lines such as sub01/run01/F0031.jpg 012345.jpg: copy it again."
        )
    return found


def _rows(file):
    rows = read_table(file, delimiter="\t")
    if absent := [name for name in COLUMNS if not rows or name not in rows[0]]:
        raise InputError(f"{file} has no column {absent[0]}; take it from OpenNeuro ds001761 again.")
    return rows


def _presentation(file, row, names):
    of_file = entities(file)
    session, run = (int(re.sub(r"\D", "", of_file.get(key, "")) or 1) for key in ("ses", "run"))
    kind = row["trial_type"].lower()
    if kind not in SPLITS:
        return Presentation("imagery" if kind == IMAGERY else "", "", "", False, session, run)
    picture = "/".join(PurePosixPath(row["stim_file"].replace("\\", "/")).parts[-3:])
    if picture not in names:
        raise InputError(f"{file} shows {row['stim_file']}, which {NAMES} does not name; copy both again.")
    return Presentation(SPLITS[kind], names[picture], picture, row["oneback"] == "1", session, run)
