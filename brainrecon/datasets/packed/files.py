"""Files that other repositories packed, read a few rows at a time.

What the layouts of `brainrecon.datasets.packed.reader` share: responses and pictures that stay on disk until a row is asked
for, and damage told in one sentence. Nothing is ever unpickled, as a pickle can run any code.
"""

import re

import numpy as np

from brainrecon.datasets.responses import stored_responses
from stages.ground.errors import InputError
from stages.ground.lazy_rows import MappedRows, as_rows
from stages.ground.listing import visible
from stages.ground.reading.numpy_files import read_npy

BLOCK_BYTES = 16 * 2**20
"""As stored; converting a block takes a few times as much for a moment."""


def find_subjects(path, folders, name):
    """Files of each subject, told by their names.

    Parameters
    ----------
    path : pathlib.Path
        A folder, or one of the files.
    folders : sequence of str
        Glob patterns of the folders to look into, below `path`; "" is `path` itself.
    name : str
        Regular expression of the whole file name with a group ``number``, the subject's.

    Returns
    -------
    found : dict of str to list of pathlib.Path
        ``subj01`` to its files, in the order of `folders`; subjects sorted.
    """
    places = [path] if path.is_file() else [file for folder in folders for file in visible(path, f"{folder}*")]
    found = {}
    for file in places:
        match = re.fullmatch(name, file.name)
        if match and file.is_file():
            found.setdefault(f"subj{int(match['number']):02d}", []).append(file)
    return dict(sorted(found.items()))


def require(path, partner):
    """The path, once there is a file; an InputError that names its partner otherwise."""
    if not path.is_file():
        raise InputError(f"There is no {path}, which belongs with {partner.name}; copy it to this place.")
    return path


def map_npy(path):
    """The array of a ``.npy`` file, mapped from disk."""
    return read_npy(path, mapped=True, remedy="copy it again, or save it again with numpy.save")


def responses_of(stored, path, divisor=1, standardized="no"):
    """Responses on disk, an array of shape (n_trials, n_voxels), float32, checked for NaN when read.

    Parameters
    ----------
    stored : array of shape (n_trials, n_voxels), any real numbers
        Mapped, or a lazy array.
    path : pathlib.Path
        For messages.
    divisor, standardized
        As of `brainrecon.datasets.responses.stored_responses`.

    Raises
    ------
    InputError
        The file holds no numbers (n, n_voxels).
    """
    if len(stored.shape) != 2 or 0 in stored.shape or stored.dtype.kind not in "fiu":
        raise InputError(
            f"{path} holds {stored.dtype} {stored.shape}; expected responses, numbers (n, n_voxels): "
            "copy the original file again."
        )
    return stored_responses(stored, path, divisor, standardized, BLOCK_BYTES)


def pictures_of(stored, path, rows=None, white=255, channels_first=False):
    """Pictures on disk, a lazy array of shape (n_stimuli, height, width, 3), uint8, converted when read.

    Parameters
    ----------
    stored : array of shape (n, height, width, 3), or (n, 3, height, width) with `channels_first`
        uint8 or real numbers; mapped, or a lazy array.
    path : pathlib.Path
        For messages.
    rows : array of int, shape (n_stimuli,), optional
        0-based rows of the file; by default all.
    white : float
        What stands for white if the numbers are real: 1 or 255.
    channels_first : bool

    Raises
    ------
    InputError
        The file has another layout or too few pictures; on reading, a value is out of range.
    """
    check_pictures(stored.shape, stored.dtype, path, white, channels_first)
    stored = as_rows(stored)
    if rows is not None:
        rows = np.asarray(rows)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(stored):
            raise InputError(
                f"Picture {rows.max() if rows.min() >= 0 else rows.min()} (counted from 0) was shown but {path} holds "
                f"{len(stored):,}; take responses and pictures from the same source."
            )
        stored = stored.take(rows)

    def convert(block):
        pictures = as_uint8(block, white, path)
        return pictures.transpose(0, 2, 3, 1) if channels_first else pictures

    height_width = stored.shape[2:] if channels_first else stored.shape[1:3]
    return MappedRows(stored, convert, (*height_width, 3), np.uint8, BLOCK_BYTES)


def check_pictures(shape, dtype, path, white, channels_first=False):
    """Raise an InputError unless a file holds pictures, uint8 or real numbers."""
    channels, layout = (1, "(n, 3, height, width)") if channels_first else (3, "(n, height, width, 3)")
    if len(shape) != 4 or shape[channels] != 3 or (dtype.kind != "f" and dtype != np.uint8):
        raise InputError(
            f"{path} holds {dtype} {shape}; expected pictures {layout}, uint8 or real numbers from 0 to {white}: "
            "copy the original file again."
        )


def as_uint8(pictures, white, path):
    """Round pictures in 0 to `white` to 0 to 255; uint8 stays as it is.

    Raises
    ------
    InputError
        A value lies outside 0 to `white`, or all lie so low that another number must stand for white.
    """
    if pictures.dtype == np.uint8 or not len(pictures):
        return pictures.astype(np.uint8, copy=False)
    levels = np.rint(pictures.astype(np.float32) * np.float32(255 / white))
    highest = float(pictures.max())
    if not (levels.min() >= 0 and levels.max() <= 255):
        raise InputError(
            f"Pictures in {path} run from {float(pictures.min()):.4g} to {highest:.4g}; expected 0 to {white}: "
            "copy the original file again."
        )
    if 0 < highest <= white / 255:
        raise InputError(
            f"Pictures in {path} have {highest:.3g} as their highest value but {white} is white here; multiply them so "
            f"that they span 0 to {white}."
        )
    return levels.astype(np.uint8)
