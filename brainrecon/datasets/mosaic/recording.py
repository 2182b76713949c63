"""The file of one subject: a response to each trial, which of its places have no value, and noise ceilings.

sub-01_NSD.hdf5, or sub-01_NSD_crc32-1a2b3c4d.hdf5
  betas/
    sub-01_NSD_stimulus-shared0001_phase-test_rep-0     (n_places,) z-scores; a dataset per trial, attribute nan_indices
  noiseceilings/
    sub-01_NSD_phase-test_n-avg_noiseceiling            (n_places,) percent of variance     optional
  nan_indices_all       places without a value on some trial, in any order; a dataset or an attribute     optional
A file into which several were merged has a group of each subject, sub-01_NSD/betas and so on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows
from stages.ground.listing import visible
from stages.ground.reading.hdf5_files import dataset, hdf5_file, linked

ENDINGS = (".hdf5", ".h5")
BETAS, CEILINGS, WITHOUT = "betas", "noiseceilings", "nan_indices_all"
_NAME = re.compile(r"(sub-[A-Za-z0-9]+)_([A-Za-z0-9-]+)")
_FILE = re.compile(r"(sub-[A-Za-z0-9]+_[A-Za-z0-9-]+?)(?:_crc32-[0-9a-fA-F]{8})?")
_TRIAL = re.compile(r"(sub-[A-Za-z0-9]+_[A-Za-z0-9-]+?)_stimulus-(.+)_phase-(train|test)_rep-(\d+)")


class Place(NamedTuple):
    """Where a subject lies.

    Attributes
    ----------
    name : str
        ``sub-01_NSD``.
    file : pathlib.Path
    group : str
        Of a merged file, else "".
    """

    name: str
    file: Path
    group: str

    @property
    def dataset(self) -> str:
        """Which study it is of, ``NSD``."""
        return self.name.partition("_")[2]

    def inside(self, name: str) -> str:
        """A name in the file."""
        return f"{self.group}/{name}" if self.group else name


class Trial(NamedTuple):
    """A response.

    Attributes
    ----------
    name : str
        Of its dataset in the file.
    stimulus_id : str
    phase : str
        "train" or "test".
    repetition : int
        From 0.
    """

    name: str
    stimulus_id: str
    phase: str
    repetition: int


def find_places(path: Path) -> dict[str, Place]:
    """The subjects of a file, or of all files in a folder and below it, sorted by name.

    Raises
    ------
    InputError
        There is no such file, or two hold one subject.
    """
    path = Path(path)
    if path.is_dir():
        files = [file for ending in ENDINGS for file in visible(path, f"**/*{ending}") if file.is_file()]
    elif path.exists():
        files = [path]
    else:
        raise InputError(f"There is no {path}; give a file such as sub-01_NSD.hdf5, or a folder of them.")
    found: dict[str, Place] = {}
    for file in sorted(files):
        for place in _places_in(file):
            if place.name in found:
                raise InputError(
                    f"{found[place.name].file} and {file} both hold {place.name}; keep one of them, or name the one."
                )
            found[place.name] = place
    return dict(sorted(found.items()))


def _places_in(file):
    told = _FILE.fullmatch(file.stem)
    if told:
        return [Place(told[1], file, "")]
    with hdf5_file(file) as content:
        groups = [name for name in content if _NAME.fullmatch(name) and isinstance(linked(content, name), h5py.Group)]
        if groups:
            return [Place(name, file, name) for name in groups]
        if isinstance(linked(content, BETAS), h5py.Group):
            first = next(iter(content[BETAS]), "")
            if named := _TRIAL.fullmatch(first):
                return [Place(named[1], file, "")]
    raise InputError(f"{file} holds no subject of MOSAIC; expected a group betas, or groups such as sub-01_NSD.")


def read_trials(place: Place) -> tuple[list[Trial], int]:
    """The trials of a subject by stimulus and repetition, and how many places each has.

    Raises
    ------
    InputError
        The file is damaged or has no trial, or a name that tells none.
    """
    with hdf5_file(place.file) as file:
        group = linked(file, place.inside(BETAS))
        if not isinstance(group, h5py.Group):
            held = ", ".join(list(file)[:8]) or "nothing"
            raise InputError(
                f"{place.file} has no group '{place.inside(BETAS)}' but {held}; copy the original file again."
            )
        trials = [_trial(place, name) for name in group]
        if not trials:
            raise InputError(f"{place.file} has no trial in '{place.inside(BETAS)}'; copy the original file again.")
        first = dataset(group, trials[0].name)
        if first.ndim != 1 or first.dtype.kind not in "iuf":
            raise InputError(
                f"'{first.name}' in {place.file} is {first.dtype} {first.shape}; expected a number for each place: copy it again."
            )
        n_places = first.shape[0]
    phases: dict[str, str] = {}
    for trial in trials:
        if phases.setdefault(trial.stimulus_id, trial.phase) != trial.phase:
            raise InputError(
                f"{place.file} has {trial.stimulus_id} in both phases; a stimulus is trained on or tested: copy it again."
            )
    return sorted(trials, key=lambda one: (one.stimulus_id, one.repetition)), n_places


def _trial(place, name):
    found = _TRIAL.fullmatch(name)
    if not found or found[1] != place.name:
        raise InputError(
            f"'{place.inside(BETAS)}' in {place.file} has {name[:120]!r}, which is no trial of {place.name}; expected "
            f"{place.name}_stimulus-NAME_phase-train_rep-0: copy the original file again."
        )
    return Trial(name, found[2], found[3], int(found[4]))


def places_without_value(place: Place, trials: list[Trial], n_places: int) -> NDArray:
    """Which places have no value on some trial, bool (n_places,).

    What the file says of all trials is taken; if it says nothing, what it says of each.
    """
    with hdf5_file(place.file) as file:
        root = linked(file, place.group) if place.group else file
        told = _told(root)
        if told is None:
            group = linked(file, place.inside(BETAS))
            each = [_indices(dataset(group, trial.name).attrs.get("nan_indices")) for trial in trials]
            told = np.concatenate([one for one in each if one is not None] or [np.empty(0, dtype=np.int64)])
    if len(told) and (told.min() < 0 or told.max() >= n_places):
        raise InputError(
            f"{place.file} says that place {told.max():,} has no value, but there are {n_places:,}, counted from 0; copy it "
            "again."
        )
    without = np.zeros(n_places, dtype=bool)
    without[told] = True
    if without.all():
        raise InputError(f"{place.file} says that none of its {n_places:,} places has values; copy it again.")
    return without


def _told(root):
    """Places without a value as the file lists them, None if it does not, or not as numbers."""
    if isinstance(linked(root, WITHOUT), h5py.Dataset):
        found = dataset(root, WITHOUT)
        return _indices(found[()]) if found.dtype.kind in "iuf" else None
    return _indices(root.attrs[WITHOUT]) if WITHOUT in root.attrs else None


def _indices(values):
    """Whole numbers as int64, None if they are none: a set of Python is no list of numbers in HDF5."""
    values = np.asarray([] if values is None else values).ravel()
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all() or (values != np.rint(values)).any():
        return None
    return values.astype(np.int64)


def read_ceiling(place: Place, n_places: int) -> NDArray | None:
    """Noise ceiling of the test stimuli's averages, percent (n_places,), NaN where there is none; None without one.

    Raises
    ------
    InputError
        It is damaged, of another length, or no percentage.
    """
    with hdf5_file(place.file) as file:
        group = linked(file, place.inside(CEILINGS))
        if not isinstance(group, h5py.Group):
            return None
        name = next((one for one in sorted(group) if "_phase-test_n-avg" in one), None)
        if name is None:
            return None
        found = dataset(group, name)
        if found.shape != (n_places,) or found.dtype.kind not in "iuf":
            raise InputError(
                f"'{found.name}' in {place.file} is {found.dtype} {found.shape} but responses have {n_places:,} places; copy the "
                "original file again."
            )
        values = found[()].astype(np.float32)
    known = values[np.isfinite(values)]
    if len(known) and (known.min() < 0 or known.max() > 100):
        raise InputError(
            f"'{name}' in {place.file} is {known.min():g} to {known.max():g}; expected percent, 0 to 100: copy it again."
        )
    return values


class TrialRows(LazyRows):
    """Trials as rows, read when they are asked for; the file is opened once for all rows of a reading.

    Parameters
    ----------
    place : Place
    trials : list of Trial
    n_places : int
        Of each trial in the file.
    columns : int array of shape (n_columns,)
        Those that are wanted.
    """

    takes_any_order = True

    def __init__(self, place, trials, n_places, columns):
        self._place, self._trials, self._n_places, self._columns = place, trials, n_places, columns
        super().__init__((len(trials), len(columns)), np.float32)

    def _read(self, rows):
        values = np.empty((len(rows), len(self._columns)), dtype=np.float32)
        with hdf5_file(self._place.file) as file:
            group = linked(file, self._place.inside(BETAS))
            if not isinstance(group, h5py.Group):
                raise InputError(f"{self._place.file} has lost its group of betas since it was opened; load it again.")
            for number, row in enumerate(rows):
                trial = self._trials[row]
                found = dataset(group, trial.name)
                if found.shape != (self._n_places,) or found.dtype.kind not in "iuf":
                    raise InputError(
                        f"'{found.name}' in {self._place.file} is {found.dtype} {found.shape} but other trials have "
                        f"{self._n_places:,} places; copy the original file again."
                    )
                values[number] = found[()][self._columns]
        return values

    def _of_columns(self, places):
        return TrialRows(self._place, self._trials, self._n_places, self._columns[places])

    def take(self, rows):
        from stages.ground.lazy_rows import positions

        own = [self._trials[row] for row in np.atleast_1d(positions(rows, len(self)))]
        return TrialRows(self._place, own, self._n_places, self._columns)
