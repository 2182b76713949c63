"""Checkpoints of TensorFlow 1, written here byte by byte as its tables and messages have it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorflow_files import block, description, message, written

from weights.conversion import convert, read_tensors
from weights.manifest import CheckpointError
from weights.tf_checkpoint import is_tf_checkpoint, read_tf_checkpoint


def drawn():
    random = np.random.default_rng(0)
    shapes = {f"encoder/layer{n}/conv2d/W": (3, 3, n, 2) for n in range(1, 7)}
    arrays = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    arrays |= {name.replace("/W", "/b"): random.standard_normal(2, dtype=np.float32) for name in shapes}
    return arrays | {
        "generator/fc/W": random.standard_normal((40, 30)).astype(np.float32),
        "beta1_power": np.array(0.25, dtype=np.float32),
        "exact": random.standard_normal(3),
        "global_step": np.array(-7, dtype=np.int64),
        "counts": np.array([0, 1, 300, -(2**31)], dtype=np.int32),
        "flags": np.array([True, False]),
        "nothing": np.zeros((0, 3), dtype=np.float32),
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.ckpt"


@pytest.mark.parametrize("block_bytes", [1, 200, 10**6])
def test_variables_come_out_as_they_went_in(path, block_bytes):
    arrays = drawn()
    path.write_bytes(written(arrays, block_bytes))
    assert is_tf_checkpoint(path)
    found = read_tf_checkpoint(path)
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        assert found[name].numpy().dtype == values.dtype and found[name].shape == values.shape
        np.testing.assert_array_equal(found[name].numpy(), values)


def test_it_is_converted_as_pickles_are(path, tmp_path):
    arrays = drawn()
    path.write_bytes(written(arrays))
    convert(path, tmp_path / "model.safetensors", keeps="^(encoder|generator)/")
    made = load_file(tmp_path / "model.safetensors")
    assert made.keys() == {name for name in arrays if "/" in name}
    assert all(torch.equal(value, torch.from_numpy(arrays[name])) for name, value in made.items())


def test_a_pickle_is_none(path):
    torch.save({"weight": torch.ones(2)}, path)
    assert not is_tf_checkpoint(path) and read_tensors(path)["weight"].tolist() == [1, 1]
    path.write_bytes(b"short")
    assert not is_tf_checkpoint(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda arrays: written(arrays, compression=1), "compressed by Snappy"),
        (lambda arrays: written(arrays)[300:], "."),
        (lambda arrays: written(arrays)[:100] + written(arrays)[-48:], "does not lie within"),
        (lambda arrays: written(arrays | {"half": np.ones(2, np.float16)}), "half has TensorFlow's type 19"),
        (lambda arrays: written(arrays)[:-8], "does not end as a table does"),
        (lambda arrays: written(arrays).replace(b"global_step", b"local_steps"), "another checksum than its own"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(path, spoil, said):
    path.write_bytes(spoil(drawn()))
    with pytest.raises(CheckpointError, match=said) as caught:
        read_tf_checkpoint(path)
    told = str(caught.value)
    assert "net.ckpt cannot be read as a checkpoint of TensorFlow 1" in told and "\n" not in told and told.endswith(".")


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"one": np.zeros(4, np.float32)}, "one has 3 values for the shape"),
        ({"two": np.zeros(3, np.float32)}, "one has values and is not described"),
    ],
)
def test_values_and_description_have_to_agree(path, shown, said):
    path.write_bytes(written({"one": np.ones(3, np.float32)}, described=description(shown)))
    with pytest.raises(CheckpointError, match=said):
        read_tf_checkpoint(path)


def test_the_second_version_is_refused(path):
    header = bytes([1 << 3, 1]) + message(3, b"")
    path.write_bytes(written({}, described=header))
    with pytest.raises(CheckpointError, match="second version"):
        read_tf_checkpoint(path)


def test_no_damage_is_taken_for_something_else(path):
    """Every byte spoilt in turn: a sentence, or what was written, of bytes that say nothing."""
    arrays = {"a": np.arange(3, dtype=np.float32), "b": np.ones((2, 2), np.float32)}
    content, refused = written(arrays, 40), 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            found = read_tf_checkpoint(path)
        except CheckpointError:
            refused += 1
            continue
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(value.numpy(), arrays[name]) for name, value in found.items())
    assert refused > len(content) - 48 - 20  # the index of indices is not read, nor are zeros before the last number


def test_blocks_shorten_keys():
    """The writer does what it is to do: beginnings are shared, and whole at every fourth key."""
    content = block([(b"abc", b"1"), (b"abd", b"2")])
    assert content.startswith(b"\0\3\1abc1\2\1\1d2")
