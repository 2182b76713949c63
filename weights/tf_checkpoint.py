"""Checkpoints of TensorFlow 1 that are one file, as `Saver` wrote them in its first version: read without TensorFlow.

The file is a table of LevelDB's kind. It ends with 48 bytes: where the index lies, zeros, and a number that tells the format.
The index names the blocks. A block holds entries, each a key, which shares its beginning with the key before, and a value; then
the places at which keys are whole; and five bytes, the kind of compression and a checksum, CRC-32C in a disguise of LevelDB's.

The value of an entry is a protocol buffer. The first of them describes all tensors (field 1), each of the others holds one
(field 2): its name (1), which part of it this is (2), and its values (3).

A checkpoint of the second version, files with ``.index`` and ``.data-00000-of-00001``, is refused.
"""

import struct
from pathlib import Path

import numpy as np

from weights.checksums import crc32c
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError
from weights.protocol_buffers import fields, varint, whole_numbers

_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_FOOTER, _TRAILER = 48, 5
_SNAPPY = 1
_DISGUISE = 0xA282EAD8
# TensorFlow's number of a type -> field of its values, how they lie there (None: whole numbers of several bytes), type here.
_TYPES = {
    1: (5, "<f4", np.float32),
    2: (6, "<f8", np.float64),
    3: (7, None, np.int32),
    9: (10, None, np.int64),
    10: (11, None, np.bool_),
}


def is_tf_checkpoint(path):
    """Whether a file ends as a table does; what it holds is not known then."""
    with open(path, "rb") as file:
        file.seek(0, 2)
        if file.tell() < _FOOTER:
            return False
        file.seek(-len(_MAGIC), 2)
        return file.read() == _MAGIC


def read_tf_checkpoint(path):
    """Read the variables of a checkpoint onto the CPU.

    Parameters
    ----------
    path : path

    Returns
    -------
    tensors : dict of str to tensor
        By the variables' names, in the shapes that TensorFlow has.

    Raises
    ------
    CheckpointError
        The file is cut off, compressed or no such checkpoint, or has a variable of another type or in several parts.
    """
    import torch

    path = Path(path)
    try:
        entries = _entries_of_table(memoryview(np.memmap(path, mode="r")))
        described = _described(next(entries, memoryview(b"")))
        arrays = dict(_variable(entry, described) for entry in entries)
        if absent := described.keys() - arrays.keys():
            raise ValueError(f"the values of {sorted(absent)[0]} are missing")
    except (ValueError, IndexError, KeyError, TypeError, UnicodeDecodeError, struct.error) as error:
        told = why_no_tensors(path, error)
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint of TensorFlow 1 ({told}); fetch it again."
        ) from None
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def _entries_of_table(data):
    """Values of all entries of a table, in order."""
    if len(data) < _FOOTER or bytes(data[-len(_MAGIC) :]) != _MAGIC:
        raise ValueError("it does not end as a table does")
    place, index = len(data) - _FOOTER, []
    for _ in range(4):
        number, place = varint(data, place)
        index.append(number)
    for handle in _entries(_block(data, *index[2:])):
        offset, after = varint(handle, 0)
        size, _ = varint(handle, after)
        yield from _entries(_block(data, offset, size))


def _block(data, offset, size):
    if offset + size + _TRAILER > len(data) - _FOOTER:
        raise ValueError(f"a block of {size:,} bytes from {offset:,} does not lie within its {len(data):,}")
    if compression := data[offset + size]:
        raise ValueError(f"its blocks are compressed by {'Snappy' if compression == _SNAPPY else compression}")
    (told,) = struct.unpack("<I", data[offset + size + 1 : offset + size + _TRAILER])
    checksum = crc32c(data[offset : offset + size + 1])
    if told != ((checksum >> 15 | checksum << 17) + _DISGUISE) % 2**32:
        raise ValueError(f"the block at {offset:,} has another checksum than its own")
    return data[offset : offset + size]


def _entries(block):
    """Values of the entries of a block."""
    (n_restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (n_restarts + 1)
    if end < 0:
        raise ValueError(f"a block of {len(block):,} bytes announces {n_restarts:,} keys that are whole")
    place = 0
    while place < end:
        _, place = varint(block, place)  # of the key as many bytes are those of the key before
        own, place = varint(block, place)
        length, place = varint(block, place)
        if place + own + length > end:
            raise ValueError(f"an entry of {own + length:,} bytes is longer than its block")
        yield block[place + own : place + own + length]
        place += own + length


def _described(entry):
    """Shape and TensorFlow's number of the type of every tensor, by name."""
    (content,) = [value for number, value in fields(entry) if number == 1]
    if isinstance(content, int):
        raise ValueError("it is the index of a checkpoint of the second version, which is not read")
    described = {}
    for number, tensor in fields(content):
        if number == 1:
            inside = dict(fields(tensor))
            sizes = [dict(fields(size)).get(1, 0) for field, size in fields(inside.get(2, b"")) if field == 2]
            described[bytes(inside[1]).decode()] = tuple(sizes), inside.get(3)
    return described


def _variable(entry, described):
    """Name and values of one tensor."""
    (content,) = [value for number, value in fields(entry) if number == 2]
    inside = dict(fields(content))
    name = bytes(inside[1]).decode()
    if name not in described:
        raise ValueError(f"{name} has values and is not described, or comes in several parts")
    shape, kind = described[name]
    if kind not in _TYPES:
        raise ValueError(f"{name} has TensorFlow's type {kind}; expected numbers")
    field, layout, dtype = _TYPES[kind]
    parts = [value for number, value in fields(inside.get(3, b"")) if number == field]
    if layout is None:
        numbers = [number for part in parts for number in whole_numbers(part)]
        values = np.array(numbers, dtype=np.uint64).astype(np.int64).astype(dtype)
    else:
        values = np.concatenate([np.frombuffer(part, dtype=layout) for part in parts] or [np.empty(0)]).astype(dtype)
    if values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{name} has {values.size:,} values for the shape {shape}")
    return name, values.reshape(shape)
