"""Runs of a subject: the maps of betas of each, and which picture each map is a response to.

FOLDER/derivatives/ciftify/sub-01/results/
  ses-imagenet01_task-imagenet_run-1/       a folder per run, whose number is not padded
    ses-imagenet01_task-imagenet_run-1_beta.dscalar.nii     (pictures, places of the cortex)
    ses-imagenet01_task-imagenet_run-1_label.txt            a picture per line, in the order of the maps; the maps' own names
                                                            serve if it is not there     optional
FOLDER/sub-01/ses-imagenet01/func/
  sub-01_ses-imagenet01_task-imagenet_run-01_events.tsv     what was shown when: the order is checked by it     optional
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from brainrecon.datasets.nod.events import RunEvents, read_events, stimulus_of
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.cifti_files import CiftiMaps, open_cifti
from stages.ground.reading.wall import reading

CIFTIFY = Path("derivatives") / "ciftify"
TASKS = ("imagenet", "coco")
_RUN = re.compile(r"ses-((imagenet|coco)\d*)_task-(imagenet|coco)_run-0*(\d+)", re.IGNORECASE)
_EVENTS = re.compile(r".*_ses-([^_]+)_task-(?:imagenet|coco)_run-0*(\d+)_events\.tsv", re.IGNORECASE)
_IMAGENET = re.compile(r"n\d{8}_\d+")
_END = re.compile(r"(?<=\.jpg)|(?<=\.jpeg)|(?<=\.png)", re.IGNORECASE)


class Run(NamedTuple):
    """A run whose betas are there.

    Attributes
    ----------
    session : str
        ``imagenet01``, ``coco``.
    number : int
    folder : pathlib.Path
    events : pathlib.Path or None
    """

    session: str
    number: int
    folder: Path
    events: Path | None

    @property
    def task(self) -> str:
        return next(task for task in TASKS if self.session.startswith(task))

    @property
    def betas(self) -> Path:
        return self.folder / f"{self.folder.name}_beta.dscalar.nii"

    @property
    def labels(self) -> Path:
        return self.folder / f"{self.folder.name}_label.txt"


class ReadRun(NamedTuple):
    """A run as it was read.

    Attributes
    ----------
    run : Run
    maps : stages.ground.reading.cifti_files.CiftiMaps
    stimulus_ids : list of str
        One for each map.
    events : RunEvents or None
    notes : list of str
        What was mended.
    """

    run: Run
    maps: CiftiMaps
    stimulus_ids: list[str]
    events: RunEvents | None
    notes: list[str]


def results_of(path: Path, subject: str) -> Path:
    """Where a subject's runs lie."""
    return Path(path) / CIFTIFY / subject / "results"


def find_runs(path: Path, subject: str) -> list[Run]:
    """The runs that have a folder, sessions of ImageNet first, in order."""
    events = {}
    for file in visible(Path(path) / subject, "ses-*/func/*_events.tsv"):
        if found := _EVENTS.fullmatch(file.name):
            events[found[1].lower(), int(found[2])] = file
    runs = []
    for folder in visible(results_of(path, subject), "ses-*"):
        found = _RUN.fullmatch(folder.name)
        if found and folder.is_dir():
            session, number = found[1].lower(), int(found[4])
            runs.append(Run(session, number, folder, events.get((session, number))))
    return sorted(runs, key=lambda run: (TASKS.index(run.task), run.session, run.number))


def read_run(run: Run, clock: str = "auto") -> ReadRun:
    """Open the betas of a run and read what was shown.

    Parameters
    ----------
    run : Run
    clock : {"auto", "zero", "sixteen"}
        Of its events.

    Raises
    ------
    InputError
        The betas are absent or damaged, or nothing tells their pictures, or labels and events are at odds.
    """
    if not run.betas.exists():
        raise InputError(f"{run.betas} is missing; fetch it from OpenNeuro ds004496, or remove the folder of this run.")
    maps = open_cifti(run.betas)
    events = None if run.events is None else read_events(run.events, clock)
    names, notes = _names(run, maps)
    stimulus_ids = [stimulus_of(name) for name in names]
    if run.task == "coco" and all(name.isdecimal() and len(name) < 6 for name in stimulus_ids):
        stimulus_ids = _by_number(run, stimulus_ids, events)
    where = run.labels if run.labels.exists() else run.betas
    if run.task == "imagenet" and (other := [one for one in stimulus_ids if not _IMAGENET.fullmatch(one)]):
        raise InputError(
            f"{where} names {other[0][:80]!r}, which is no picture of ImageNet; expected names such as n03131574_8247.JPEG: copy "
            "it again."
        )
    if len(set(stimulus_ids)) < len(stimulus_ids) or "" in stimulus_ids:
        twice = next(one for one in stimulus_ids if stimulus_ids.count(one) > 1 or not one)
        raise InputError(f"{where} names {twice!r} twice or not at all; a run shows each picture once: copy it again.")
    if events is not None and events.events:
        _check_order(run, where, stimulus_ids, [one.stimulus_id for one in events.events])
    elif events is not None:
        notes.append(
            f"{run.events.name} has no rows, so that the order of its {len(names):,} betas is that of its labels"
        )
    return ReadRun(run, maps, stimulus_ids, events, notes)


def _names(run, maps):
    """Names of the maps' pictures, and notes."""
    n_maps, named = maps.shape[0], [name for name in maps.names if stimulus_of(name)]
    if not run.labels.exists():
        if len(named) < n_maps:
            raise InputError(
                f"{run.labels} is missing, and the maps of {run.betas.name} have no names; fetch it again."
            )
        return list(maps.names), [f"{run.labels.name} is missing: the names in {run.betas.name} were taken"]
    with reading(run.labels, "text", "fetch it again"):
        text = run.labels.read_text(encoding="utf-8-sig")
    names, notes = [line.strip() for line in text.splitlines() if line.strip()], []
    if len(names) == 1 and n_maps > 1:
        # The published script writes names without line breaks.
        names = [name.strip() for name in _END.split(names[0]) if name.strip()]
        notes = [f"{run.labels.name} has no line breaks: it was cut behind the endings of the names"]
    if len(names) != n_maps:
        raise InputError(
            f"{run.labels} names {len(names):,} pictures but {run.betas.name} holds {n_maps:,} maps; fetch both again."
        )
    differing = [
        row for row, (one, other) in enumerate(zip(names, maps.names)) if stimulus_of(one) != stimulus_of(other)
    ]
    if len(named) == n_maps and _same_kind(names, maps.names) and differing:
        row = differing[0]
        raise InputError(
            f"Map {row + 1} of {run.betas} is called {maps.names[row]!r} but {run.labels.name} says {names[row]!r}; fetch both "
            "again."
        )
    return names, notes


def _same_kind(names, others):
    """Whether both name files: maps may as well be called by number."""
    return all(any("." in name for name in part) for part in (names, others))


def _by_number(run, numbers, events):
    """Pictures of COCO by the authors' numbers, which the run's events tie to files."""
    told = {} if events is None else {event.trial_type: event.stimulus_id for event in events.events}
    if absent := [number for number in numbers if int(number) not in told]:
        raise InputError(
            f"{run.labels} names picture {absent[0]} of COCO by number, and no events of this run tell which file that is; put "
            f"{run.folder.name}_events.tsv into ses-coco/func of the subject."
        )
    return [told[int(number)] for number in numbers]


def _check_order(run, where, stimulus_ids, shown):
    if run.task == "coco":
        if missing := sorted(set(stimulus_ids) ^ set(shown)):
            raise InputError(
                f"{where} and {run.events} do not name the same pictures, such as {missing[0]}; fetch both again."
            )
        return
    if len(shown) != len(stimulus_ids):
        raise InputError(
            f"{where} names {len(stimulus_ids):,} pictures but {run.events} shows {len(shown):,}; fetch both again."
        )
    for row, (label, event) in enumerate(zip(stimulus_ids, shown), start=1):
        if label != event:
            raise InputError(f"Picture {row} is {label} in {where} but {event} in {run.events}; fetch both again.")
