"""True values of the stimuli that are learned from, of one subject or of several: in memory, or read batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brainrecon.assembly.values import Training
from stages.ground.lazy_rows import ConcatenatedRows, as_rows


@dataclass(frozen=True)
class TrainingTables:
    """True values of the training stimuli of all subjects, one row for each stimulus of each table.

    Attributes
    ----------
    values : mapping of str to rows of shape (n_stimuli, *shape)
        By target; values of one target have one array.
    rows : mapping of str to int array
        By subject: the row of each of its training stimuli. Those of two subjects who saw the same stimuli are the same.
    owners : tuple of str
        Subjects whose training stimuli one after the other are the rows.
    same : int array of shape (n_stimuli,) or None
        Number of each row's stimulus; None if every one stands in one row.
    """

    values: Mapping[str, Any]
    rows: Mapping[str, np.ndarray]
    owners: tuple[str, ...]
    same: np.ndarray | None


def tables_of(training: Training, sources: Mapping[str, Any], room: float) -> TrainingTables:
    """Find the true values of all subjects' training stimuli.

    Parameters
    ----------
    training : Training
    sources : mapping of str to brainrecon.assembly.targets.TargetSource
        By value.
    room : float
        Bytes of memory that they may take: what takes more is read from tables by rows, and never as a whole.
    """
    subjects = training.subjects
    is_lazy = sum(one.train.n_stimuli for one in subjects.values()) * bytes_of_one(sources.values()) > room
    known, rows, parts, n_rows = {}, {}, {}, 0
    for name, subject in subjects.items():
        asked = ({"subject": name} if len(subjects) > 1 else {}) | ({"by": "rows"} if is_lazy else {})
        tables = training.features(tuple(sources), **asked)
        key = tuple(getattr(table, "folder", id(table)) for table in tables.values())
        if key not in known:
            known[key], parts[name] = n_rows, tables
            n_rows += subject.train.n_stimuli
        rows[name] = known[key] + np.arange(subject.train.n_stimuli)
    values = {}
    for name, source in sources.items():
        if source not in values:
            values[source] = concatenated([_rows_of(tables[name], source, is_lazy) for tables in parts.values()])
    same = None
    if len(parts) > 1:
        ids = np.concatenate([subjects[owner].train.stimulus_ids for owner in parts])
        there, numbers = np.unique(ids, return_inverse=True)
        same = numbers if len(there) < len(ids) else None
    return TrainingTables({name: values[source] for name, source in sources.items()}, rows, tuple(parts), same)


def bytes_of_one(sources: Iterable[Any]) -> int:
    """Bytes of the values of one stimulus; those of one target are counted once."""
    sizes = {source: int(np.prod(source.outline.shape)) for source in sources}
    return sum(n * np.dtype(source.dtype).itemsize for source, n in sizes.items())


def concatenated(parts: Sequence[Any]) -> Any:
    """One array as it is; several one below the other, which are read when they are asked for."""
    return parts[0] if len(parts) == 1 else ConcatenatedRows([as_rows(part) for part in parts])


def of_one(training: Training, name: str) -> Training:
    """What there is to learn from of one subject."""
    if len(training.subjects) == 1:
        return training

    def features(names, **how):
        return training.features(names, **{"subject": name, **how})

    return replace(training, subjects={name: training.subjects[name]}, features=features)


def _rows_of(table, source, is_lazy):
    """Values of a table in the shape of its target."""
    shape = source.outline.shape
    if is_lazy:
        return table.stored(shape)
    # In memory: a batch takes rows from anywhere, and a table lies by columns.
    return np.asarray(table, dtype=source.dtype).reshape(len(table), *shape)
