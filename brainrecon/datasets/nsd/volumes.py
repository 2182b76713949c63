"""Reading NSD's NIfTI volumes, with damage told in one sentence."""

import zlib

import nibabel
import numpy as np

from stages.ground.errors import InputError

DAMAGE = (OSError, EOFError, zlib.error, nibabel.filebasedimages.ImageFileError)
"""What nibabel, gzip and h5py raise when a file is truncated or no such file at all."""


def one_line(error):
    """An error's text without line breaks, or its name when it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def read_volume(path):
    """Values of a NIfTI volume, (x, y, z), in the file's own type; an InputError when it cannot be read."""
    if not path.is_file():
        raise InputError(f"There is no {path}; copy it from the NSD bucket to this place.")
    try:
        return np.asanyarray(nibabel.load(path).dataobj)
    except DAMAGE as error:
        raise InputError(f"{path} is damaged or incomplete ({one_line(error)}); copy the file again.") from error
