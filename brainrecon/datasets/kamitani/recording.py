"""What the Kamitani laboratory's picture datasets share: BData parts, regions and categories."""

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from brainrecon.datasets.kamitani.bdata import COORDINATES, BData
from brainrecon.datasets.kamitani.stimuli import pictures_of
from brainrecon.datasets.responses import Responses
from brainrecon.datasets.split import ROWS_PER_BLOCK, Split, check_finite
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from brainrecon.datasets.voxels import MASK
from brainrecon.datasets.within_runs import ZScoredWithinRuns
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.reading.wall import reading

DEFAULT_ROI = "VC"
WHOLE = "all"
ROI_PREFIX = "ROI_"
VOXELS = "VoxelData"
CLASS_NAMES = ("class_names.csv", "class_name.csv")
CATEGORY_KEYS = ("category_name", "category_index")
FEW_VALUES = 2**23
"""Training responses up to this many are read once, to tell constant voxels."""


@dataclass(eq=False)
class Part:
    """The samples of a file that make up one split.

    Attributes
    ----------
    bdata : brainrecon.datasets.kamitani.bdata.BData
    rows : array of int, shape (n_trials,)
        0-based rows of the file.
    names : list of str, length n_trials
        The stimulus of each trial.
    """

    bdata: BData
    rows: np.ndarray
    names: list[str]


class BDataBetas(Responses):
    """Some voxels of some samples of a BData file; an InputError if a value that is read is NaN or infinite.

    Parameters
    ----------
    bdata : brainrecon.datasets.kamitani.bdata.BData
    columns, rows : array of int
        0-based places in the file.
    """

    takes_any_order = True

    def __init__(self, bdata, columns, rows):
        self._bdata, self._columns, self._rows = bdata, np.asarray(columns), np.asarray(rows)
        super().__init__((len(self._rows), len(self._columns)), np.float32)

    def _read(self, rows):
        values = self._bdata.read(self._columns, self._rows[rows])
        check_finite(values, str(self._bdata.path))
        return values

    def _of_columns(self, places):
        return BDataBetas(self._bdata, self._columns[places], self._rows)


def voxel_columns(bdata, roi=None, mask=None):
    """The columns of a region.

    Parameters
    ----------
    bdata : brainrecon.datasets.kamitani.bdata.BData
    roi : str, optional
        Regions with or without ``ROI_``, joined as in `brainrecon.datasets.voxels`; ``all`` is every voxel. By default
        ``VC``, or all voxels if the file marks no such region.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        Over the voxels of the file, in their order.

    Returns
    -------
    columns : array of int, shape (n_voxels,)
    roi : str
    rois : dict of str to bool array of shape (n_voxels,)
        Name of each region (without ``ROI_``) that holds some of them.
    notes : list of str
    """
    voxels = bdata.columns(VOXELS if VOXELS in bdata.keys else f"{ROI_PREFIX}*")
    notes = []
    if roi is None:
        roi = DEFAULT_ROI
        key = ROI_PREFIX + DEFAULT_ROI
        if key not in bdata.keys or not (bdata.metadata(key) == 1).any():
            roi = WHOLE
            notes.append(f"{bdata.path.name} marks no {key}, so all {voxels.sum():,} voxels were taken")
    regions = bdata.regions(ROI_PREFIX)
    regions = replace(
        regions,
        aliases=(*regions.aliases, WHOLE),
        mask_of=lambda name, mask_of=regions.mask_of: voxels if name == WHOLE else mask_of(name),
    )
    own = {}
    if mask is not None:
        inside = voxels.copy()
        inside[voxels] = mask.in_columns(int(voxels.sum()), millimetres=bdata.coordinates(voxels))
        regions, own = mask.beside(regions, inside), {MASK: inside}
    selected = voxels & regions.select(roi)
    if not selected.any():
        present = ", ".join(key for key in bdata.keys if key.startswith(ROI_PREFIX))
        raise InputError(f"The roi '{roi}' has no voxel in {bdata.path}; choose among {present or VOXELS}.")
    marked = {
        key.removeprefix(ROI_PREFIX): bdata.metadata(key) == 1 for key in bdata.keys if key.startswith(ROI_PREFIX)
    }
    within = {name: marks[selected] for name, marks in (marked | own).items()}
    return np.flatnonzero(selected), roi, {name: marks for name, marks in within.items() if marks.any()}, notes


def make_subject(
    kind,
    path,
    name,
    parts,
    roi=None,
    images=None,
    image_size=None,
    notes=(),
    details=None,
    mask=None,
    zscore=False,
    source=None,
    how=None,
):
    """Put a subject together.

    Parameters
    ----------
    kind : str
        Of the data, for example ``god``.
    path : pathlib.Path
        The folder that was asked for.
    name : str
    parts : dict of str to Part
        Split -> its samples; at least ``train``, and ``test`` unless stimuli are dealt to folds afterwards.
    roi, images, image_size, mask
        As the dataset's own ``load`` has them.
    notes : sequence of str
    details : dict, optional
    zscore : bool
        Z-score each voxel within each run of a split, by the run's own trials.
    source : str, optional
        ``kind:path``, if the path that was asked for is not the folder.
    how : str, optional
        How pictures are to be had, as `brainrecon.datasets.kamitani.stimuli.pictures_of` takes it.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
    """
    check("zscore", zscore, OneOf(True, False), "--option {name}={example}")
    notes, first, rois = list(notes), None, {}
    chosen = {}
    for part in parts.values():
        if part.bdata not in chosen:
            columns, roi, inside, told = voxel_columns(part.bdata, roi, mask)
            chosen[part.bdata] = columns
            notes += told
            first, rois = (first, rois) if first else (part.bdata, inside)
            check_same_voxels(first, chosen[first], part.bdata, columns)
    for split, part in parts.items():
        kept = np.array([bool(each) for each in part.names])
        if not kept.all():
            notes.append(f"{split}: {(~kept).sum():,} of {len(kept):,} samples show no stimulus and were left out")
            part.rows, part.names = part.rows[kept], [each for each in part.names if each]
        if not part.names:
            raise InputError(
                f"{part.bdata.path} has no sample for the split {split}; add that subject's other samples."
            )
    bare = {
        split: Split(BDataBetas(part.bdata, chosen[part.bdata], part.rows), part.names) for split, part in parts.items()
    }
    pictures, told = pictures_of(bare, Path(path), images, image_size, how)
    notes += told
    named = class_names(Path(path))
    splits = {
        split: Split(
            betas=within_runs(bare[split].betas, part) if zscore else bare[split].betas,
            trial_stimulus_ids=part.names,
            sessions=whole_numbers(part, "session"),
            runs=whole_numbers(part, "run"),
            images=pictures.get(split),
            categories=categories_of(part, bare[split].stimulus_ids, named),
        )
        for split, part in parts.items()
    }
    details = (details or {}) | ({"units": "z-scores within runs"} if zscore else {})
    notes += [*constant_voxels(splits["train"]), "no captions in this dataset", "no noise ceiling in the files"]
    counts = {split: {"samples": each.n_trials, "stimuli": each.n_stimuli} for split, each in splits.items()}
    return Subject(
        name=name,
        dataset=kind,
        source=source or f"{kind}:{path}",
        splits=splits,
        roi=roi,
        rois=rois,
        fingerprint=stimulus_fingerprint(kind, splits),
        notes=notes,
        details={"files": sorted({bdata.path.name for bdata in chosen}), "counts": counts} | details,
    )


def within_runs(betas, part):
    """Responses of a part, z-scored within runs; numbers of runs may start anew with each session."""
    runs, sessions = whole_numbers(part, "run"), whole_numbers(part, "session")
    if runs is None:
        raise InputError(
            f"{part.bdata.path} does not tell the runs of its samples, which zscore needs; leave zscore out, or take a file "
            "with Run."
        )
    return ZScoredWithinRuns(betas, runs if sessions is None else np.stack([sessions, runs], axis=1))


def check_same_voxels(first, columns, other, other_columns):
    """Raise an InputError unless two files of a subject have the same voxels in the same order."""
    if len(columns) != len(other_columns):
        raise InputError(
            f"{other.path} has {len(other_columns):,} voxels in the roi but {first.path} {len(columns):,}; "
            "take both from the same release and subject."
        )
    for key in COORDINATES:
        if key in first.keys and key in other.keys:
            moved = ~np.isclose(first.metadata(key)[columns], other.metadata(key)[other_columns], equal_nan=True)
            if moved.any():
                raise InputError(
                    f"{moved.sum():,} of {len(columns):,} voxels have another {key} in {other.path} than in {first.path}; "
                    "take both from the same release and subject."
                )


def whole_numbers(part, name):
    """A key's whole numbers for the samples of a part, whatever its capitals; None if the file has none."""
    key = next((key for key in part.bdata.keys if key.lower() == name), None)
    values = part.bdata.get(key)[part.rows] if key else np.empty((0, 0))
    if values.shape[1] != 1 or not (np.isfinite(values) & (values == np.rint(values))).all():
        return None
    return values[:, 0].astype(int)


def categories_of(part, stimulus_ids, named):
    """Category of each stimulus as a list of one str: its name where the file or the table tells it, else its synset."""
    key = next((key for key in CATEGORY_KEYS if key in part.bdata.keys and part.bdata.has_labels(key)), None)
    told = {}
    if key:
        labels = part.bdata.labels(key)
        told = {name: labels[row] for name, row in zip(part.names, part.rows) if labels[row]}
    synsets = [re.match(r"n\d{8}", name) for name in stimulus_ids]
    categories = [
        [told.get(str(name)) or named.get(synset[0], synset[0])] if told.get(str(name)) or synset else []
        for name, synset in zip(stimulus_ids, synsets)
    ]
    return categories if any(categories) else None


def class_names(folder):
    """Synset -> name, from rows ``n01518878,ostrich`` of ``class_names.csv`` in the folder; empty without one."""
    path = next((folder / name for name in CLASS_NAMES if (folder / name).is_file()), None)
    if path is None:
        return {}
    with reading(path, "a table", "write rows such as n01518878,ostrich"):
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if len(row) > 1]
    return {row[0].strip(): row[1].strip() for row in rows}


def constant_voxels(split):
    """A note that counts the voxels that never change, where the split is small enough to be read for that."""
    if np.prod(split.betas.shape) > FEW_VALUES:
        return []
    low = high = split.betas[0]
    for start in range(0, split.n_trials, ROWS_PER_BLOCK):
        block = split.betas[start : start + ROWS_PER_BLOCK]
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    constant = int((low == high).sum())
    return [f"{constant:,} of {len(low):,} voxels have one value in all training samples"] if constant else []
