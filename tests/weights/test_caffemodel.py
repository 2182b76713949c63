"""Caffe's files, written here byte by byte as protocol buffers have it."""

import numpy as np
import pytest
import torch
from caffe_files import written
from safetensors.torch import load_file

from weights.caffemodel import read_caffemodel
from weights.conversion import convert
from weights.store import CheckpointError


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return {
        "conv1": [random.standard_normal((6, 3, 2, 2), dtype=np.float32), random.standard_normal(6, dtype=np.float32)],
        "fc8": [random.standard_normal((5, 300), dtype=np.float32), random.standard_normal(5, dtype=np.float32)],
    }


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
