"""Miyawaki 2008 as nilearn's ``fetch_miyawaki2008`` lays it down: runs in NIfTI, patterns in CSV, masks in NIfTI.

    func/data_random_run01.nii.gz ...         volumes of a run (x, y, z, time)
    func/data_figure_run01.nii.gz ...
    label/data_random_run01_label.csv ...     a row of 100 cells per volume, -1 at rest
    mask/mask.nii.gz                          the voxels of visual cortex
    mask/LHV1d.nii.gz ...                     regions, LH and RH

The steps are those of nilearn's reconstruction example, done here with nibabel and scipy, so nilearn itself is
not needed: voxels of the mask, a straight line taken out of each voxel in each run (its mean with it), and
responses that lag two volumes behind the patterns.
"""

import re

import numpy as np
from scipy.signal import detrend as without_line

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.miyawaki.recording import Recording, add_unions, read_patterns
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.datasets.split import check_finite
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.nifti_files import open_nifti, read_nifti
from stages.ground.reading.wall import reading

PARTS = ("random", "figure")
AREAS = ("V1d", "V1v", "V2d", "V2v", "V3A", "V3", "V4v", "VP", *(f"lag{k}to{k + 1}" for k in range(11)))
AGAIN = "fetch the data again with nilearn.datasets.fetch_miyawaki2008"
OPTION = "--option {name}={example}"
BOTH = AGAIN
"""What to do where a split has no trial."""


def read(folder, detrend=True, shift=2):
    """Read the folder.

    Parameters
    ----------
    folder : pathlib.Path
        It holds ``func``, ``label`` and ``mask``.
    detrend : bool
        Take a straight line (and so the mean) out of each voxel in each run, before anything is cut off.
    shift : int
        By how many volumes responses lag: a run loses its first `shift` volumes and its last `shift` labels.

    Returns
    -------
    recording : brainrecon.datasets.miyawaki.recording.Recording
        Random runs, then figure runs; voxels in C order of the (x, y, z) volume.

    Raises
    ------
    InputError
        A file is absent, damaged or at odds with the others.
    """
    check("detrend", detrend, OneOf(True, False), OPTION)
    check("shift", shift, Number(0, whole=True, example=2), OPTION)
    runs = {part: _runs(folder, part) for part in PARTS}
    mask_path = folder / "mask" / "mask.nii.gz"
    mask, affine = _read_mask(mask_path)
    if not mask.any():
        raise InputError(f"{mask_path} selects no voxel; {AGAIN}.")
    responses, patterns, test, numbers = [], [], [], []
    for part, found in runs.items():
        for number, (volumes, labels) in found.items():
            run_responses, run_patterns = _read_run(volumes, labels, mask, affine, mask_path, detrend, shift)
            responses.append(run_responses)
            patterns.append(run_patterns)
            test.append(np.full(len(run_patterns), part == "figure"))
            numbers.append(np.full(len(run_patterns), number))
    regions = {}
    for path in visible(folder / "mask", "*.nii.gz"):
        if path != mask_path:
            region, region_affine = _read_mask(path)
            _check_grid(path, region.shape, region_affine, mask_path, mask.shape, affine)
            regions[path.name.removesuffix(".nii.gz")] = region[mask]
    return Recording(
        responses=np.concatenate(responses),
        patterns=np.concatenate(patterns),
        test=np.concatenate(test),
        runs=np.concatenate(numbers),
        regions=add_unions(regions),
        notes=[
            f"each volume with a pattern is a trial, {shift} volumes after its label; volumes of one block of the same "
            "pattern count as its repeats, and follow each other, so they are not independent, and raise a noise ceiling",
            "responses are as the files have them"
            + (", but for a straight line taken out of each voxel in each run" if detrend else ", not detrended"),
            "regions hold only their voxels within mask.nii.gz",
            "the files do not tell one kind of figure from another, so there are no categories",
        ],
        places={"space": VoxelGrid.of_mask(mask, affine)},
        details={"detrend": detrend, "shift": shift, "runs": {part: list(found) for part, found in runs.items()}},
    )


def files(folder):
    """The files of the layout."""
    where = "from nilearn.datasets.fetch_miyawaki2008"
    rows = []
    for part, n_runs, split in (("random", 20, "train"), ("figure", 12, "test")):
        for number in range(1, n_runs + 1):
            volumes, labels = _pair(folder, part, number)
            rows.append(ExpectedFile(volumes, f"volumes of a {part} run ({split}), {where}"))
            rows.append(ExpectedFile(labels, f"its patterns, {where}"))
    rows.append(ExpectedFile(folder / "mask" / "mask.nii.gz", f"the voxels of visual cortex, {where}"))
    return rows + [
        ExpectedFile(folder / "mask" / f"{side}{area}.nii.gz", f"a region, {where}", optional=True)
        for side in ("LH", "RH")
        for area in AREAS
    ]


def _pair(folder, part, number):
    name = f"data_{part}_run{number:02d}"
    return folder / "func" / f"{name}.nii.gz", folder / "label" / f"{name}_label.csv"


def _runs(folder, part):
    """Runs of a part: number -> (volumes, labels), each of them there."""
    patterns = {"func": rf"data_{part}_run(\d+)\.nii\.gz", "label": rf"data_{part}_run(\d+)_label\.csv"}
    found = {}
    for place, pattern in patterns.items():
        matches = (re.fullmatch(pattern, path.name) for path in visible(folder / place))
        found[place] = {int(match[1]) for match in matches if match}
    if not found["func"]:
        use = {"random": "train", "figure": "test"}[part]
        raise InputError(
            f"{folder / 'func'} holds no data_{part}_run01.nii.gz or other {part} run to {use} on; {AGAIN}."
        )
    for number in sorted(found["func"] ^ found["label"]):
        volumes, labels = _pair(folder, part, number)
        there, absent = (volumes, labels) if number in found["func"] else (labels, volumes)
        raise InputError(f"{there} is there but not {absent}; {AGAIN}, or move the one away too.")
    return {number: _pair(folder, part, number) for number in sorted(found["func"])}


def _read_run(volumes_path, labels_path, mask, affine, mask_path, detrend, shift):
    """Responses (n_trials, n_voxels) float32 and patterns (n_trials, 10, 10) uint8 of a run, rest taken out."""
    volumes, own_affine = _read_nifti(volumes_path)
    if volumes.ndim != 4:
        raise InputError(f"{volumes_path} is a volume of {volumes.shape}; expected a run (x, y, z, time): {AGAIN}.")
    _check_grid(mask_path, mask.shape, affine, volumes_path, volumes.shape[:3], own_affine)
    patterns, shown = read_patterns(_read_cells(labels_path), labels_path)
    if len(patterns) != volumes.shape[3]:
        raise InputError(
            f"{labels_path} labels {len(patterns):,} volumes but {volumes_path} has {volumes.shape[3]:,}; {AGAIN}."
        )
    if shift >= len(patterns):
        raise InputError(
            f"{volumes_path} has {len(patterns):,} volumes, so a shift of {shift:,} leaves none; pass less."
        )
    responses = volumes[mask].T
    check_finite(responses, str(volumes_path))
    if detrend:
        responses = without_line(responses.astype(np.float64), axis=0)
    kept = shown[: len(shown) - shift]
    return responses[shift:][kept].astype(np.float32), patterns[: len(kept)][kept]


def _read_cells(path):
    """Rows of a label file, (n_volumes, n_cells) float."""
    with reading(path, "rows of numbers", AGAIN):
        rows = path.read_text(encoding="utf-8-sig").split()
        return np.loadtxt(rows or ["empty"], delimiter=",", ndmin=2)


def _read_mask(path):
    values, affine = _read_nifti(path)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise InputError(f"{path} has shape {values.shape}; expected a mask (x, y, z): {AGAIN}.")
    return np.nan_to_num(values) != 0, affine


def _read_nifti(path):
    """Values, in the file's own type, and affine."""
    if not path.is_file():
        raise InputError(f"There is no {path}; {AGAIN}.")
    return read_nifti(path, AGAIN), open_nifti(path, AGAIN).affine


def _check_grid(path, shape, affine, other, other_shape, other_affine):
    """Raise an InputError if voxels of the same index are not the same place of the brain, to half a voxel."""
    if shape != other_shape:
        raise InputError(f"{path} has volumes of {shape} but {other} of {other_shape}; {AGAIN}, or resample the mask.")
    corners = np.array([(*corner, 1) for corner in np.ndindex(2, 2, 2)]) * [*(np.array(shape) - 1), 1]
    distance = np.linalg.norm((corners @ (affine - other_affine).T)[:, :3], axis=1).max()
    smallest = np.linalg.norm(affine[:3, :3], axis=0).min()
    if not distance <= smallest / 2:
        raise InputError(
            f"{path} lies {distance:.3g} mm beside {other}, whose voxels have {smallest:.3g} mm; {AGAIN}, or resample the mask."
        )
