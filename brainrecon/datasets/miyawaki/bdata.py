"""Miyawaki 2008 as BData, the form that the Kamitani laboratory's brain-decoding-cookbook works on.

A row is a trial. ``Image`` holds the 100 cells, ``StimulusType`` the kind of figure (1 random, 2 to 5 figures,
below 0 rest), ``VoxelData`` the responses, ``Run`` the run. The cookbook writes random and test rows into two
files; a folder that holds both is read as one. The laboratory's own `.mat` (v7.3) holds the same rows.
"""

import numpy as np

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.miyawaki.recording import Recording, add_unions, read_patterns
from brainrecon.datasets.split import check_finite
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.hdf5_files import hdf5_file

KINDS = {1: "random", 2: "geometric", 3: "thin alphabet", 4: "long alphabet", 5: "alphabet"}
"""StimulusType -> kind of figure."""

MARKER = "simulated.json"
"""The file by which a simulated study says what it is."""

BOTH = "give a file with both, or a folder that holds the file of random rows and that of test rows"
"""What to do where a split has no trial."""


def read(path):
    """Read a file, or all `.h5` files of a folder in the order of their names.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    recording : brainrecon.datasets.miyawaki.recording.Recording
        Random rows train, all others test. Regions lose a leading ``ROI_``.

    Raises
    ------
    InputError
        A file is damaged, lacks a key, or has other voxels than the first.
    """
    paths = _paths(path)
    parts = [_read_file(file) for file in paths]
    regions = parts[0][-1]
    for file, part in zip(paths, parts):
        if not _same(part[-1], regions):
            raise InputError(
                f"{file} has {part[0].shape[1]:,} voxels in {len(part[-1])} regions, other ones than the "
                f"{parts[0][0].shape[1]:,} in {len(regions)} of {paths[0]}; give a folder with the files of one subject."
            )
    responses, patterns, types, runs, sessions = (
        None if any(values is None for values in column) else np.concatenate(column)
        for column in list(zip(*parts))[:-1]
    )
    return Recording(
        responses=responses,
        patterns=patterns,
        test=types > 1,
        runs=runs,
        sessions=sessions,
        kinds=np.array([KINDS[kind] for kind in types]),
        regions=add_unions(regions),
        notes=["responses are as the file has them, a row per trial"],
        places={"millimetres": _millimetres(paths[0])},
        details={"files": [file.name for file in paths]},
    )


def is_bdata(path):
    """Whether a MATLAB file (v7.3) holds BData."""
    from brainrecon.datasets.kamitani.bdata import BData

    try:
        BData(path)
    except InputError:
        return False
    return True


def is_simulated(path):
    """Whether a forward model made the responses: a file says so, or the marker of a simulation beside it does."""
    for file in _paths(path):
        with hdf5_file(file) as content:
            if "simulated" in content.attrs or (file.parent / MARKER).is_file():
                return True
    return False


def files(path):
    """The files of the layout."""
    return [ExpectedFile(file, "BData with VoxelData, Image and StimulusType") for file in _paths(path)]


def _paths(path):
    return visible(path, "*.h5") if path.is_dir() else [path]


def _read_file(path):
    """Responses, patterns, types, runs and sessions of the rows that are no rest, and the regions."""
    from brainrecon.datasets.kamitani.bdata import BData

    data = BData(path)
    absent = [key for key in ("VoxelData", "Image", "StimulusType") if key not in data.keys]
    if absent:
        raise InputError(
            f"{path} has no {', '.join(absent)} but {', '.join(data.keys)}; give the BData file of Miyawaki 2008."
        )
    types = data.column("StimulusType")
    wrong = types[~((types < 0) | np.isin(types, list(KINDS)))]
    if len(wrong):
        raise InputError(
            f"{path} has the StimulusType {wrong[0]:g}; expected 1 (random), 2 to 5 (figures) or below 0 (rest): "
            "copy the file again."
        )
    rows = np.flatnonzero(types > 0)
    patterns, _ = read_patterns(data.get("Image")[rows], f"Image of {path}", rest=False)
    columns = np.asarray(data.columns("VoxelData"))
    responses = data.read(columns, rows)
    check_finite(responses, str(path))
    runs, sessions = (data.column(key)[rows].astype(int) if key in data.keys else None for key in ("Run", "Session"))
    return responses, patterns, types[rows].astype(int), runs, sessions, _regions(data, columns)


def _millimetres(path):
    from brainrecon.datasets.kamitani.bdata import BData

    data = BData(path)
    return data.coordinates(data.columns("VoxelData"))


def _regions(data, columns):
    """The keys that mark some of the voxels and nothing else: name -> (n_voxels,) bool.

    Coordinates, such as ``voxel_x``, are on the voxels too, but hold other values than 1.
    """
    regions = {}
    for key in data.keys:
        marks = np.nan_to_num(np.asarray(data.metadata(key), dtype=float))
        if key != "VoxelData" and not marks[~columns].any() and np.isin(marks, (0, 1)).all():
            regions[key.removeprefix("ROI_")] = marks[columns] == 1
    return regions


def _same(regions, others):
    return regions.keys() == others.keys() and all(np.array_equal(regions[name], others[name]) for name in others)
