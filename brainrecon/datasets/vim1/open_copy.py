"""The copy of one person's responses that Neuromatch Academy keeps at OSF, open without an account.

FOLDER/
  kay_images.npz       stimuli, stimuli_test (n, 128, 128): grey pictures; responses, responses_test (n, n_voxels);
                       roi (n_voxels,), the number of each voxel's area; roi_names, the areas by their number
  kay_labels.npy       (4, n) text: a class that a network guessed of each training picture, and three levels above it    optional
  kay_labels_val.npy   the same of the test pictures                                                                     optional

Voxels without an area are not in it, and where voxels are is not said.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.download import fetch_all
from brainrecon.datasets.sources import osf
from brainrecon.datasets.vim1.recording import Recording
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_rows
from stages.ground.progress import SILENT, Progress
from stages.ground.reading.numpy_files import NpzFile, PickledError, npz_file, read_npy

DATA = "kay_images.npz"
LABELS = {"train": "kay_labels.npy", "test": "kay_labels_val.npy"}
KEYS = {DATA: "ymnjv", LABELS["train"]: "r638s", LABELS["test"]: "yqb3e"}
"""The five signs of each file's address at OSF."""
ARRAYS = {"train": ("responses", "stimuli"), "test": ("responses_test", "stimuli_test")}
N_LABELS, N_LEVELS = 4, 3
SUBJECT = "subj01"
AGAIN = "copy the file again from OSF"


def read(path: Path) -> Recording:
    """Responses and areas."""
    with npz_file(path / DATA, AGAIN) as archive:
        responses = {split: as_rows(_array(archive, path, name)) for split, (name, _) in ARRAYS.items()}
        codes = _array(archive, path, "roi").reshape(-1)
        names = _array(archive, path, "roi_names").reshape(-1)
    if names.dtype.kind == "S":
        names = np.char.decode(names, "latin-1")
    if names.dtype.kind != "U" or len(set(names.tolist())) != len(names) or not all(names.tolist()):
        raise InputError(f"roi_names in {path / DATA} are {names.tolist()!r:.80}; expected different names: {AGAIN}.")
    return Recording(path / DATA, responses, codes, tuple(names.tolist()))


def pictures(path: Path) -> dict[str, Any]:
    """The pictures by split, as they are stored."""
    with npz_file(path / DATA, AGAIN) as archive:
        return {split: as_rows(_array(archive, path, name)) for split, (_, name) in ARRAYS.items()}


def _array(archive: NpzFile, path: Path, name: str) -> Any:
    if name not in archive.names:
        raise InputError(f"{path / DATA} holds {', '.join(archive.names) or 'nothing'} but no {name}; {AGAIN}.")
    return archive.read(name)


def categories(path: Path, split: str, n_pictures: int) -> tuple[list[list[str]] | None, str]:
    """The three levels of each picture's class, and "" or the reason why there are none.

    Raises
    ------
    InputError
        The file is damaged, or is of another number of pictures.
    """
    file = path / LABELS[split]
    if not file.exists():
        return None, f"there is no {file.name}"
    try:
        labels = read_npy(file, remedy=f"{AGAIN}, or delete it to go on without categories")
    except PickledError as error:
        # Labels are a help, not a need.
        return None, str(error).removesuffix(".")
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "latin-1")
    if labels.dtype.kind != "U" or labels.shape != (N_LABELS, n_pictures):
        raise InputError(
            f"{file} holds {labels.dtype} {labels.shape}; expected texts ({N_LABELS}, {n_pictures}), a column for each picture: "
            f"{AGAIN}, or delete it to go on without categories."
        )
    return [list(dict.fromkeys(filter(None, map(str.strip, own)))) for own in labels[:N_LEVELS].T.tolist()], ""


def files(path: Path, in_place: bool) -> list[ExpectedFile]:
    """The files of this copy; all optional unless the copy is `in_place`, or is to be."""
    told = {
        DATA: "pictures, and responses of one person",
        LABELS["train"]: "classes that a network guessed, of training",
    }
    told[LABELS["test"]] = "classes that a network guessed, of test"
    return [
        ExpectedFile(path / name, f"{what}, open at OSF", not in_place or name != DATA, address=_remote(path, name).url)
        for name, what in told.items()
    ]


def _remote(path: Path, name: str) -> Any:
    return replace(osf.osf_file(KEYS[name], path / name), optional=name != DATA)


def download(path: Path, progress: Progress = SILENT) -> list[Path]:
    """Fetch the three files; those that are optional and not to be had."""
    return fetch_all([_remote(Path(path), name) for name in KEYS], path, "kay_images.npz alone", progress)
