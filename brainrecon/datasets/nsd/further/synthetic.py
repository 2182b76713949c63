"""NSD synthetic: which picture was shown on which trial, and the pictures.

`nsdsynthetic_expdesign.mat` holds ``masterordering``, the picture of each trial, counted from 1 and the same for all subjects,
and ``stimpattern`` (runs, slots), 1 where a slot holds a trial. Pictures are the rows of the brick that all subjects saw, then
of the subject's own. Read in two public readers, and as the data manual's page "Functional data (nsdsynthetic)" describes the
session.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.nsd.design import read_columns, whole_numbers
from brainrecon.datasets.nsd.further import experiments
from brainrecon.datasets.nsd.further.middle_pictures import MiddlePictures
from brainrecon.datasets.nsd.layout import Layout
from brainrecon.datasets.stimulus_images import stimulus_images
from stages.ground.errors import InputError
from stages.ground.reading.matlab_files import read_mat

AGAIN = "copy the original file again"


@dataclass(frozen=True)
class SyntheticTrials:
    """Every trial of the session, in the order of its file.

    Attributes
    ----------
    pictures : array of int, shape (n_trials,)
        0-based.
    runs : array of int, shape (n_trials,), or None
        1-based; None if the design does not say it.
    """

    pictures: NDArray
    runs: NDArray | None


def stimulus_id(picture: int) -> str:
    """``synthetic042`` for picture 42, counted from 0."""
    return f"synthetic{picture:03d}"


def read_trials(layout: Layout, betas: object, n_betas: int) -> SyntheticTrials:
    """Read the design of the session.

    Raises
    ------
    InputError
        The design is absent or damaged, or the betas have another number of trials.
    """
    path = experiments.synthetic_design(layout)
    if not path.is_file():
        raise InputError(f"There is no {path}; copy it from the NSD bucket to this place.")
    content = read_mat(path)
    if "masterordering" not in content:
        raise InputError(f"{path} has no masterordering; {AGAIN}.")
    order = whole_numbers(path, "masterordering", content["masterordering"]).ravel()
    if not len(order) or order.min() < 1:
        raise InputError(
            f"{path}: masterordering has {len(order):,} trials from picture {order.min() if len(order) else 'none'} on; expected "
            f"numbers from 1 on: {AGAIN}."
        )
    if len(order) != n_betas:
        raise InputError(
            f"{betas} have {n_betas:,} trials but {path} {len(order):,}; take the betas and the design from the same release."
        )
    runs = None
    if "stimpattern" in content:
        pattern = np.asarray(content["stimpattern"])
        if pattern.dtype.kind not in "biuf":
            raise InputError(f"{path}: stimpattern is {pattern.dtype} {pattern.shape}; expected numbers: {AGAIN}.")
        of_run = (pattern.reshape(-1, pattern.shape[-1]) > 0).sum(axis=1)
        if of_run.sum() != len(order):
            raise InputError(
                f"{path}: stimpattern has {of_run.sum():,} trials but masterordering {len(order):,}; {AGAIN}."
            )
        runs = np.repeat(np.arange(1, len(of_run) + 1), of_run)
    return SyntheticTrials(order - 1, runs)


def read_pictures(
    layout: Layout, subject: str, shown: NDArray, size: tuple[int, int], luminance: str
) -> tuple[MiddlePictures | None, str]:
    """Some pictures, lazily, or None and a note that says which file is absent.

    Parameters
    ----------
    layout : brainrecon.datasets.nsd.layout.Layout
    subject : str
    shown : array of int, shape (n_stimuli,)
        0-based.
    size : (int, int)
        Height and width of the core's pictures.
    luminance : {"matched", "stored"}

    Raises
    ------
    InputError
        A file is damaged, or a picture was shown that neither holds.
    """
    paths = experiments.synthetic_pictures(layout, subject)
    absent = [str(path) for path in paths if not path.is_file()]
    if absent:
        return None, f"no pictures of synthetic: {', '.join(absent)} absent"
    bricks = [stimulus_images(path, np.arange(_length(path))) for path in paths]
    n_shared, n_own = map(len, bricks)
    if shown.max() >= n_shared + n_own:
        raise InputError(
            f"The design shows picture {shown.max()} (counted from 0) but {paths[0]} holds {n_shared:,} and {paths[1].name} "
            f"{n_own:,}; take the stimulus files and the design from the same release."
        )
    sources = [
        partial(bricks[0].__getitem__, row) if row < n_shared else partial(bricks[1].__getitem__, row - n_shared)
        for row in shown.tolist()
    ]
    return MiddlePictures(sources, size, luminance), ""


def _length(path: Path) -> int:
    from brainrecon.datasets.hdf5_rows import Hdf5Rows

    return len(Hdf5Rows(path, "imgBrick"))


def read_classes(layout: Layout, shown: NDArray) -> list[list[str]] | None:
    """What each picture is, such as "Spiral gratings", as its only category; None if the table is absent.

    Raises
    ------
    InputError
        The table is damaged, has a number twice, or lacks a picture.
    """
    path = experiments.synthetic_classes(layout)
    if not path.is_file():
        return None
    table = read_columns(path, ("Image number",), ("Image class",), keep_default_na=False)
    numbers = table["Image number"]
    if numbers.duplicated().any():
        raise InputError(f"{path} has Image number {numbers[numbers.duplicated()].iloc[0]} in two rows; {AGAIN}.")
    classes = dict(zip(numbers.tolist(), table["Image class"].astype(str).tolist()))
    missing = [picture + 1 for picture in shown.tolist() if picture + 1 not in classes]
    if missing:
        raise InputError(
            f"{path} lists {len(classes):,} pictures but not Image number {missing[0]}, which was shown; {AGAIN}."
        )
    return [[classes[picture + 1]] for picture in shown.tolist()]
