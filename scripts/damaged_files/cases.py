"""Valid files of every kind that the toolkit reads, each with what reads it."""

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from dataset_copies import COPIES

import brainrecon
from brainrecon.cli.main import run_command
from damaged_files.places import write_run
from damaged_files.single_files import digests, single_files

# What a run's file is read by, in order of the table.
READ_BY = {
    "config.toml": ("report",),
    "environment.json": ("reconstruct",),
    "decoder/*": ("predict",),
    "embeddings/*": ("reconstruct",),
    "stage_one/*": ("reconstruct",),
    "images/*": ("evaluate",),
    "manifest.jsonl": ("reconstruct",),
    "scores/*.json": ("report",),
    "features/*/*": ("predict", "evaluate"),
    "features/encoding/*/*": ("evaluate",),
    "features/encoding/*/ridge/*": ("evaluate",),
}


@dataclass(frozen=True)
class Case:
    """One valid file, and how the toolkit reads it.

    Attributes
    ----------
    kind : str
        For the table.
    root : pathlib.Path
        What is copied, a folder.
    file : pathlib.Path
        Below `root`.
    read : callable
        ``read(copy of root)``: reads it and returns a hash of each part of what came out.
    about : tuple of str
        Names one of which a refusal has to hold, beside the file's own.
    """

    kind: str
    root: Path
    file: Path
    read: object
    about: tuple = field(default=())


def cases_of_data(folder):
    """A case for every file of every kind of data."""
    cases = []
    for number, (name, (kind, make, options)) in enumerate(COPIES.items()):
        root = folder / f"data-{number}"
        root.mkdir(parents=True)
        path = make(root)

        read = partial(_read_data, kind=kind, below=path.relative_to(root), options=options)
        files = [one for one in sorted(root.rglob("*")) if one.is_file()]
        # Of many pictures and sessions a few.
        few = {}
        for one in files:
            few.setdefault((one.parent, one.suffix), []).append(one)
        chosen = [one for group in few.values() for one in group[:3]]
        cases += [Case(name, root, one.relative_to(root), read) for one in chosen]
    return cases


def _read_data(copy, kind, below, options):
    return _subject_digests(brainrecon.load(f"{kind}:{copy / below}", **options), str(copy))


def _subject_digests(subject, folder):
    """A hash for each part of a subject."""
    parts = {}

    def add(part, value):
        digest = parts.setdefault(part, hashlib.sha256())
        if value is None or isinstance(value, str | int | float | bool):
            digest.update(repr(value).encode())
        else:
            values = np.asarray(value)
            digest.update(f"{values.shape} {values.dtype}".encode())
            digest.update(
                repr(values.tolist()).encode() if values.dtype == object else np.ascontiguousarray(values).tobytes()
            )

    def told(value):
        return repr(value if value is None else [list(map(str, np.ravel(one))) for one in value])

    for name, split in subject.splits.items():
        add("betas", name)
        add("betas", split.betas)
        for ids in (split.trial_stimulus_ids, split.stimulus_ids):
            add("ids", ids)
        add("pictures", split.images)
        for part in ("sessions", "runs", "captions", "categories"):
            add(part, told(getattr(split, part)))
    for name, mask in sorted(subject.rois.items()):
        add("regions", name)
        add("regions", mask)
    # A note is a word about what was found.
    add("notes", repr([str(note).replace(folder, "") for note in subject.notes]))
    return {part: digest.hexdigest() for part, digest in parts.items()}


def cases_of_runs(folder):
    """A case for every file of a finished run, and of its feature store."""
    root = folder / "run"
    root.mkdir(parents=True)
    write_run(root)
    cases, places = [], {}
    for pattern, verbs in READ_BY.items():
        base = root if pattern.startswith("features") else root / "run"
        for one in [path for path in sorted(base.glob(pattern)) if path.is_file()][:4]:
            places[one] = (pattern, verbs)
    for one, (pattern, verbs) in places.items():
        for verb in verbs:
            cases.append(Case(f"run, {pattern}", root, one.relative_to(root), _reader_of_run(verb)))
    return cases


def cases_of_single_files(folder):
    """A case for every file that is read alone."""
    cases = []
    for kind, path, read in single_files(folder / "single"):
        cases.append(Case(kind, path.parent, Path(path.name), partial(_read_alone, read, path.name)))
    return cases


def _read_alone(read, name, copy):
    return digests(read(copy / name))


def _reader_of_run(verb):
    def read(copy):
        run, features = copy / "run", ("--features", copy / "features")
        match verb:
            case "predict":
                _typed("predict", run, "--out", copy / "predicted.safetensors", *features)
                return _hashed("embeddings", copy / "predicted.safetensors")
            case "reconstruct":
                # The first, of which the first file of stage one is read.
                drawn = sorted((run / "images").glob("*.png"))[0]
                drawn.unlink()
                _typed("reconstruct", run, *features)
                return _hashed("pictures", drawn)
            case "evaluate":
                _typed("evaluate", run, *features)
                return _hashed("scores", run / "scores" / "brainrecon-1.csv")
            case "report":
                _typed("report", run, *features)
                return {"report": "written"}

    return read


def _hashed(part, path):
    return {part: hashlib.sha256(path.read_bytes()).hexdigest()}


class Refused(Exception):
    """A command ended with exit code 2; its text is what it said."""


def _typed(*line):
    code = run_command([str(part) for part in line])
    if code:
        raise (Refused if code == 2 else RuntimeError)(f"exit code {code}")


def copied(case, folder):
    """A copy of a case's files by hard links, which costs nothing; the file that is to be damaged is a copy of its own."""
    shutil.copytree(case.root, folder, copy_function=os.link)
    file = folder / case.file
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)
    return file
