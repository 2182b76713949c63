"""What was shown on each trial, from the events of a BIDS folder."""

from pathlib import PurePosixPath
from typing import NamedTuple

from brainrecon.datasets.arrays.parts import check_ids
from brainrecon.datasets.spellings import said_of
from brainrecon.datasets.subject import EMPTY_CELLS
from brainrecon.datasets.trial_tables import read_table
from stages.ground.errors import InputError
from stages.ground.listing import visible

ID_COLUMNS = ("stimulus_id", "stim_file", "trial_type")
WHICH_EVENTS = ("ses", "task", "run")
NOTHING = ("", "n/a")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")


class Trial(NamedTuple):
    """One volume of a file of betas."""

    file: int
    row: int
    stimulus_id: str
    session: int
    run: int
    split: str


def entities(path):
    """Entities of a file's name, and the session of its folders: ses -> 01, run -> 1, space -> T1w, ..."""
    folders = [parent.name for parent in path.parents if parent.name.startswith("ses-")]
    tokens = [token for name in (*folders, path.name.split(".")[0]) for token in name.split("_")]
    return dict(token.split("-", 1) for token in tokens if "-" in token)


def in_order(paths):
    """Files sorted by session, task and run, numbers as numbers: run-2 before run-10."""
    return sorted(paths, key=lambda path: [_natural(entities(path).get(key, "")) for key in WHICH_EVENTS])


def events_files(path, folder):
    """The events of a subject in order; those of the raw data set where derivatives/<name>/ has none of its own."""
    found = visible(folder, "**/*events.tsv")
    raw = path.parent.parent / folder.name
    return in_order(found) or (in_order(visible(raw, "**/*events.tsv")) if path.parent.name == "derivatives" else [])


def picture_id(name):
    """The id of a picture file below stimuli/: its path without suffix, folders joined by ``_``."""
    path = PurePosixPath(str(name).replace("\\", "/"))
    path = path.with_suffix("") if path.suffix.lower() in PICTURES else path
    parts = [part for part in path.parts if part not in ("/", "..")]
    return "_".join(parts[1:] if parts[:1] == ["stimuli"] else parts)


def read_trials(path, folder, betas, needs_split=True):
    """The trials of a subject that showed something.

    Parameters
    ----------
    path, folder : pathlib.Path
        The whole folder, and the subject's in it.
    betas : dict of pathlib.Path to int
        The files of betas in order, and the number of volumes of each.
    needs_split : bool
        Whether it must be said which trials are for testing; otherwise all may be for training.

    Returns
    -------
    trials : list of Trial
        In the order of the files and of their volumes.

    Raises
    ------
    InputError
        Events are absent, have another number of rows than there are volumes, name no stimulus, or do not say which
        trials are for testing.
    """
    found = events_files(path, folder)
    if not found:
        raise InputError(f"{folder} has no events; save a row per trial there as {folder.name}_events.tsv.")
    numbers = {key: _numbers(entities(file).get(key, "1") for file in (*found, *betas)) for key in ("ses", "run")}
    tables, trials, first_names = {file: _read_tsv(file) for file in found}, [], {}
    for number, (file, n_volumes) in enumerate(betas.items()):
        for row, (events, column, entry) in enumerate(_rows(file, n_volumes, tables)):
            name = entry[column].strip()
            if name in NOTHING:
                continue
            stimulus = picture_id(name) if column == "stim_file" else name
            if first_names.setdefault(stimulus, name) != name:
                raise InputError(
                    f"{events} names {first_names[stimulus]} and {name}, which would both have the id {stimulus}; "
                    "rename one of them."
                )
            of_file = entities(events) | entities(file)
            session, run = (numbers[key][of_file.get(key, "1")] for key in ("ses", "run"))
            trials.append(Trial(number, row, stimulus, session, run, (entry.get("split") or "").strip()))
    check_ids(first_names, found[0])
    return _with_splits(trials, path, folder, found[0], needs_split)


def _rows(betas, n_volumes, tables):
    """(events file, column of ids, entry) of each volume of a file of betas."""
    wanted = {key: value for key, value in entities(betas).items() if key in WHICH_EVENTS}
    used = [file for file in tables if wanted.items() <= entities(file).items()]
    if not used:
        raise InputError(f"{betas} has no events of {_said(wanted)}; save a row per trial as ..._events.tsv beside it.")
    rows = []
    for file in used:
        entries = tables[file]
        column = next((name for name in ID_COLUMNS if entries and name in entries[0]), None)
        if column is None:
            raise InputError(f"{file} has none of the columns {', '.join(ID_COLUMNS)}; add one that names the picture.")
        rows += [(file, column, {key: value or "" for key, value in entry.items()}) for entry in entries]
    shown = [row for row in rows if row[2][row[1]].strip() not in NOTHING]
    for whole in (rows, shown):
        # Betas may have been estimated for the trials only that showed something.
        if len(whole) == n_volumes:
            return whole
    names = used[0].name if len(used) == 1 else f"{used[0].name} to {used[-1].name}"
    raise InputError(
        f"{betas} has {n_volumes:,} volumes but {names} {len(rows):,} rows, {len(shown):,} of them with a stimulus; "
        "give one row per volume."
    )


def _with_splits(trials, path, folder, events, needs_split):
    if any(trial.split for trial in trials):
        unnamed = next((trial for trial in trials if trial.split.lower() in ("", *EMPTY_CELLS)), None)
        if unnamed:
            raise InputError(
                f"Column split of the events in {events.parent} is {unnamed.split or 'empty'} for stimulus "
                f"{unnamed.stimulus_id}; write train or test in every row."
            )
        split_of = {}
        for trial in trials:
            if (other := split_of.setdefault(trial.stimulus_id, trial.split)) != trial.split and "train" in (
                other,
                trial.split,
            ):
                names = "train and " + (trial.split if other == "train" else other)
                raise InputError(
                    f"Column split of the events in {events.parent} has stimulus {trial.stimulus_id} in both {names}; "
                    "a training stimulus may be in no other split, so write one of them."
                )
    else:
        shown = {trial.stimulus_id for trial in trials}
        told, where = _listed_splits(path, folder, shown)
        if told is None and not needs_split:
            told = dict.fromkeys(shown, "train")
        if told is None:
            raise InputError(
                f"{folder} does not say which trials are for testing; add a column split (train or test) to the events, "
                f"or {path / 'test_stimuli.txt'} with the id of a test stimulus per line, or test every stimulus once, as with "
                "--folds 10."
            )
        absent = next((trial.stimulus_id for trial in trials if trial.stimulus_id not in told), None)
        if absent:
            raise InputError(f"{where} does not name stimulus {absent}; add it with train or test.")
        trials = [trial._replace(split=told[trial.stimulus_id]) for trial in trials]
    found = {trial.split for trial in trials}
    if not ({"train", "test"} if needs_split else {"train"}) <= found:
        raise InputError(
            f"The trials of {folder} are all for {', '.join(sorted(found))[:80]}; write train for some stimuli and test "
            "for others."
        )
    return trials


def _listed_splits(path, folder, shown):
    """Stimulus id -> split as split.tsv or test_stimuli.txt say, and that file; None if there is neither."""
    for place in dict.fromkeys((folder, path)):
        if (place / "split.tsv").exists():
            entries = _read_tsv(place / "split.tsv")
            if not entries or not {"stimulus_id", "split"} <= entries[0].keys():
                raise InputError(f"{place / 'split.tsv'} has no columns stimulus_id and split; add both.")
            named = {entry["stimulus_id"]: entry["split"] or "" for entry in entries}
            return {_as_shown(name, shown): split for name, split in named.items()}, place / "split.tsv"
        if (place / "test_stimuli.txt").exists():
            lines = _text(place / "test_stimuli.txt").splitlines()
            test = {_as_shown(line.strip(), shown): line.strip() for line in lines if line.strip()}
            unknown = sorted(test.keys() - shown)
            if unknown:
                raise InputError(
                    f"{place / 'test_stimuli.txt'} names {test[unknown[0]]}, which no trial "
                    f"shows{said_of(unknown[0], sorted(shown))}; write ids as in the events."
                )
            return {name: "test" if name in test else "train" for name in shown}, place / "test_stimuli.txt"
    return None, None


def _as_shown(name, shown):
    """A stimulus as it was named, or the id of the picture file that was named."""
    return name if name in shown else picture_id(name) if name else ""


def _said(wanted):
    return ", ".join(f"{key}-{value}" for key, value in wanted.items()) or "this subject"


def _natural(label):
    return (0, int(label), "") if label.isdecimal() else (1, 0, label)


def _numbers(labels):
    """Label -> number: itself where all labels are numbers, else its place, from 1."""
    labels = sorted(set(labels), key=_natural)
    whole = all(label.isdecimal() for label in labels)
    return {label: int(label) if whole else place for place, label in enumerate(labels, 1)}


def _text(path):
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 ({error}); save it again.") from None


def _read_tsv(path):
    return read_table(path, "\t")
