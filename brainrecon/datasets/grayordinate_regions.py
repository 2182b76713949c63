"""Regions of grayordinates: parts of the brain, and labels of an atlas that lie beside the data.

FOLDER/
  *.dlabel.nii            labels of CIFTI, of the same mesh; a label L_V1_ROI or R_V1_ROI is of the region V1
  MMP_mpmLR32k.mat        numbers of Glasser's areas, 1 to 180 left and 181 to 360 right, a value for each place of the cortex
  roilbl_mmp.csv          a row of two names for each number, of the left and of the right hemisphere
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.arrays.finite_voxels import FINITE, FiniteVoxels
from brainrecon.datasets.own_mask import OwnMask
from brainrecon.datasets.spaces.grayordinates import STANDARD, Grayordinates
from brainrecon.datasets.voxels import MASK, masked_regions
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.cifti_files import open_cifti, read_maps
from stages.ground.reading.matlab_matrices import read_matrices
from stages.ground.reading.wall import reading

VISUAL = "visual"
VISUAL_AREAS = (
    *(
        "V1",
        "V2",
        "V3",
        "V4",
        "V6",
        "V3A",
        "V7",
        "IPS1",
        "V3B",
        "V6A",
        "V8",
        "FFC",
        "PIT",
        "VMV1",
        "VMV3",
        "VMV2",
        "VVC",
    ),
    *("MST", "LO1", "LO2", "MT", "PH", "V4t", "FST", "V3CD", "LO3"),
)
"""Glasser's groups 1 to 5: primary and early visual cortex, dorsal and ventral stream, and the MT+ complex."""
ATLAS_NAMES = "roilbl_mmp.csv"
_UNLABELLED = ("", "???")
_SIDE, _END = re.compile(r"^[LR][_-](?=.)"), re.compile(r"_ROI$")


def label_files(folder: Path, below: bool = False) -> list[Path]:
    """Files of labels in a folder, or also below it."""
    names = ("*.dlabel.nii", "*MMP*.mat")
    return [file for name in names for file in visible(folder, f"**/{name}" if below else name) if file.is_file()]


def names_beside(file: Path) -> list[Path]:
    """The names that go with a file of numbers."""
    return [file.parent / ATLAS_NAMES] if file.suffix == ".mat" else []


def regions_of(files: Sequence[Path], places: Grayordinates | None, n_places: int) -> dict[str, NDArray]:
    """Masks (n_places,) by name: of the parts of the brain first, then of the files' labels.

    Parameters
    ----------
    files : sequence of path
        As of `label_files`.
    places : brainrecon.datasets.spaces.grayordinates.Grayordinates or None
        Without them parts are told by number, if there are as many places as the standard has.
    n_places : int

    Raises
    ------
    InputError
        A file is damaged, of another mesh, or needs places that nobody tells.
    """
    found = standard_parts(n_places) if places is None else places.parts()
    for file in files:
        for name, mask in _labelled(file, places, n_places, found).items():
            found[name] = found[name] | mask if name in found else mask
    if all(name in found for name in VISUAL_AREAS):
        found.setdefault(VISUAL, np.any([found[name] for name in VISUAL_AREAS], axis=0))
    return found


def standard_parts(n_places: int) -> dict[str, NDArray]:
    """Parts of the brain by number alone, if there are as many places as the standard of the Human Connectome Project has.

    >>> {name: int(mask.sum()) for name, mask in standard_parts(91_282).items()}
    {'left': 29696, 'right': 29716, 'cortex': 59412, 'subcortex': 31870}
    >>> standard_parts(12)
    {}
    """
    if n_places not in STANDARD:
        return {}
    (left, right), number = STANDARD[n_places], np.arange(n_places)
    ends = {"left": number < left, "right": (number >= left) & (number < left + right), "cortex": number < left + right}
    return ends | ({"subcortex": ~ends["cortex"]} if not ends["cortex"].all() else {})


def _labelled(file: Path, places: Grayordinates | None, n_places: int, parts: dict[str, NDArray]) -> dict[str, NDArray]:
    if file.suffix == ".mat":
        return _numbered(file, parts.get("cortex"))
    maps = open_cifti(file)
    if not maps.labels:
        raise InputError(f"{file} holds maps without names of values; expected labels, as in a .dlabel.nii.")
    if places is None and maps.shape[1] != n_places:
        raise InputError(
            f"{file} has {maps.shape[1]:,} places but the responses {n_places:,} and no file beside them tells which these are; "
            "put labels of as many places there, or name a CIFTI file of them, --option places=FILE."
        )
    values = read_maps(maps, np.arange(maps.shape[0]))
    if places is not None:
        values = places.look_up(Grayordinates.of_axis(maps.places, file), values, file)
    found: dict[str, NDArray] = {}
    for own, table in zip(values, maps.labels):
        if unknown := sorted(set(np.unique(own).tolist()) - set(table) - {0}):
            raise InputError(f"{file} has a value {unknown[0]} that it does not name; copy the file again.")
        for key, told in table.items():
            inside, name = own == key, region_name(told)
            if name not in _UNLABELLED and inside.any():
                found[name] = found[name] | inside if name in found else inside
    return found


def region_name(label: str) -> str:
    """The region that a label is of.

    >>> region_name("L_V1_ROI"), region_name("R_OP2-3_ROI"), region_name("faces")
    ('V1', 'OP2-3', 'faces')
    """
    return _END.sub("", _SIDE.sub("", label.strip()))


def _numbered(file: Path, cortex: NDArray | None) -> dict[str, NDArray]:
    matrices = {name: matrix for name, matrix in read_matrices(file).items() if matrix.size > 1}
    if len(matrices) != 1:
        raise InputError(f"{file} holds {', '.join(matrices) or 'no matrix'}; expected one matrix of areas' numbers.")
    numbers = next(iter(matrices.values())).ravel()
    n_cortex = 0 if cortex is None else int(cortex.sum())
    if cortex is None or len(numbers) != n_cortex:
        raise InputError(
            f"{file} has {len(numbers):,} numbers but the responses have {n_cortex:,} places of cortex; take both of one mesh."
        )
    names = _atlas_names(names_beside(file)[0])
    whole = np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()
    if not whole or numbers.min() < 0 or numbers.max() > 2 * len(names):
        raise InputError(
            f"{file} holds numbers up to {np.nanmax(numbers):g} but {ATLAS_NAMES} names {2 * len(names)} areas; take both from "
            "one release."
        )
    found = {}
    for row, name in enumerate(names, start=1):
        inside = np.zeros(len(cortex), dtype=bool)
        inside[cortex] = (numbers == row) | (numbers == row + len(names))
        if inside.any():
            found[name] = inside
    return found


def _atlas_names(file: Path) -> list[str]:
    if not file.is_file():
        raise InputError(f"{file} is missing, which names the numbers of areas; put it beside them.")
    # Its head is in another encoding, its names are plain.
    with reading(file, "CSV"), open(file, newline="", encoding="utf-8", errors="replace") as lines:
        rows = [row for row in csv.reader(lines) if row][1:]
    names = [region_name(row[0]) for row in rows]
    if (
        not names
        or len(set(names)) != len(names)
        or any(len(row) < 2 or region_name(row[1]) != row_name for row, row_name in zip(rows, names))
    ):
        raise InputError(f"{file} does not name areas in two columns, L_V1_ROI,R_V1_ROI and so on; copy it again.")
    return names


def chosen_places(
    where: object,
    rois: dict[str, NDArray],
    roi: str | None,
    n_places: int,
    whole: str,
    mask: OwnMask | None = None,
    finite: FiniteVoxels | None = None,
    space: Grayordinates | None = None,
) -> tuple[NDArray, dict[str, NDArray]]:
    """The places of a roi, bool (n_places,), and what each region has of them; as of `own_mask.chosen_voxels`.

    With `finite` there is also the region ``finite``, which is looked for only if it is asked for.
    """
    if mask is not None:
        rois = rois | {MASK: mask.in_columns(n_places, space=space)}
    named = masked_regions(where, rois, n_places, whole)
    if finite is not None and FINITE not in rois:
        mask_of: Callable[[str], NDArray] = named.mask_of
        named = replace(
            named,
            aliases=(*named.aliases, FINITE),
            mask_of=lambda name: finite.mask if name == FINITE else mask_of(name),
        )
    chosen = named.select(whole if roi is None else roi)
    return chosen, {name: inside[chosen] for name, inside in rois.items() if inside[chosen].any()}
