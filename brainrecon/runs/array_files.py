"""Arrays with a row per stimulus, written in the format that the file's name says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from stages.ground.errors import InputError
from stages.ground.table_cells import text_cell
from weights.whole_files import whole_file

SUFFIXES = (".safetensors", ".npz", ".npy", ".csv")


def check_suffix(path, names):
    """Refuse a name that says no format, or one that cannot hold so many arrays, before they are computed.

    >>> check_suffix("out.npy", ["clip_image", "clip_text"])
    Traceback (most recent call last):
    stages.ground.errors.InputError: out.npy holds one array and there are 2 (clip_image, clip_text); name a file in .npz, \
.safetensors or .csv.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path} is named {suffix or 'without an ending'}, no format of arrays; expected one of {', '.join(SUFFIXES)}."
        )
    if suffix == ".npy" and len(names) != 1:
        raise InputError(
            f"{path} holds one array and there are {len(names)} ({', '.join(names)}); name a file in .npz, .safetensors or .csv."
        )


def write_arrays(path, arrays, stimulus_ids):
    """Write arrays into one file, whole or not at all.

    >>> path = getfixture("tmp_path") / "predicted.csv"
    >>> write_arrays(path, {"clip": np.float32([[0.5, 1], [2, -1]])}, ["cat", "dog"])
    >>> path.read_text().splitlines()
    ['stimulus_id,clip.0,clip.1', 'cat,0.5,1.0', 'dog,2.0,-1.0']

    Parameters
    ----------
    path : path
        - ``.safetensors``: by name; the ids as JSON in the metadata, ``stimulus_ids``.
        - ``.npz``: by name; the ids in ``stimulus_ids``.
        - ``.npy``: the one array; its rows are in the order of `stimulus_ids`.
        - ``.csv``: a row per stimulus, its id first, then a column NAME.0, NAME.1, ... for each value, with all its digits.
    arrays : mapping of str to array of shape (n_stimuli, n_values), float32
    stimulus_ids : sequence of str, length n_stimuli

    Raises
    ------
    InputError
        As `check_suffix`.
    """
    path, ids = Path(path), [str(name) for name in stimulus_ids]
    check_suffix(path, list(arrays))
    arrays = {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in arrays.items()}
    with whole_file(path) as partial:
        if path.suffix.lower() == ".safetensors":
            save_file(arrays, partial, metadata={"stimulus_ids": json.dumps(ids)})
        elif path.suffix.lower() == ".csv":
            _write_table(partial, arrays, ids)
        else:
            with open(partial, "wb") as file:
                if path.suffix.lower() == ".npz":
                    np.savez(file, **arrays, stimulus_ids=np.array(ids, dtype=str))
                else:
                    np.save(file, next(iter(arrays.values())))


def _write_table(path, arrays, ids):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        head = [text_cell(f"{name}.{column}") for name, values in arrays.items() for column in range(values.shape[1])]
        writer.writerow(["stimulus_id", *head])
        for row, name in enumerate(ids):
            # As text each value has the fewest digits that give it back.
            writer.writerow(
                [text_cell(name), *(cell for values in arrays.values() for cell in values[row].astype(str))]
            )
