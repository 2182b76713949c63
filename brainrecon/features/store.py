"""The feature store: encode stimuli once, read them by blocks of columns.

A table holds one target's values for the stimuli of one split. Its folder is named after a hash of everything the values
depend on (stimuli, checkpoint, preprocessing) and of how they are laid out, so that a changed checkpoint never meets stale
values. Encoding appends batch by batch to a file of rows; an interrupted encoding goes on after the last finished batch.
When all rows are there they are rearranged for reading by columns, into a file that carries its final name only when it
is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from brainrecon.features.table import FeatureTable, arrange
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.partial_files import sweep
from weights.seals import complete_seal, seal
from weights.suggestions import did_you_mean
from weights.whole_files import locked, named_errors, write_text

# Fixed, because the last digits of a matrix product depend on how many rows it has: values do not depend on who asked.
BATCH_SIZE = 64
DTYPES = ("float32", "float16")
# Part of every table's identity: a table that was laid out otherwise has another folder.
LAYOUT = f"runs of {FeatureTable.COLUMN_RUN} columns"


def default_folder():
    """Folder of the feature store: $BRAINRECON_FEATURES, or `brainrecon/features` in the user's cache folder."""
    if folder := os.environ.get("BRAINRECON_FEATURES"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "brainrecon" / "features"


class FeatureStore:
    """A folder of feature tables.

    Parameters
    ----------
    folder : path, optional
        Where tables are kept; `default_folder()` if it is not given.
    """

    def __init__(self, folder=None):
        self.folder = Path(folder) if folder is not None else default_folder()

    def encode(self, target, items, stimulus_ids, *, dataset, checkpoint, dtype="float32", load=None, progress=SILENT):
        """Return the table of a target's values, encoding what is missing.

        Parameters
        ----------
        target : a target of `stages.targets`
            Where it has a method ``prepare(items, folder, progress)``, that is called first, with the store's folder.
        items : sequence of length n_stimuli
            What the target takes: images (n_stimuli, height, width, 3) uint8, lazily read, or a list of captions for
            each stimulus.
        stimulus_ids : sequence of str
        dataset : str
            What identifies the stimuli, such as `Subject.fingerprint`.
        checkpoint : str
            Fingerprint of the target's checkpoint.
        dtype : {"float32", "float16"}
            Of the values on disk. float16 takes half the room and keeps three digits.
        load : callable, optional
            ``load() -> target``: the one that encodes, if `target` knows its shape and preprocessing only; called if there is
            something to encode.
        progress : callable, optional
            Called with (label, done, total).

        Returns
        -------
        FeatureTable

        Raises
        ------
        InputError
            Numbers of items and stimuli that differ, values that are not finite or do not fit into float16, a table that
            was damaged since it was written.
        """
        stimulus_ids = [str(name) for name in stimulus_ids]
        if len(items) != len(stimulus_ids):
            raise InputError(
                f"There are {len(items):,} {target.takes} for {len(stimulus_ids):,} stimuli; "
                "pass one entry per stimulus."
            )
        if not stimulus_ids:
            raise InputError(f"There are 0 stimuli to encode with target {target.name}; pass one or more.")
        if dtype not in DTYPES:
            raise InputError(
                f"dtype is {dtype!r}; expected one of {', '.join(map(repr, DTYPES))}{did_you_mean(dtype, DTYPES)}."
            )
        identity = {
            "dataset": dataset,
            "target": target.name,
            "shape": list(target.shape),
            "checkpoint": checkpoint,
            "preprocessing": target.preprocessing,
            "stimuli": _hash(stimulus_ids),
            # Images are identified by the dataset's fingerprint; captions can be replaced by the user.
            "items": _hash(list(map(list, items))) if target.takes == "captions" else None,
            "n_stimuli": len(stimulus_ids),
            "n_targets": int(target.n_targets),
            "dtype": dtype,
            "layout": LAYOUT,
        }
        table = _table(self.folder / _folder_name(identity), identity, stimulus_ids)
        if not table.path.exists():
            with locked(table.folder):
                # Another process may have finished it in the meantime.
                if not table.path.exists():
                    write_text(table.folder / "stimuli.json", json.dumps(stimulus_ids) + "\n")
                    write_text(table.folder / "config.json", json.dumps(identity, indent=1, sort_keys=True) + "\n")
                    target = load() if load is not None else target
                    if hasattr(target, "prepare"):
                        # What takes long has files of its own here, that several targets may share.
                        target.prepare(items, self.folder, progress)
                    _write(target, items, table, progress)
                    _forget_rows(table)
                    seal(table.folder)
        # A process may have been killed before it did so.
        sweep(table.folder)
        _forget_rows(table)
        complete_seal(table.folder, table.path.name)
        # A damaged file is noticed here, and not in the middle of a fit.
        table.check()
        return table

    def table(self, folder_name, stimulus_ids=None):
        """Open a table again that `encode` once returned.

        Parameters
        ----------
        folder_name : str
            Name of its folder inside the store, `table.folder.name`.
        stimulus_ids : sequence of str, optional
            What its rows are expected to be, in order.

        Returns
        -------
        FeatureTable

        Raises
        ------
        InputError
            No such table, an unfinished or damaged one, other stimuli.
        """
        folder = self.folder / folder_name
        if folder.name != folder_name or not os.path.isdir(folder):
            raise InputError(
                f"There is no feature table {folder_name!r} in {self.folder}; run `brainrecon features` or `brainrecon fit` "
                "again, or name the store that holds it with BRAINRECON_FEATURES."
            )
        try:
            identity = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            names = json.loads((folder / "stimuli.json").read_text(encoding="utf-8"))
            belongs = identity["layout"] == LAYOUT and _folder_name(identity) == folder_name
            belongs = belongs and identity["stimuli"] == _hash(names)
        except (OSError, ValueError, LookupError, TypeError):
            belongs = False
        if not belongs:
            raise InputError(
                f"config.json and stimuli.json in {folder} are missing, changed, or of another version; delete that folder "
                "and run `brainrecon features` or `brainrecon fit` again."
            )
        table = _table(folder, identity, names)
        if not table.path.exists():
            raise InputError(
                f"The feature table in {folder} is not finished; run `brainrecon features` or `brainrecon fit` again."
            )
        if stimulus_ids is not None and table.stimulus_ids != (asked := tuple(map(str, stimulus_ids))):
            raise InputError(
                f"The feature table {folder_name} holds {_described(table.stimulus_ids)} but {_described(asked)} are expected; "
                "run `brainrecon fit` again."
            )
        # A damaged file is noticed here, and not in the middle of a fit.
        table.check()
        return table


def _table(folder, identity, stimulus_ids):
    shape = identity["n_stimuli"], identity["n_targets"]
    return FeatureTable(folder, tuple(stimulus_ids), shape, np.dtype(identity["dtype"]))


def _write(target, items, table, progress):
    """Encode `items` into the table's file, from the last finished batch on."""
    rows, state = _unfinished(table)
    n_stimuli, n_targets = table.shape
    row_bytes = n_targets * table.dtype.itemsize
    done = _finished(rows, state, row_bytes)
    with named_errors(rows), open(rows, "r+b" if done else "wb") as file:
        # What follows the last finished batch may be half of the next.
        file.truncate(done * row_bytes)
        file.seek(0, os.SEEK_END)
        for start in range(done, n_stimuli, BATCH_SIZE):
            stop = min(start + BATCH_SIZE, n_stimuli)
            batch = np.reshape(target.encode(items[start:stop]), (stop - start, n_targets))
            file.write(_stored(batch, table.dtype, f"Target {target.name}", f"stimuli {start} to {stop - 1}"))
            file.flush()
            os.fsync(file.fileno())
            write_text(state, json.dumps({"rows": stop}))
            progress(f"encoding {target.name}", stop, n_stimuli)
    with named_errors(table.path):
        for run in arrange(np.memmap(rows, table.dtype, mode="r", shape=table.shape), table):
            progress(f"arranging {target.name}", run, table.file_shape[0])


def _forget_rows(table):
    """Remove what only an unfinished table needs."""
    for path in _unfinished(table):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _unfinished(table):
    """Files of rows that are encoded, and of how many they are."""
    return table.folder / "rows.partial", table.folder / "rows.partial.json"


def _finished(rows, state, row_bytes):
    """How many rows an interrupted encoding finished; 0 where its two files do not tell the same."""
    try:
        done = json.loads(state.read_text())["rows"]
        return done if rows.stat().st_size >= done * row_bytes else 0
    except (FileNotFoundError, ValueError):
        return 0


def _stored(batch, dtype, target, stimuli):
    """Values in the table's dtype, C-contiguous; an InputError if that is impossible."""
    if not np.isfinite(batch).all():
        raise InputError(
            f"{target} has values that are not finite for {stimuli}; "
            "check the stimuli, and the checkpoint with `brainrecon weights verify`."
        )
    with np.errstate(over="ignore"):
        stored = batch.astype(dtype, order="C")
    if not np.isfinite(stored).all():
        raise InputError(
            f"{target} reaches {np.abs(batch).max():,.0f} for {stimuli} but {dtype} ends at {np.finfo(dtype).max:,.0f}; "
            "encode with dtype='float32'."
        )
    return stored


def _described(stimulus_ids):
    first = f", the first {stimulus_ids[0]!r}" if stimulus_ids else ""
    return f"{len(stimulus_ids):,} stimuli{first}"


def _folder_name(identity):
    return f"{identity['target']}-{_hash(identity)[:16]}"


def _hash(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
