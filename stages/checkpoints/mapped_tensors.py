"""Safetensors files that are larger than memory, mapped: written in place, read without a copy.

The library's own writer takes arrays that are in memory. Here a file is laid out first and then filled, part after part;
what stands in it is an ordinary safetensors file at every moment.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import numpy as np

from stages.ground.errors import InputError
from weights.contents import why_no_tensors
from weights.whole_files import make_folder, reserve

# Little-endian, as the format has it. https://github.com/huggingface/safetensors#format
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {np.dtype(code): name for name, code in DTYPES.items()}
# The library reads no longer header.
_LONGEST_HEADER = 100_000_000


def create_tensors(path, layout, metadata=None):
    """Make a safetensors file full of zeros and map it for writing.

    The file takes room on the disk as it is filled.

    Parameters
    ----------
    path : path-like
        Its folder is made if it is missing; a file of that name is replaced.
    layout : dict of str to (shape, dtype)
        float16, float32, float64, int8 to int64, uint8 or bool.
    metadata : dict of str to str, optional

    Returns
    -------
    dict of str to numpy.memmap
        Writable, in the order of `layout`. What is written stands in the file once the arrays are gone, or after
        ``flush()`` of any of them.

    Raises
    ------
    InputError
        A dtype or metadata that the format does not have; a disk with too little room.
    """
    entries, offset = {}, 0
    # Large items first, as the library does it: each tensor then starts at a multiple of its item's size.
    for name, (shape, dtype) in sorted(layout.items(), key=lambda item: -np.dtype(item[1][1]).itemsize):
        dtype = np.dtype(dtype)
        if dtype not in _NAMES:
            raise InputError(
                f"Tensor {name!r} has dtype {dtype}; expected one of "
                f"{', '.join(str(np.dtype(code)) for code in DTYPES.values())}."
            )
        if name == "__metadata__":
            raise InputError("A tensor cannot be called '__metadata__'; give it another name.")
        shape = [int(n) for n in shape]
        end = offset + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": [offset, end]}
        offset = end
    try:
        described = {"__metadata__": _text(metadata), **entries} if metadata else entries
    except ValueError as error:
        raise InputError(f"In {path}, {error}: write numbers and lists as JSON.") from None
    header = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path, size = Path(path), 8 + len(header) + offset
    make_folder(path.parent)
    free = shutil.disk_usage(path.parent).free
    if size > free:
        # Said now, because a process that runs out of room while it writes to a map is killed without a word.
        raise InputError(
            f"{path} takes {size:,} bytes but the disk has {free:,} left; make room or name another folder."
        )
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(size)
    reserve(path)
    tensors = _views(np.memmap(path, dtype=np.uint8, mode="r+"), entries, 8 + len(header))
    return {name: tensors[name] for name in layout}


def reopen_tensors(path):
    """Map a file that `create_tensors` made for writing on: dict of str to numpy.memmap; raises what `map_tensors` does."""
    return _mapped(path, "r+")[0]


def map_tensors(path):
    """Map a safetensors file for reading.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    tensors : dict of str to numpy.memmap
        In the order of the header; nothing is read before it is used. What is written to one stays in this process
        and never reaches the file (torch takes no array that must not be written to).
    metadata : dict of str to str

    Raises
    ------
    InputError
        A file that is cut short, longer than its header says, or whose header is damaged.
    FileNotFoundError
        No such file: the caller knows what would have written it.
    """
    return _mapped(path, "c")


def _mapped(path, mode):
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
                raise ValueError(f"its header would have {length:,} bytes and the file has {size:,}")
            header = file.read(length).decode()
        entries = json.loads(header, object_pairs_hook=_distinct, parse_constant=_no_number)
        metadata = _text(entries.pop("__metadata__", {}))
        _check_places(entries, size - 8 - length)
        return _views(np.memmap(path, dtype=np.uint8, mode=mode), entries, 8 + length), metadata
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name a safetensors file.") from None
    except Exception as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({why_no_tensors(path, error)}); write or download it again."
        ) from None


def _views(file, entries, start):
    """Arrays over the bytes of a mapped file, whose data begin at byte `start`."""
    tensors = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        values = file[start + begin : start + end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
        # A slice of nothing has lost its type.
        tensors[name] = values.view(np.memmap)
    return tensors


def _check_places(entries, n_bytes):
    """Raise a ValueError unless the tensors fill `n_bytes` bytes, one after the other, each as long as its shape says."""
    offset = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if dtype not in DTYPES:
            raise ValueError(f"tensor {name!r} has dtype {dtype!r}, expected one of {', '.join(DTYPES)}")
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
            raise ValueError(f"tensor {name!r} has shape {shape} at bytes {begin} to {end}")
        expected = offset + math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
        if (begin, end) != (offset, expected):
            raise ValueError(f"tensor {name!r} lies at bytes {begin} to {end}, expected {offset} to {expected}")
        offset = end
    if offset != n_bytes:
        raise ValueError(f"its tensors have {offset:,} bytes and the file holds {n_bytes:,}")


def _text(metadata):
    """Return the metadata themselves; a ValueError unless they are strings by strings."""
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for entry in metadata.items() for text in entry):
        raise ValueError(f"metadata are {metadata}, expected strings by strings")
    return metadata


def _distinct(pairs):
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("its header says a name twice")
    return entries


def _no_number(name):
    raise ValueError(f"its header holds {name}")
