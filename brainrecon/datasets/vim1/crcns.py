"""What CRCNS holds under the name vim-1: responses of both people, pictures in two resolutions.

FOLDER/
  EstimatedResponses.mat            of each person N: dataTrnSN, dataValSN, a row per picture and a column per voxel; roiSN, the
                                    number of each voxel's area; voxIdxSN, its number in the volume of 64 x 64 x 18, from 1
  Stimuli.mat                       stimTrn, stimVal: grey pictures of 128 x 128 pixels                    optional
  Stimuli_Trn_FullRes_01.mat, ...   stimTrn: the training pictures of 500 x 500 pixels, in their order     optional
  Stimuli_Val_FullRes.mat           stimVal: the test pictures of that size                                optional

Areas are 0 Other, 1 V1, 2 V2, 3 V3, 4 V3A, 5 V3B, 6 V4, 7 LatOcc. Each file may be of MATLAB's version 7.3 or of one before.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.hdf5_rows import Hdf5Rows
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.datasets.vim1.recording import Recording, whole_numbers
from stages.ground.errors import InputError
from stages.ground.lazy_rows import ConcatenatedRows, as_rows
from stages.ground.listing import visible
from stages.ground.reading.hdf5_files import hdf5_file
from stages.ground.reading.matlab_files import read_mat

RESPONSES, SMALL = "EstimatedResponses.mat", "Stimuli.mat"
FULL_TEST = "Stimuli_Val_FullRes.mat"
FULL_TRAIN = re.compile(r"Stimuli_Trn_FullRes_(\d+)\.mat", re.IGNORECASE)
VARIABLES = {"train": ("dataTrn", "stimTrn"), "test": ("dataVal", "stimVal")}
"""Split -> the variables of its responses and of its pictures."""
VOLUME = (64, 64, 18)
"""The files number their voxels in it, and do not say its size."""
VOXEL_SIZE = (2.0, 2.0, 2.5)
"""Millimetres, by a public reader of volumes of this size from the same laboratory; the files say none."""
ACCOUNT = "by a free account at crcns.org/data-sets/vc/vim-1"
AGAIN = "copy the file again from CRCNS"


class Variables:
    """The variables of one MATLAB file, of any version.

    Parameters
    ----------
    path : pathlib.Path
        Of version 7.3 (HDF5), which stays on disk, or of one before, which is read into memory.

    Attributes
    ----------
    names : list of str
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: dict[str, Any] | None = None
        if path.is_file() and h5py.is_hdf5(path):
            with hdf5_file(path, AGAIN) as file:
                self.names = [name for name in file if name[0] != "#"]
        else:
            self._content = read_mat(path, AGAIN)
            self.names = list(self._content)

    def array(self, name: str, turned: bool = False) -> Any:
        """An array with the axes that MATLAB shows, or with these in reverse if `turned`."""
        if name not in self.names:
            raise InputError(f"{self.path} holds {', '.join(self.names) or 'nothing'} but no {name}; {AGAIN}.")
        if self._content is None:
            return Hdf5Rows(self.path, name, reverse=not turned)
        found = np.asarray(self._content[name])
        return as_rows(found.T if turned else found)


def subjects(path: Path) -> list[str]:
    """Names of the people whose responses the file holds: ``subj01``, ..."""
    numbers = [re.fullmatch(r"dataTrnS(\d+)", name) for name in Variables(path / RESPONSES).names]
    found = sorted({int(match[1]) for match in numbers if match})
    if not found:
        raise InputError(f"{path / RESPONSES} holds no dataTrnS1 and so no subject; {AGAIN}.")
    return [f"subj{number:02d}" for number in found]


def read(path: Path, subject: str) -> Recording:
    """Responses, areas and places of a subject."""
    stored, number = Variables(path / RESPONSES), int(subject.removeprefix("subj"))
    responses = {split: stored.array(f"{data}S{number}", turned=True) for split, (data, _) in VARIABLES.items()}
    codes, places = (np.asarray(stored.array(f"{name}S{number}")).reshape(-1) for name in ("roi", "voxIdx"))
    if len(places) != len(codes):
        raise InputError(
            f"{stored.path} has {len(places):,} places in voxIdxS{number} but {len(codes):,} areas in roiS{number}; {AGAIN}."
        )
    return Recording(stored.path, responses, codes, places=whole_numbers(places, "voxels", stored.path))


def space_of(recording: Recording) -> VoxelGrid:
    """Where the voxels of a recording are, in a volume whose origin and directions nobody says.

    Raises
    ------
    InputError
        A number is outside the volume, or two voxels have one.
    """
    numbers, n_places = np.asarray(recording.places), int(np.prod(VOLUME))
    if numbers.min() < 1 or numbers.max() > n_places:
        wrong = numbers.min() if numbers.min() < 1 else numbers.max()
        raise InputError(
            f"{recording.where} gives a voxel the number {wrong:,}; expected 1 to {n_places:,}, as in a volume of "
            f"{' x '.join(map(str, VOLUME))}: {AGAIN}."
        )
    values, counts = np.unique(numbers, return_counts=True)
    if counts.max() > 1:
        raise InputError(
            f"{recording.where} gives {counts.max()} voxels the number {values[counts.argmax()]:,}; expected each once: {AGAIN}."
        )
    indices = np.stack(np.unravel_index(numbers - 1, VOLUME, order="F"), axis=1)
    return VoxelGrid(VOLUME, np.diag([*VOXEL_SIZE, 1.0]), indices)


def small_pictures(path: Path) -> dict[str, Any] | None:
    """The pictures of 128 x 128 pixels by split, None if the file is not there."""
    if not (path / SMALL).exists():
        return None
    stored = Variables(path / SMALL)
    return {split: stored.array(name) for split, (_, name) in VARIABLES.items()}


def full_pictures(path: Path) -> dict[str, Any] | None:
    """The pictures in full resolution by split, None if no such file is there.

    Raises
    ------
    InputError
        Files are absent, or are of different sizes.
    """
    train, test = _full_training_files(path), path / FULL_TEST
    if not train and not test.exists():
        return None
    if not train:
        raise InputError(f"{path} has {FULL_TEST} but no Stimuli_Trn_FullRes_01.mat and others; add them.")
    if not test.exists():
        raise InputError(f"{path} has Stimuli_Trn_FullRes_*.mat but no {FULL_TEST}; add it.")
    if absent := sorted(set(range(1, max(train) + 1)) - set(train)):
        raise InputError(
            f"{path} has {len(train)} files Stimuli_Trn_FullRes_*.mat, of which number {absent[0]} is absent; add it: pictures "
            "are told by their place."
        )
    parts = [Variables(train[number]).array(VARIABLES["train"][1]) for number in sorted(train)]
    if len({part.shape[1:] for part in parts}) > 1:
        sizes = ", ".join(" x ".join(map(str, size)) for size in sorted({part.shape[1:] for part in parts}))
        raise InputError(f"Pictures of the files Stimuli_Trn_FullRes_*.mat in {path} are of {sizes}; {AGAIN}.")
    return {"train": ConcatenatedRows(parts), "test": Variables(test).array(VARIABLES["test"][1])}


def _full_training_files(path: Path) -> dict[int, Path]:
    """By number."""
    found: dict[int, Path] = {}
    for file in visible(path):
        if match := FULL_TRAIN.fullmatch(file.name):
            other = found.setdefault(int(match[1]), file)
            if other != file:
                raise InputError(f"{path} has both {other.name} and {file.name}; keep one of them.")
    return found


def files(path: Path, in_place: bool) -> list[ExpectedFile]:
    """The files of this copy; all optional unless the copy is `in_place`."""
    full = _full_training_files(path)
    training = [full[number] for number in sorted(full)] or [path / "Stimuli_Trn_FullRes_01.mat"]
    return [
        ExpectedFile(path / RESPONSES, f"responses of both people, {ACCOUNT}", not in_place),
        ExpectedFile(path / SMALL, f"pictures of 128 x 128 pixels, {ACCOUNT}", True),
        *(ExpectedFile(file, f"training pictures in full resolution, {ACCOUNT}", True) for file in training),
        ExpectedFile(path / FULL_TEST, f"test pictures in full resolution, {ACCOUNT}", True),
    ]
