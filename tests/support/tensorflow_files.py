"""Checkpoints of TensorFlow 1 in one file, written by hand: a table of LevelDB's kind around Protocol Buffers' notation."""

import struct

import numpy as np
from caffe_files import message, varint, whole

RESTART_INTERVAL = 4
TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bool": 10, "float16": 19}


def shape_message(shape):
    return b"".join(message(2, whole(1, size)) for size in shape)


def slice_message(shape):
    # An extent without a length is the whole of its axis.
    return b"".join(message(1, b"") for _ in shape)


def values_message(values):
    if values.dtype == np.float32:
        return message(5, values.astype("<f4").tobytes())
    if values.dtype == np.float64:
        return message(6, values.astype("<f8").tobytes())
    field = {"int32": 7, "int64": 10, "bool": 11, "float16": 13}[values.dtype.name]
    numbers = values.view(np.uint16) if values.dtype == np.float16 else values
    return message(field, b"".join(varint(int(number) % 2**64) for number in numbers.ravel()))


def description(arrays):
    tensors = b""
    for name, values in arrays.items():
        one = message(1, name.encode()) + message(2, shape_message(values.shape)) + whole(3, TYPES[values.dtype.name])
        tensors += message(1, one + message(4, slice_message(values.shape)))
    return message(1, tensors + message(2, whole(1, 0)))


def variable(name, values):
    content = message(1, name.encode()) + message(2, slice_message(values.shape)) + message(3, values_message(values))
    return message(2, content)


def block(entries):
    """A block of (key, value), its keys shortened by what they share, and its trailer."""
    content, restarts, before = b"", [], b""
    for number, (key, value) in enumerate(entries):
        if number % RESTART_INTERVAL == 0:
            restarts.append(len(content))
            before = b""
        shared = next((k for k, (a, b) in enumerate(zip(key, before)) if a != b), min(len(key), len(before)))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return content + b"".join(struct.pack("<I", place) for place in [*restarts, len(restarts)])


def checksum(content):
    """CRC-32C bit by bit, turned and shifted as LevelDB stores it."""
    register = 0xFFFFFFFF
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    register ^= 0xFFFFFFFF
    return ((register >> 15 | register << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def written(arrays, block_bytes=200, compression=0, described=None):
    """A checkpoint of variables, name -> array; a block is closed once it has so many bytes. `described` is its first entry."""
    entries = [(b"", description(arrays) if described is None else described)]
    # Keys begin with a zero and the name; what follows tells parts of a variable, of which there is one.
    entries += [(b"\0" + name.encode() + b"\0\1\x80", variable(name, arrays[name])) for name in sorted(arrays)]
    data, index, waiting = b"", [], []

    def put(content):
        nonlocal data
        handle = varint(len(data)) + varint(len(content))
        whole = content + bytes([compression])
        data += whole + struct.pack("<I", checksum(whole))
        return handle

    for key, value in entries:
        waiting.append((key, value))
        if len(block(waiting)) >= block_bytes:
            index.append((key, put(block(waiting))))
            waiting = []
    if waiting:
        index.append((waiting[-1][0], put(block(waiting))))
    handles = put(block([])) + put(block(index))
    return data + handles + bytes(40 - len(handles)) + struct.pack("<Q", 0xDB4775248B80FB57)
