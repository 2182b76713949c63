"""Caffe's files of weights, written by hand in Protocol Buffers' notation."""

import struct


def varint(number):
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def whole(field, number):
    return varint(field << 3) + varint(number)


def message(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def blob(values, old):
    data = message(5, struct.pack(f"<{values.size}f", *values.ravel()))
    if old:
        shape = (1,) * (4 - values.ndim) + values.shape
        return b"".join(whole(field, size) for field, size in zip((1, 2, 3, 4), shape)) + data
    return message(7, message(1, b"".join(varint(size) for size in values.shape))) + data


def layer(name, arrays, old):
    name_field, blob_field, field = (4, 6, 2) if old else (1, 7, 100)
    # Layers hold more than that: a type, and a weight of their loss as four bytes.
    inside = message(name_field, name.encode()) + whole(5, 4) + varint(8 << 3 | 5) + b"\0\0\0\0"
    return message(field, inside + b"".join(message(blob_field, blob(values, old)) for values in arrays))


def written(arrays, old):
    head = message(1, b"CaffeNet") + whole(3, 227)
    return head + b"".join(layer(name, values, old) for name, values in arrays.items()) + layer("relu1", [], old)
