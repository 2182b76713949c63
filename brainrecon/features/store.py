"""The feature store: encode stimuli once, read them by blocks of columns or by rows.

A table holds one target's values for the stimuli of one split. Its folder is named after a hash of everything the values
depend on (stimuli, checkpoint, preprocessing) and of how they are laid out, so that a changed checkpoint never meets stale
values. Every batch that is encoded is a file of its own, whole or absent: an interrupted encoding goes on with those that are
missing, and several machines may share one, with or without locks. When all are there they are rearranged for reading by
columns, or put one below the other for reading by rows, into a file that carries its final name only when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from brainrecon.features.arranging import Batches, OtherWay, arrange_table
from brainrecon.features.row_table import RowTable
from brainrecon.features.table import FeatureTable
from stages.ground.ending import finished_first
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.partial_files import sweep
from weights.seals import complete_seal, seal
from weights.suggestions import did_you_mean
from weights.whole_files import locked, whole_file, write_text

# Fixed, because the last digits of a matrix product depend on how many rows it has: values do not depend on who asked.
BATCH_SIZE = 64
DTYPES = ("float32", "float16")
# Part of every table's identity: a table that was laid out otherwise has another folder.
LAYOUT = f"runs of {FeatureTable.COLUMN_RUN} columns"
LAYOUT_BY_ROWS = "rows"
WAYS = ("columns", "rows")
_BATCHES = "batches.partial"


def default_folder():
    """Folder of the feature store: $BRAINRECON_FEATURES, or `brainrecon/features` in the user's cache folder."""
    if folder := os.environ.get("BRAINRECON_FEATURES"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "brainrecon" / "features"


class FeatureStore:
    """A folder of feature tables.

    >>> class Colour:
    ...     name, takes, shape, n_targets, preprocessing = "colour", "images", (3,), 3, {}
    ...     def encode(self, images, batch_size=64):
    ...         return np.asarray(images, dtype=np.float32).mean(axis=(1, 2))
    >>> store = FeatureStore("features")
    >>> pictures = np.full((5, 8, 8, 3), 100, dtype=np.uint8)
    >>> table = store.encode(Colour(), pictures, list("abcde"), dataset="plain pictures", checkpoint="none")
    >>> table.shape, table[[2]].tolist()
    ((5, 3), [[100.0, 100.0, 100.0]])

    Parameters
    ----------
    folder : path, optional
        Where tables are kept; `default_folder()` if it is not given.
    """

    def __init__(self, folder=None):
        self.folder = Path(folder) if folder is not None else default_folder()

    def encode(
        self,
        target,
        items,
        stimulus_ids,
        *,
        dataset,
        checkpoint,
        dtype="float32",
        load=None,
        rows=None,
        by="columns",
        progress=SILENT,
    ):
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
        rows : (start, stop), optional
            Encode these stimuli alone, from a multiple of `BATCH_SIZE` on, and leave others to others; whoever asks for all
            arranges them.
        by : {"columns", "rows"}
            How they lie: for those who go through all stimuli by blocks of columns, as ridge does, or for those who take some
            stimuli from anywhere, as a training by batches. A table that lies the other way already is arranged anew, and
            nothing is encoded.
        progress : callable, optional
            Called with (label, done, total).

        Returns
        -------
        FeatureTable, or brainrecon.features.row_table.RowTable
            With `rows`, not finished: it cannot be read.

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
        if by not in WAYS:
            raise InputError(f"by is {by!r}; expected one of {', '.join(map(repr, WAYS))}{did_you_mean(by, WAYS)}.")
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
            "layout": LAYOUT_BY_ROWS if by == "rows" else LAYOUT,
        }
        table = _table(self.folder / _folder_name(identity), identity, stimulus_ids)
        if rows is not None:
            if rows[0] % BATCH_SIZE or (rows[1] % BATCH_SIZE and rows[1] != len(items)):
                raise InputError(
                    f"Rows {rows[0]:,} to {rows[1]:,} were asked for; expected multiples of {BATCH_SIZE}, or the end, "
                    f"{len(items):,}, so that values do not depend on who encodes them."
                )
            if not table.path.exists():
                _describe(table, identity)
                self._encode(target, items, table, load, progress, range(*rows))
            return table
        if not table.path.exists():
            with locked(table.folder):
                # Another process may have finished it in the meantime.
                if not table.path.exists():
                    _describe(table, identity)
                    other = self._other_way(identity, stimulus_ids)
                    if other is None:
                        self._encode(target, items, table, load, progress, range(len(items)))
                        other = Batches(batch_files(table, 0, len(table)), table, BATCH_SIZE)
                    arrange_table(other, table, progress, f"arranging {target.name}")
                    _forget_batches(table)
                    seal(table.folder)
        # A process may have been killed before it did so.
        sweep(table.folder)
        _forget_batches(table)
        complete_seal(table.folder, table.path.name)
        # A damaged file is noticed here, and not in the middle of a fit.
        table.check()
        return table

    def _other_way(self, identity, stimulus_ids):
        """The same values as they lie the other way, `OtherWay`; None if they are not there."""
        other = identity | {"layout": LAYOUT if identity["layout"] == LAYOUT_BY_ROWS else LAYOUT_BY_ROWS}
        table = _table(self.folder / _folder_name(other), other, stimulus_ids)
        if not table.path.exists():
            return None
        table.check()
        return OtherWay(table)

    def _encode(self, target, items, table, load, progress, rows):
        """Encode those batches of some rows whose files are missing."""
        parts = [slice(start, min(start + BATCH_SIZE, rows.stop)) for start in rows[::BATCH_SIZE]]
        missing = [part for part in parts if not _batch(table, part.start).exists()]
        if not missing:
            return
        target = load() if load is not None else target
        if hasattr(target, "prepare"):
            # What takes long has files of its own here, that several targets may share.
            target.prepare(items, self.folder, progress)
        done = len(rows) - sum(part.stop - part.start for part in missing)
        for part, batch in _read_ahead(items, missing):
            n, stimuli = part.stop - part.start, f"stimuli {part.start} to {part.stop - 1}"
            with finished_first("batch"):
                values = np.reshape(target.encode(batch), (n, table.shape[1]))
                stored = _stored(values, table.dtype, f"Target {target.name}", stimuli)
                with whole_file(_batch(table, part.start)) as partial:
                    # Numpy's own way tells no number of an error of the disk.
                    partial.write_bytes(stored)
            done += n
            progress(f"encoding {target.name}", done, len(rows))

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
            belongs = identity["layout"] in (LAYOUT, LAYOUT_BY_ROWS) and _folder_name(identity) == folder_name
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


def missing_blocks(table, size):
    """Blocks of rows of a table of which a batch is missing, as `FeatureStore.encode` takes them.

    >>> table = FeatureTable(getfixture("tmp_path"), ("a",) * 150, (150, 8), np.dtype("float32"))
    >>> missing_blocks(table, 2 * BATCH_SIZE)
    [(0, 128), (128, 150)]

    Parameters
    ----------
    table : FeatureTable
    size : int
        Rows of a block, a multiple of `BATCH_SIZE`.

    Returns
    -------
    list of (start, stop)
        Empty if the table is there.
    """
    if table.path.exists():
        return []
    n = len(table)
    blocks = [(start, min(start + size, n)) for start in range(0, n, size)]
    return [rows for rows in blocks if not all(file.exists() for file in batch_files(table, *rows))]


def batch_files(table, start, stop):
    """Files of the batches of some rows, while the table is not finished."""
    return [_batch(table, first) for first in range(start, stop, BATCH_SIZE)]


def _table(folder, identity, stimulus_ids):
    shape = identity["n_stimuli"], identity["n_targets"]
    kind = RowTable if identity["layout"] == LAYOUT_BY_ROWS else FeatureTable
    return kind(folder, tuple(stimulus_ids), shape, np.dtype(identity["dtype"]))


def _describe(table, identity):
    """Write down what a table is of."""
    write_text(table.folder / "stimuli.json", json.dumps(list(table.stimulus_ids)) + "\n")
    write_text(table.folder / "config.json", json.dumps(identity, indent=1, sort_keys=True) + "\n")


def _batch(table, start):
    """File of the batch that begins with a row."""
    return table.folder / _BATCHES / f"{start:08d}.partial"


def _read_ahead(items: Sequence, parts: Sequence[slice]) -> Iterator[tuple[slice, Any]]:
    """Give parts of some items one by one; the next is read while the caller has the one before, and none after it.

    What reading raises is raised when its part is asked for.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="reading ahead") as reader:
        coming = [reader.submit(items.__getitem__, part) for part in parts[:1]]
        for here, following in zip(parts, (*parts[1:], None), strict=True):
            batch = coming.pop().result()
            if following is not None:
                coming.append(reader.submit(items.__getitem__, following))
            yield here, batch
            del batch


def _forget_batches(table):
    """Remove what only an unfinished table needs."""
    shutil.rmtree(table.folder / _BATCHES, ignore_errors=True)


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
