"""The feature store: encode stimuli once, read them by blocks of columns.

A table holds one target's values for the stimuli of one split. Its folder is named after a hash of everything the values
depend on (stimuli, checkpoint, preprocessing), so that a changed checkpoint never meets stale values. Encoding writes
batch by batch into a file that carries its final name only when it is whole; an interrupted encoding goes on after the
last finished batch.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.errors import InputError
from stages.whole_files import alone, write_text

# Fixed, because the last digits of a matrix product depend on how many rows it has: values do not depend on who asked.
BATCH_SIZE = 64


def default_folder():
    """Folder of the feature store: $BRAINRECON_FEATURES, or `brainrecon/features` in the user's cache folder."""
    if folder := os.environ.get("BRAINRECON_FEATURES"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "brainrecon" / "features"


@dataclass(frozen=True)
class FeatureTable:
    """One target's values for the stimuli of a split, on disk.

    Attributes
    ----------
    folder : Path
    stimulus_ids : tuple of str
        Order of the rows.
    shape : tuple of int
        (n_stimuli, n_targets).
    """

    folder: Path
    stimulus_ids: tuple[str, ...]
    shape: tuple[int, int]

    @property
    def values(self):
        """Memory-mapped array of shape (n_stimuli, n_targets), float32, read-only."""
        return np.load(self.folder / "values.npy", mmap_mode="r", allow_pickle=False)

    def columns(self, start, stop):
        """Columns `start` to `stop` for all stimuli, shape (n_stimuli, stop - start), read into memory."""
        return np.array(self.values[:, start:stop])

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype)


class FeatureStore:
    """A folder of feature tables.

    Parameters
    ----------
    folder : path, optional
        Where tables are kept; `default_folder()` where it is not given.
    """

    def __init__(self, folder=None):
        self.folder = Path(folder) if folder is not None else default_folder()

    def encode(self, target, items, stimulus_ids, *, dataset, checkpoint, progress=None):
        """Return the table of a target's values, encoding what is missing.

        Parameters
        ----------
        target : a target of `stages.targets`
        items : sequence of length n_stimuli
            What the target takes: images (n_stimuli, height, width, 3) uint8, lazily read, or a list of captions for
            each stimulus.
        stimulus_ids : sequence of str
        dataset : str
            What identifies the stimuli, such as `Subject.fingerprint`.
        checkpoint : str
            Fingerprint of the target's checkpoint.
        progress : callable, optional
            Called with (label, done, total).

        Returns
        -------
        FeatureTable
        """
        stimulus_ids = [str(name) for name in stimulus_ids]
        if len(items) != len(stimulus_ids):
            raise InputError(
                f"There are {len(items):,} {target.takes} for {len(stimulus_ids):,} stimuli; "
                "pass one entry per stimulus."
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
        }
        folder = self.folder / f"{target.name}-{_hash(identity)[:16]}"
        table = FeatureTable(folder, tuple(stimulus_ids), (len(stimulus_ids), target.n_targets))
        if not (folder / "values.npy").exists():
            with alone(folder):
                # Another process may have finished it in the meantime.
                if not (folder / "values.npy").exists():
                    write_text(folder / "config.json", json.dumps(identity, indent=1, sort_keys=True) + "\n")
                    _write(target, items, table, progress)
        return table


def _write(target, items, table, progress):
    """Encode `items` into the table's file, from the last finished batch on."""
    partial, state = table.folder / "values.partial.npy", table.folder / "values.partial.json"
    done = 0
    if partial.exists() and state.exists():
        done = json.loads(state.read_text())["rows"]
        values = np.lib.format.open_memmap(partial, mode="r+")
    if done == 0:
        values = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=table.shape)
    n_stimuli = table.shape[0]
    for start in range(done, n_stimuli, BATCH_SIZE):
        stop = min(start + BATCH_SIZE, n_stimuli)
        batch = target.encode(items[start:stop])
        if not np.isfinite(batch).all():
            raise InputError(
                f"Target {target.name} has values that are not finite for stimuli {start} to {stop - 1}; "
                "check the stimuli, and the checkpoint with `brainrecon weights verify`."
            )
        values[start:stop] = batch
        values.flush()
        write_text(state, json.dumps({"rows": stop}))
        if progress:
            progress(f"encoding {target.name}", stop, n_stimuli)
    del values
    os.replace(partial, table.folder / "values.npy")
    state.unlink(missing_ok=True)


def _hash(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
