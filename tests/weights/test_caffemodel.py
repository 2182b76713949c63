"""Caffe's files, written here byte by byte as protocol buffers have it."""

import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from weights.caffemodel import read_caffemodel
from weights.conversion import convert
from weights.store import CheckpointError


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


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return {
        "conv1": [random.standard_normal((6, 3, 2, 2), dtype=np.float32), random.standard_normal(6, dtype=np.float32)],
        "fc8": [random.standard_normal((5, 300), dtype=np.float32), random.standard_normal(5, dtype=np.float32)],
    }


def written(arrays, old):
    head = message(1, b"CaffeNet") + whole(3, 227)
    return head + b"".join(layer(name, values, old) for name, values in arrays.items()) + layer("relu1", [], old)


@pytest.mark.parametrize("old", [True, False])
def test_weights_come_out_as_they_went_in(tmp_path, arrays, old):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(written(arrays, old))
    found = read_caffemodel(path)
    assert set(found) == {"conv1.weight", "conv1.bias", "fc8.weight", "fc8.bias"}
    for name, (weight, bias) in arrays.items():
        np.testing.assert_array_equal(found[f"{name}.weight"].numpy(), weight)
        np.testing.assert_array_equal(found[f"{name}.bias"].numpy(), bias)
    convert(path, tmp_path / "model.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in load_file(tmp_path / "model.safetensors").items())


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-7], lambda data: b"\xff" * 20, lambda data: b"", lambda data: b"\x0b" + data]
)
def test_damaged_files_are_refused(tmp_path, arrays, spoil):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(spoil(written(arrays, True)))
    with pytest.raises(CheckpointError, match="net.caffemodel (cannot be read|holds no layers)"):
        read_caffemodel(path)
