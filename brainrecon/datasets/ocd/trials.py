"""A file of responses at several times, of your own making: the authors' own layout is not known.

FOLDER/
  sub-01.npz       of a person, an entry for each trial, or a row:
      x            (n_trials, n_times, n_voxels) numbers
      time_s       (n_times,) seconds after the picture, increasing
      y            (n_trials,) the class, a text or a whole number
      split        (n_trials,) train or test; not needed with test_runs
      run          (n_trials,) whole numbers from 1
      stim_file    (n_trials,) the picture, a file below stimuli/
      roi_<NAME>   (n_voxels,) of 0 and 1, for example roi_LVC and roi_HVC                        optional
      onset_s      (n_trials,) seconds from the beginning of the run, to tell how close trials are     optional
      standardized   session, if x was z-scored within sessions or runs                            optional
  stimuli/         the pictures                                                                  optional
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.arrays.bids_events import picture_id
from brainrecon.datasets.named_arrays import NamedArrays
from brainrecon.datasets.ocd.times import checked_times, times_within
from brainrecon.datasets.own_mask import as_mask
from brainrecon.datasets.responses import Standardized, checked_standardized
from brainrecon.datasets.split import check_finite
from stages.ground.errors import InputError
from stages.ground.reading.numpy_files import npz_file
from weights.names import trouble_with_path

NEEDED = ("x", "time_s", "y", "run", "stim_file")
AGAIN = "write the file again as docs/datasets/ocd.md describes"
BLOCK_BYTES = 32 * 2**20


@dataclass(eq=False)
class Trials:
    """What a file holds, checked, at the times that were asked for.

    Parameters
    ----------
    path : pathlib.Path
    window : str or float
        As `brainrecon.datasets.ocd.times.read_window` takes it.
    mean : bool
        Whether times are averaged.

    Attributes
    ----------
    times : array of shape (n_chosen,), float
        Seconds after the picture.
    values : array of shape (n_trials, n_chosen * n_voxels), float32
        All voxels of the first time, then all of the second, and so on; of a mean (n_trials, n_voxels).
    n_voxels : int
    classes, stimuli : list of str, length n_trials
    splits : list of str, length n_trials, or None
    runs : array of int, shape (n_trials,)
    rois : dict of str to bool array of shape (n_voxels,)
    onsets : array of float, shape (n_trials,), or None
    standardized : str
    """

    path: Path
    window: Any
    mean: bool
    times: NDArray = field(init=False)
    values: NDArray = field(init=False)
    n_voxels: int = field(init=False)
    classes: list[str] = field(init=False)
    stimuli: list[str] = field(init=False)
    splits: list[str] | None = field(init=False)
    runs: NDArray = field(init=False)
    rois: dict[str, NDArray] = field(init=False)
    onsets: NDArray | None = field(init=False)
    standardized: Standardized = field(init=False)

    def __post_init__(self) -> None:
        arrays = NamedArrays(self.path)
        if absent := [name for name in NEEDED if name not in arrays]:
            raise InputError(f"{self.path} holds {', '.join(sorted(arrays)) or 'nothing'} but no {absent[0]}; {AGAIN}.")
        n_trials, n_times = self._read_responses(arrays["time_s"])
        self.runs = self._whole(arrays["run"], "run", n_trials)
        if self.runs.min() < 1:
            raise InputError(
                f"run in {self.path} has the number {self.runs.min()}; expected numbers from 1 on: {AGAIN}."
            )
        self.classes = self._texts(arrays["y"], "y", n_trials)
        pictures = self._texts(arrays["stim_file"], "stim_file", n_trials)
        self.splits = self._texts(arrays["split"], "split", n_trials) if "split" in arrays else None
        for name in dict.fromkeys(pictures):
            if trouble := trouble_with_path(name):
                raise InputError(
                    f"stim_file in {self.path} names {name[:80]!r}, which is no file below stimuli/, for {trouble}; {AGAIN}."
                )
        # What is made of a stimulus is saved under its id.
        self.stimuli = [picture_id(name) for name in pictures]
        self.picture_of = dict(zip(self.stimuli, pictures))
        for name, own in zip(self.stimuli, pictures):
            if (other := self.picture_of[name]) != own:
                raise InputError(
                    f"stim_file in {self.path} names {own} and {other}, which would both have the id {name}; rename one of them."
                )
        self._check_classes()
        self.rois = {
            name.removeprefix("roi_"): self._region(arrays[name], name)
            for name in sorted(arrays)
            if name.startswith("roi_")
        }
        self.onsets = self._onsets(arrays["onset_s"], n_trials) if "onset_s" in arrays else None
        told = np.asarray(arrays["standardized"]).reshape(-1).tolist() if "standardized" in arrays else ["no"]
        self.standardized = checked_standardized(told[0] if len(told) == 1 else told, self.path)

    def _read_responses(self, time_s: Any) -> tuple[int, int]:
        """Read x in blocks and keep the times that were asked for; how many trials and times it has."""
        with npz_file(self.path, AGAIN) as archive:
            shape, fortran, dtype = archive.header("x")
            if len(shape) != 3 or 0 in shape or dtype.kind not in "iuf":
                raise InputError(
                    f"x in {self.path} is {dtype} {shape}; expected numbers (n_trials, n_times, n_voxels): {AGAIN}."
                )
            n_trials, n_times, self.n_voxels = shape
            times = checked_times(time_s, n_times, self.path)
            chosen = times_within(times, self.window, self.path)
            self.times = times[chosen]
            width = self.n_voxels * (1 if self.mean else len(chosen))
            self.values, done = np.empty((n_trials, width), dtype=np.float32), 0
            step = max(1, BLOCK_BYTES // (dtype.itemsize * n_times * self.n_voxels))
            for block in [archive.read("x")] if fortran else archive.blocks("x", step):
                own = block[:, chosen]
                own = own.mean(axis=1, dtype=np.float64) if self.mean else own.reshape(len(block), -1)
                self.values[done : done + len(block)] = own
                done += len(block)
        check_finite(self.values, f"x of {self.path}", "take these voxels out of x and of every roi_")
        return n_trials, n_times

    def _texts(self, values: Any, name: str, n_trials: int) -> list[str]:
        values = np.asarray(values)
        if values.dtype.kind not in "iuU" and not (values.dtype.kind == "f" and (values == np.rint(values)).all()):
            raise InputError(f"{name} in {self.path} is {values.dtype}; expected texts or whole numbers: {AGAIN}.")
        self._check_length(values, name, n_trials)
        texts = [
            str(value).strip() for value in (values if values.dtype.kind in "iuU" else values.astype(int)).tolist()
        ]
        if "" in texts:
            raise InputError(f"{name} in {self.path} is empty for trial {texts.index('') + 1:,}; {AGAIN}.")
        return texts

    def _whole(self, values: Any, name: str, n_trials: int) -> NDArray[np.int64]:
        values = np.asarray(values)
        if values.dtype.kind not in "iuf" or not (values == np.rint(values)).all():
            raise InputError(f"{name} in {self.path} is {values.dtype} and not all whole numbers; {AGAIN}.")
        self._check_length(values, name, n_trials)
        return values.astype(np.int64)

    def _check_length(self, values: NDArray, name: str, n_trials: int) -> None:
        if values.shape != (n_trials,):
            raise InputError(
                f"{name} in {self.path} is {values.shape} but x has {n_trials:,} trials; expected one entry for each."
            )

    def _check_classes(self) -> None:
        first: dict[str, str] = {}
        for number, (name, own) in enumerate(zip(self.stimuli, self.classes), start=1):
            if first.setdefault(name, own) != own:
                picture = self.picture_of[name]
                raise InputError(
                    f"{self.path} gives {picture} the class {first[name]} and, on trial {number:,}, {own}; expected one class "
                    "for each picture."
                )

    def _region(self, values: Any, name: str) -> NDArray[np.bool_]:
        mask = as_mask(np.asarray(values), f"{name} in {self.path}").reshape(-1)
        if len(mask) != self.n_voxels:
            raise InputError(
                f"{name} in {self.path} has {len(mask):,} entries but x has {self.n_voxels:,} voxels; give one for each."
            )
        return mask

    def _onsets(self, values: Any, n_trials: int) -> NDArray[np.float64]:
        values = np.asarray(values)
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise InputError(
                f"onset_s in {self.path} is {values.dtype} and not all finite; expected seconds, or leave it out."
            )
        self._check_length(values, "onset_s", n_trials)
        return values.astype(np.float64)

    def shortest_interval(self) -> float | None:
        """Seconds between the two trials of a run that follow each other fastest; None if the file does not say."""
        if self.onsets is None:
            return None
        gaps = [np.diff(np.sort(self.onsets[self.runs == run])) for run in np.unique(self.runs)]
        return min((float(own.min()) for own in gaps if len(own)), default=None)
