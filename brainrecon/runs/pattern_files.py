"""Patterns of one's own in a file, as `--betas` takes them: what is read is told by the name."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import safe_open

from stages.ground.errors import InputError
from stages.ground.reading.numpy_files import npz_file, read_npy
from stages.ground.reading.wall import reading
from stages.ground.table_cells import text_of

SUFFIXES = (".npy", ".npz", ".safetensors", ".csv", ".tsv")
# What the array is called in a file of several, and the column, or array, of stimulus ids.
NAMES = ("patterns", "betas")
IDS = "stimulus_ids"
_ID_COLUMNS = ("stimulus_id", IDS, "stimulus", "id", "")


class Patterns(NamedTuple):
    """Patterns, and whose they are.

    Attributes
    ----------
    values : array of shape (n_stimuli, n_voxels), float32, all finite
    stimulus_ids : list of str, length n_stimuli
        As the file has them, each once; ``row00000`` and so on if it has none.
    """

    values: np.ndarray
    stimulus_ids: list[str]


def read_patterns(path):
    r"""Patterns in a file.

    >>> path = getfixture("tmp_path") / "new.csv"
    >>> _ = path.write_text("stimulus_id,v1,v2\ncat,0.5,1\ndog,-1,2\n")
    >>> read_patterns(path).values.tolist(), read_patterns(path).stimulus_ids
    ([[0.5, 1.0], [-1.0, 2.0]], ['cat', 'dog'])

    Parameters
    ----------
    path : path
        - ``.npy``: numbers of shape (n_stimuli, n_voxels), a row per stimulus.
        - ``.npz``, ``.safetensors``: such an array, alone or called "patterns" or "betas"; ids in "stimulus_ids", of
          safetensors in the metadata.
        - ``.csv``, ``.tsv``: a row per stimulus, with or without a head; a first column "stimulus_id" has the ids.

    Returns
    -------
    Patterns

    Raises
    ------
    InputError
        The file is absent, damaged, or holds another kind of array; values are not finite; an id stands twice.
    """
    path = Path(path)
    readers = {".npy": _from_npy, ".npz": _from_npz, ".safetensors": _from_safetensors, ".csv": _from_table}
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path} is named {suffix or 'without an ending'}; expected patterns in {', '.join(SUFFIXES)}: save them with "
            "numpy.save('new.npy', patterns)."
        )
    values, ids = readers[".csv" if suffix == ".tsv" else suffix](path)
    values = np.asarray(values)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise InputError(
            f"{path} holds an array of shape {values.shape} and type {values.dtype}; "
            "expected numbers of shape (n_stimuli, n_voxels): save patterns with numpy.save, a row per stimulus."
        )
    # What is too large for float32 is infinite there.
    with np.errstate(over="ignore"):
        values = values.astype(np.float32, copy=False)
    if bad := int((~np.isfinite(values)).any(axis=0).sum()):
        raise InputError(
            f"{bad:,} of {values.shape[1]:,} voxels in {path} are NaN or infinite; mend or mask those voxels."
        )
    return Patterns(values, _checked_ids(ids, len(values), path))


def _checked_ids(ids, n_stimuli, path):
    if ids is None:
        return [f"row{row:05d}" for row in range(n_stimuli)]
    ids = [str(name) for name in ids]
    if len(ids) != n_stimuli:
        raise InputError(f"{path} has {n_stimuli:,} patterns but {len(ids):,} stimulus ids; give one per pattern.")
    if len(set(ids)) < len(ids):
        raise InputError(
            f"{path} names stimulus {max(ids, key=ids.count)} {ids.count(max(ids, key=ids.count))} times; average its rows, or "
            "give each row an id of its own."
        )
    return ids


def _from_npy(path):
    return read_npy(path, remedy="save patterns with numpy.save"), None


def _from_npz(path):
    with npz_file(path) as archive:
        name = _pattern_name([name for name in archive.names if name != IDS], path)
        return archive.read(name), archive.read(IDS).reshape(-1) if IDS in archive.names else None


def _from_safetensors(path):
    with reading(path, "safetensors", "save it again with safetensors.numpy.save_file"):
        with safe_open(path, framework="numpy") as file:
            ids = (file.metadata() or {}).get(IDS)
            if ids is not None and not isinstance(ids := json.loads(ids), list):
                raise ValueError("its stimulus ids are no list")
            return file.get_tensor(_pattern_name(list(file.keys()), path)), ids


def _pattern_name(names, path):
    """The array of patterns among those of a file: the only one, or the one that is called so."""
    known = [name for name in NAMES if name in names] or (names if len(names) == 1 else [])
    if len(known) != 1:
        raise InputError(
            f"{path} holds {', '.join(sorted(names)) or 'no array'}; expected one array of patterns, or one called "
            f"{' or '.join(map(repr, NAMES))}: save it alone with numpy.save."
        )
    return known[0]


def _from_table(path):
    with reading(path, "a table", "save it again with commas, a row per stimulus"):
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = max("\t,;", key=first.count)
            rows = [row for row in csv.reader(file, delimiter=separator) if any(cell.strip() for cell in row)]
    if not rows:
        raise InputError(f"{path} holds no row; write a row per stimulus.")
    head = rows.pop(0) if not all(map(_is_number, rows[0][1:] or rows[0])) else None
    if not rows:
        raise InputError(f"{path} holds a head, {','.join(head)[:60]!r}, and no row; write a row per stimulus.")
    widths = {len(row) for row in (*rows, *([head] if head else []))}
    if len(widths) > 1:
        raise InputError(
            f"{path} has rows of {min(widths):,} to {max(widths):,} cells; expected as many in each: save it again."
        )
    has_ids = head is not None and head[0].strip().lower() in _ID_COLUMNS
    has_ids = has_ids or not all(_is_number(row[0]) for row in rows)
    ids = [text_of(row[0].strip()) for row in rows] if has_ids else None
    cells = [row[1:] if has_ids else row for row in rows]
    for number, row in enumerate(cells, start=1):
        if wrong := [cell for cell in row if not _is_number(cell)]:
            raise InputError(
                f"Row {number:,} of {path} holds {wrong[0]!r}; expected numbers, behind a column of ids at most: mend that row."
            )
    return np.array(cells, dtype=np.float64).reshape(len(cells), -1), ids


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True
