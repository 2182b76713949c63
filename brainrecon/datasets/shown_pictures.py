"""The pictures that were shown, written in the order of a split, for programs that compare them row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.ground.errors import InputError
from stages.ground.media import PICTURE
from stages.ground.progress import SILENT
from weights.partial_files import is_partial
from weights.whole_files import whole_file, write_text

IDS = "stimulus_ids.txt"
PICTURES_PER_BLOCK = 64


def write_shown_pictures(split, path, where="these data", progress=SILENT):
    """Write the pictures of a split, one for each of its `stimulus_ids` and in their order.

    >>> from brainrecon.datasets import load
    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> write_template("my-study")
    >>> write_shown_pictures(load("arrays:my-study").test, "shown")
    >>> sorted(file.name for file in Path("shown").iterdir())[:2]
    ['0000.png', '0001.png']

    Parameters
    ----------
    split : brainrecon.datasets.split.Split
    path : path
        - a folder, new or empty: 0000.png, 0001.png, ..., and ``stimulus_ids.txt``, the id of each row, one a line;
        - ``NAME.npy``: uint8 (n_stimuli, height, width, 3), and ``NAME-stimulus_ids.txt`` beside it;
        - ``NAME.npz``: the same array as ``images``, and ``stimulus_ids``.
    where : str
        Whose pictures they are, for messages.
    progress : callable, optional
        Called with (label, done, total).

    Raises
    ------
    InputError
        There are no pictures, or the folder holds something.
    """
    path, ids = Path(path), [str(name) for name in split.stimulus_ids]
    if split.images is None:
        raise InputError(f"{where} has no pictures; put them where `brainrecon data files` says.")
    listed = "".join(f"{name}\n" for name in ids)
    if path.suffix.lower() in (".npy", ".npz"):
        with whole_file(path) as partial, open(partial, "wb") as file:
            if path.suffix.lower() == ".npz":
                np.savez(file, images=split.images[:], stimulus_ids=np.array(ids, dtype=str))
            else:
                np.save(file, split.images[:])
        if path.suffix.lower() == ".npy":
            write_text(path.with_name(f"{path.stem}-{IDS}"), listed)
        return
    if path.is_file() or (path.is_dir() and not all(is_partial(file) for file in path.iterdir())):
        raise InputError(f"{path} is there already; name a new folder, or a file in .npy or .npz, with --out.")
    digits = max(4, len(str(len(ids) - 1)))
    for start in range(0, len(ids), PICTURES_PER_BLOCK):
        for row, picture in enumerate(split.images[start : start + PICTURES_PER_BLOCK], start):
            PICTURE.write(path / f"{row:0{digits}d}.png", np.asarray(picture))
        progress("pictures", min(start + PICTURES_PER_BLOCK, len(ids)), len(ids))
    write_text(path / IDS, listed)
