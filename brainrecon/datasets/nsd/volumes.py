"""Reading NSD's NIfTI volumes."""

from stages.ground.errors import InputError
from stages.ground.reading.nifti_files import read_nifti


def read_volume(path):
    """Values of a NIfTI volume, (x, y, z), in the file's own type; an InputError when it cannot be read."""
    if not path.is_file():
        raise InputError(f"There is no {path}; copy it from the NSD bucket to this place.")
    return read_nifti(path)
