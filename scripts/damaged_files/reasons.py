"""Why nobody could have known that a result is another one: no length, type, range, header, checksum or record tells."""

BYTES = ("cut", "flip", "flip_head", "zero_block", "zero_head", "junk_behind")
FORMATS = {
    ".nii": "NIfTI",
    ".npy": ".npy",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".mat": "MATLAB's format",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".safetensors": "safetensors",
    ".caffemodel": "a .caffemodel",
    ".pth": "a .pth of before PyTorch 1.6",
}
"""Formats without a checksum."""
TABLES = (".csv", ".tsv", ".txt", ".ctab")
OF_ARRAYS = {
    "zeros": "an array of zeros has the type and the shape of the valid one",
    "nan": "a value that is NaN is a voxel without values, which is left out or counted in a note",
    "few": "half the rows or columns: nothing in the file counts them",
    "turned": "a turned array: nothing in the file says which axis is which",
    "many": "an array that need not be there",
    "absent": "an array that need not be there",
    "group": "an array that need not be there",
    "loop": "an array that need not be there",
    "external": "an array that need not be there",
    "text": "text in place of text",
    "cell": "a cell array of the same content",
    "complex": "the same numbers as complex ones",
    "sparse": "the same numbers as a sparse matrix",
    "flipped": "an archive whose checksums were made for the other numbers",
    "byte order": "numbers in the other byte order, of the same type",
    "brackets": "an array that need not be there",
}


def reason(file, way, changed):
    """The reason for an accepted change, nothing if there is none.

    Parameters
    ----------
    file : pathlib.Path
    way : str
        As `mutations.damage` tells it.
    changed : list of str
        Parts of the result that are others.
    """
    name, _, done = way.partition(": ")
    suffix, what = file.suffix.lower(), ", ".join(changed)
    if "training" in changed:
        return "a damaged checkpoint of a training is as good as none: it begins anew"
    if name == "another_file" and suffix == ".txt":
        return f"any line of text may be an identifier: other {what}"
    if name == "empty" and suffix == ".toml":
        return f"an empty file is TOML without a table: other {what}"
    if changed == ["notes"]:
        return "the values are the same, and a note says what was left out"
    if name in BYTES and suffix in FORMATS:
        return f"{FORMATS[suffix]} has no checksum: other bytes are other {what}"
    if name == "table_cell" and done.endswith("to ''"):
        return f"an empty cell is one without a value, as pandas writes it: other {what}"
    if name in ("table_cell", "table_rows", *BYTES) and suffix in TABLES:
        return f"another cell or row of a table that holds together is another fact: other {what}"
    if name == "json_value" or (name in BYTES and suffix in (".json", ".jsonl")):
        return f"another value of the same type in JSON is another fact: other {what}"
    if name == "toml_value" or (name in BYTES and suffix == ".toml"):
        return f"another value of the same type in a configuration is another wish: other {what}"
    if name == "nifti_header":
        return f"another {done.rpartition(' ')[0]} in a NIfTI header that agrees with its size: other {what}"
    if name in ("hdf5_content", "mat_content", "zip_member", "npy_header"):
        kind = done.rpartition(", ")[2] if name != "npy_header" else done
        return f"{OF_ARRAYS[kind]}: other {what}" if kind in OF_ARRAYS else ""
    return ""
