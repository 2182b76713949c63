"""Ways to damage a file, each a function of its content and of a generator of random numbers.

A way gives the new content, or that and what exactly was done. Of HDF5 and MATLAB's files it gets the path. One kind of damage
alone, which a way may draw, is a function of its own. Each kind of file has a module of its own, `of_...`.
"""

from damaged_files.of_any_file import ANY, flip
from damaged_files.of_arrays import nifti_header, npy_header, zip_member
from damaged_files.of_hdf5_and_mat import hdf5_content, mat_content
from damaged_files.of_pictures import picture_bomb, picture_program
from damaged_files.of_tensors import tensors
from damaged_files.of_text import (
    huge_number,
    json_outermost,
    json_value,
    nested,
    other_encoding,
    table_cell,
    table_rows,
    toml_value,
)

OF_SUFFIX = {
    ".json": [other_encoding, json_value, json_value, json_value, json_outermost, nested, huge_number],
    ".jsonl": [other_encoding, nested],
    ".toml": [other_encoding, toml_value, toml_value, nested],
    ".csv": [other_encoding, table_cell, table_cell, table_rows],
    ".txt": [other_encoding, table_cell, table_rows],
    ".tsv": [other_encoding, table_cell, table_cell, table_rows],
    ".npy": [npy_header, npy_header],
    ".npz": [zip_member, zip_member],
    ".h5": [hdf5_content, hdf5_content, hdf5_content],
    ".hdf5": [hdf5_content, hdf5_content, hdf5_content],
    ".mat": [mat_content, mat_content],
    ".gz": [nifti_header, nifti_header, nifti_header],
    ".nii": [nifti_header, nifti_header, nifti_header],
    ".png": [picture_bomb, picture_program],
    ".safetensors": [tensors, tensors],
}
"""Ways for a kind of file, beside those for any; one that is named more often is taken more often."""

_IN_PLACE = (hdf5_content, mat_content)


def damage(path, draw):
    """Damage a file in a way that is drawn; its name.

    Parameters
    ----------
    path : pathlib.Path
        A copy, for it is written anew.
    draw : numpy.random.Generator

    Returns
    -------
    str
        The way's name, and what exactly it did if it says so; or "nothing" if it does not suit the file.
    """
    content = path.read_bytes()
    ways = ANY + OF_SUFFIX.get(path.suffix, [])
    way = ways[draw.integers(len(ways))]
    try:
        if way in _IN_PLACE:
            # Never through a link to the valid file.
            path.unlink()
            path.write_bytes(content)
            return f"{way.__name__}: {way(path, draw)}"
        damaged = way(content, draw)
    except Exception:
        damaged, way = flip(content, draw) if content else content, flip
    damaged, done = damaged if isinstance(damaged, tuple) else (damaged, "")
    path.unlink()
    path.write_bytes(damaged)
    return (f"{way.__name__}: {done}" if done else way.__name__) if damaged != content else "nothing"
