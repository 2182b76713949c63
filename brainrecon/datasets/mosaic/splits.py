"""Which trials are trained on: as the study had it, or as MOSAIC's lists have it for all studies together.

FOLDER/
  train_naturalistic.json, or train.json           lists of names of trials; of pictures that resemble one that is tested none
  test_naturalistic.json, or test.json
  test_artificial.json, or artificial.json         patterns, shapes and letters, which are tested apart     optional
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from brainrecon.datasets.mosaic.recording import Place, Trial
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json

WAYS = ("own", "mosaic")
LISTS = {
    "train": ("train_naturalistic.json", "train.json"),
    "test": ("test_naturalistic.json", "test.json"),
    "artificial": ("test_artificial.json", "artificial.json"),
}


def list_files(folder: Path) -> dict[str, Path]:
    """The lists in a folder, by split."""
    return {split: file for split, names in LISTS.items() for file in [_there(folder, names)] if file is not None}


def _there(folder, names):
    return next((folder / name for name in names if (folder / name).is_file()), None)


def split_trials(place: Place, trials: list[Trial], way: str, folder: Path) -> tuple[dict[str, list[Trial]], list[str]]:
    """The trials of each split, and notes.

    Parameters
    ----------
    place : Place
    trials : list of Trial
    way : {"own", "mosaic"}
        own: the phases of the file's own names. mosaic: the lists in a folder.
    folder : path

    Raises
    ------
    InputError
        Lists are absent or damaged or name none of the trials, or there is nothing to train on or to test.
    """
    if way not in WAYS:
        raise InputError(f"split is {way!r}; expected {' or '.join(WAYS)}.")
    if way == "own":
        found = {phase: [trial for trial in trials if trial.phase == phase] for phase in ("train", "test")}
        notes = []
    else:
        found, notes = _listed(place, trials, folder)
    for name in ("train", "test"):
        if not found.get(name):
            raise InputError(
                f"{place.file} has no trial for {name} by split={way}; pass the other split, or take another subject."
            )
    return found, notes


def _listed(place, trials, folder):
    files = list_files(folder)
    for split in ("train", "test"):
        if split not in files:
            raise InputError(
                f"{folder} has no {' or '.join(LISTS[split])}, which split=mosaic needs; take the lists from the MOSAIC "
                "portal, or pass split=own."
            )
    there = {trial.name: trial for trial in trials}
    found, taken, n_absent = {}, {}, 0
    for split, file in files.items():
        named = [name for name in _names(read_json(file, list, "take it from the MOSAIC portal again"), file)]
        own = dict.fromkeys(name for name in named if name.startswith(f"{place.name}_stimulus-"))
        n_absent += sum(name not in there for name in own)
        for name in own:
            if name in there and taken.setdefault(name, split) != split:
                raise InputError(f"{file} names {name}, which is in the list for {taken[name]} too; take both again.")
        found[split] = [there[name] for name in own if name in there]
    if not any(found.values()):
        raise InputError(
            f"The lists in {folder} name no trial of {place.name}; take those of a collection that has it."
        )
    notes = [f"{len(trials) - len(taken):,} of {len(trials):,} trials are in none of MOSAIC's lists and were left out"]
    if n_absent:
        notes.append(f"MOSAIC's lists name {n_absent:,} trials of {place.name} that its file does not hold")
    return {
        split: sorted(own, key=lambda one: (one.stimulus_id, one.repetition)) for split, own in found.items() if own
    }, notes


def _names(content: Any, file: Path):
    """Names of trials in lists of {stimulus of a subject: names}, or in plain lists."""
    for entry in content:
        parts = [entry] if isinstance(entry, str) else sum(entry.values(), []) if _is_table(entry) else None
        if parts is None or not all(isinstance(part, str) for part in parts):
            raise InputError(
                f"{file} has {str(entry)[:80]!r} among its entries; expected names of trials: take it again."
            )
        yield from (part.removesuffix(".npz") for part in parts)


def _is_table(entry):
    return isinstance(entry, dict) and all(isinstance(names, list) for names in entry.values())
