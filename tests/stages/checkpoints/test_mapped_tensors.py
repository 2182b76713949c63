"""Mapped safetensors files against the library's own reader and writer."""

import json
import os
import re

import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file

from stages.checkpoints import mapped_tensors
from stages.checkpoints.mapped_tensors import DTYPES, create_tensors, map_tensors, reopen_tensors
from stages.ground.errors import InputError

SHAPES = {"vector": (5,), "matrix": (3, 7), "scalar": (), "nothing": (0,), "no rows": (0, 4), "deep": (2, 1, 3, 1, 2)}


def filled(shape, dtype, seed=0):
    dtype = np.dtype(dtype)
    drawn = np.random.default_rng(seed).integers(0, 2 if dtype.kind == "b" else 100, size=shape)
    return np.asarray(drawn).astype(dtype)


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype and found[name].shape == values.shape, name
        np.testing.assert_array_equal(found[name], values)


def write(path, arrays, metadata=None):
    tensors = create_tensors(path, {name: (values.shape, values.dtype) for name, values in arrays.items()}, metadata)
    for name, values in arrays.items():
        tensors[name][...] = values
        tensors[name].flush()
    return tensors


@pytest.fixture
def arrays():
    """Every dtype in every shape; items of one byte in odd numbers among larger ones."""
    return {
        f"{shape_name}/{name}": filled(shape, dtype)
        for name, dtype in DTYPES.items()
        for shape_name, shape in SHAPES.items()
    }


@pytest.mark.parametrize("metadata", [None, {}, {"a": "1", "größe": 'über\n"x"', "": ""}])
def test_written_vs_the_librarys_readers(tmp_path, arrays, metadata):
    path = tmp_path / "folder" / "model.safetensors"
    write(path, arrays, metadata)
    assert_same(load_file(path), arrays)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert_same({name: file.get_tensor(name) for name in file.keys()}, arrays)
        assert (file.metadata() or {}) == (metadata or {})
    found, kept = map_tensors(path)
    assert_same(found, arrays)
    assert kept == (metadata or {})


@pytest.mark.parametrize("metadata", [None, {}, {"a": "1", "größe": 'über\n"x"'}])
def test_mapped_vs_the_librarys_writer(tmp_path, arrays, metadata):
    save_file(arrays, tmp_path / "model.safetensors", metadata=metadata)
    found, kept = map_tensors(tmp_path / "model.safetensors")
    assert_same(found, arrays)
    assert kept == (metadata or {})


@pytest.mark.parametrize("name", ["Größe", "脳", "🧠.weight", 'a"b\\c', "line\nbreak", " ", "", "x" * 3000, "\u2028"])
def test_names(tmp_path, name):
    arrays = {name: filled((3, 5), np.float32), "another": filled((2,), np.int8)}
    write(tmp_path / "a", arrays)
    assert_same(load_file(tmp_path / "a"), arrays)
    save_file(arrays, tmp_path / "b")
    assert_same(map_tensors(tmp_path / "b")[0], arrays)


def test_no_tensors(tmp_path):
    assert create_tensors(tmp_path / "a", {}, {"only": "words"}) == {}
    assert load_file(tmp_path / "a") == {}
    assert map_tensors(tmp_path / "a") == ({}, {"only": "words"})
    save_file({}, tmp_path / "b")
    assert map_tensors(tmp_path / "b") == ({}, {})


def test_the_order_of_the_layout_and_aligned_items(tmp_path):
    layout = {"bytes": ((3,), np.int8), "doubles": ((5,), "float64"), "flags": ((1,), bool), "halves": ((7, 3), "<f2")}
    tensors = create_tensors(tmp_path / "a", layout)
    assert list(tensors) == list(layout)
    assert all(values.flags.aligned and not values.any() for values in tensors.values())


def test_the_header_is_as_the_format_has_it(tmp_path):
    for size in range(1, 12):
        write(tmp_path / "a", {"x" * size: filled((3,), np.int8)})
        content = (tmp_path / "a").read_bytes()
        length = int.from_bytes(content[:8], "little")
        assert length % 8 == 0 and len(content) == 8 + length + 3
        header = content[8 : 8 + length].decode()
        assert header.startswith("{") and header.rstrip(" ").endswith("}")
        assert json.loads(header) == {"x" * size: {"dtype": "I8", "shape": [3], "data_offsets": [0, 3]}}


def test_mapped_not_copied(tmp_path):
    arrays = {"a": filled((100, 3), np.float32), "b": filled((7,), np.int8), "c": filled((0, 3), np.int8)}
    write(tmp_path / "a", arrays)
    found, _ = map_tensors(tmp_path / "a")
    assert all(isinstance(values, np.memmap) for values in found.values())
    with open(tmp_path / "a", "r+b") as file:
        file.seek(-7, os.SEEK_END)
        file.write(b"\x05")
    assert found["b"][0] == 5


def test_what_is_written_to_a_mapped_tensor_never_reaches_the_file(tmp_path):
    write(tmp_path / "a", {"a": filled((100, 3), np.float32)})
    before = (tmp_path / "a").read_bytes()
    found, _ = map_tensors(tmp_path / "a")
    found["a"][:] = 7
    found["a"].flush()
    assert (tmp_path / "a").read_bytes() == before


def test_a_file_is_laid_out_and_its_space_is_taken_without_being_written(tmp_path):
    tensors = create_tensors(tmp_path / "a", {"large": ((1 << 17, 1 << 10), np.float16), "small": ((3,), np.int8)})
    assert (tmp_path / "a").stat().st_size > 1 << 28
    if hasattr(os, "posix_fallocate"):
        assert (tmp_path / "a").stat().st_blocks * 512 >= 1 << 28
    tensors["large"][-1, -1] = 2
    tensors["large"].flush()
    with safetensors.safe_open(tmp_path / "a", framework="numpy") as file:
        assert file.get_slice("large")[(1 << 17) - 1 :, 1022:].tolist() == [[0, 2]]


def test_reopened_for_writing_on(tmp_path):
    arrays = {"a": filled((6, 5), np.float16), "b": filled((3,), bool), "nothing": filled((0,), np.int64)}
    write(tmp_path / "a", {**arrays, "a": np.zeros_like(arrays["a"])}, {"kept": "yes"})
    again = reopen_tensors(tmp_path / "a")
    again["a"][...] = arrays["a"]
    for values in again.values():
        values.flush()
    assert_same(load_file(tmp_path / "a"), arrays)
    assert map_tensors(tmp_path / "a")[1] == {"kept": "yes"}


@pytest.mark.parametrize("dtype", [np.complex64, "datetime64[s]", "U3", object, np.uint16, ">f4"])
def test_dtypes_that_the_format_lacks(tmp_path, dtype):
    with pytest.raises(InputError, match="'x' has dtype .*; expected one of float64, float32"):
        create_tensors(tmp_path / "a", {"x": ((2,), dtype)})
    assert not (tmp_path / "a").exists()


def test_layouts_that_cannot_be(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="__metadata__"):
        create_tensors(tmp_path / "a", {"__metadata__": ((2,), np.int8)})
    with pytest.raises(InputError, match="strings by strings"):
        create_tensors(tmp_path / "a", {"x": ((2,), np.int8)}, {"n": 3})
    monkeypatch.setattr(mapped_tensors.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(InputError, match="takes 4,0.. bytes but the disk has 1,000 left"):
        create_tensors(tmp_path / "a", {"x": ((1000,), np.float32)})
    assert not (tmp_path / "a").exists()


# Damage


def with_header(header, n_bytes=0):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + bytes(n_bytes)


def entry(dtype="F32", shape=(2,), data_offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": data_offsets, **more}


DAMAGED = {
    "empty file": b"",
    "seven bytes": b"\2" + bytes(6),
    "no header": bytes(8),
    "header of one byte": with_header(b"{"),
    "header longer than the file": (1000).to_bytes(8, "little") + b"{}",
    "header of 16 exabytes": b"\xff" * 8 + b"{}",
    "header cut short": with_header({"a": entry()}, 8)[:30],
    "data cut short": with_header({"a": entry()}, 7),
    "data too long": with_header({"a": entry()}, 9),
    "data of nobody": with_header({}, 1),
    "not JSON": with_header(b"{]"),
    "not UTF-8": with_header(b'{"\xff": 1}'),
    "UTF-16": with_header("{}".encode("utf-16")),
    "a list": with_header([]),
    "a number": with_header(b"12"),
    "nested without end": with_header(b'{"a":' + b"[" * 200_000),
    "a name twice": with_header(b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2), 8),
    "NaN": with_header({"a": entry(more=float("nan"))}, 8),
    "metadata of numbers": with_header({"__metadata__": {"a": 1}}),
    "metadata of nothing": with_header({"__metadata__": None}),
    "metadata as a list": with_header({"__metadata__": []}),
    "an entry that is a number": with_header({"a": 1}, 8),
    "an entry without dtype": with_header({"a": {"shape": [2], "data_offsets": [0, 8]}}, 8),
    "an entry without shape": with_header({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, 8),
    "an entry without place": with_header({"a": {"dtype": "F32", "shape": [2]}}, 8),
    "a dtype that numpy lacks": with_header({"a": entry(dtype="BF16", shape=[4])}, 8),
    "a dtype that is a list": with_header({"a": entry(dtype=["F32"])}, 8),
    "a shape that is a number": with_header({"a": entry(shape=2)}, 8),
    "a shape that is text": with_header({"a": entry(shape="2")}, 8),
    "a shape of fractions": with_header({"a": entry(shape=[2.0])}, 8),
    "a shape of truths": with_header({"a": entry(shape=[True, 2])}, 8),
    "a shape below zero": with_header({"a": entry(shape=[-1, -2])}, 8),
    "another shape": with_header({"a": entry(shape=[3])}, 8),
    "a shape beyond numpy": with_header({"a": entry(shape=[0, 1 << 70], data_offsets=[0, 0])}),
    "a hundred dimensions": with_header({"a": entry(shape=[2] + [1] * 99)}, 8),
    "a shape of endless digits": with_header(
        b'{"a":{"dtype":"F32","shape":[%b],"data_offsets":[0,8]}}' % (b"9" * 5000), 8
    ),
    "a place below zero": with_header({"a": entry(data_offsets=[-8, 0])}, 8),
    "a place backwards": with_header({"a": entry(data_offsets=[8, 0])}, 8),
    "a place of fractions": with_header({"a": entry(data_offsets=[0, 8.0])}, 8),
    "a place of three": with_header({"a": entry(data_offsets=[0, 8, 8])}, 8),
    "a place outside": with_header({"a": entry(data_offsets=[8, 16])}, 8),
    "a gap": with_header({"a": entry(), "b": entry(data_offsets=[12, 20])}, 20),
    "an overlap": with_header({"a": entry(), "b": entry(data_offsets=[4, 12])}, 12),
    "one place for two": with_header({"a": entry(), "b": entry()}, 8),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    for use in (map_tensors, reopen_tensors):
        with pytest.raises(InputError, match=f"^{re.escape(str(path))} is not a whole safetensors file") as caught:
            use(path)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        map_tensors(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot be read"):
        map_tensors(tmp_path)


def test_unaligned_files_of_other_writers(tmp_path):
    content = with_header({"a": entry("I8", [3], [0, 3]), "b": entry("F32", [2], [3, 11])})
    values = np.array([1.5, -2], dtype=np.float32)
    (tmp_path / "a").write_bytes(content + b"\1\2\3" + values.tobytes())
    assert_same(map_tensors(tmp_path / "a")[0], {"a": np.array([1, 2, 3], dtype=np.int8), "b": values})


def corrupted(content, generator):
    """The file with one thing wrong with it; mostly in the header, because data have no check of their own."""
    length = 8 + int.from_bytes(content[:8], "little")
    damaged = bytearray(content)
    kind, at = generator.integers(6), int(generator.integers(length))
    if kind == 0:
        return content[: generator.integers(len(content))]
    if kind == 1:
        return content + generator.bytes(int(generator.integers(1, 40)))
    if kind == 2:
        damaged[at] = generator.integers(256)
    elif kind == 3:
        damaged[at] ^= 1 << int(generator.integers(8))
    elif kind == 4:  # what a header is made of, where it does not belong
        damaged[at] = generator.choice(list(b'0123456789{}[]",:-. efFIUB'))
    else:
        first, second = sorted(generator.integers(length, size=2))
        damaged[first:second] = generator.bytes(int(second - first))
    return bytes(damaged)


def test_random_damage_is_refused_or_read_as_the_library_reads_it(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {
        "a": filled((3, 5), np.float32),
        "bß": filled((7,), np.int8),
        "c": filled((), bool),
        "d": filled((2, 2), "f2"),
    }
    write(tmp_path / "whole", arrays, {"kept": "yes"})
    content = (tmp_path / "whole").read_bytes()
    path, read, refused = tmp_path / "damaged", 0, 0
    for _ in range(1500):
        path.write_bytes(corrupted(content, generator))
        try:
            found, metadata = map_tensors(path)
        except InputError:
            refused += 1
            continue
        assert_same(found, load_file(path))
        with safetensors.safe_open(path, framework="numpy") as file:
            assert (file.metadata() or {}) == metadata
        read += 1
    assert refused > 500 and read > 10
    for _ in range(300):
        path.write_bytes(generator.bytes(int(generator.integers(200))))
        with pytest.raises(InputError):
            map_tensors(path)
