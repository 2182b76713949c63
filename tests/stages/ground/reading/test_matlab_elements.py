"""Elements of MATLAB's files: those that SciPy cannot stand are named, and nothing else is."""

import struct
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from stages.ground.errors import InputError
from stages.ground.reading.matlab_elements import check_elements
from stages.ground.reading.matlab_files import read_mat

DOUBLE, TEXT, CELL, STRUCT = 6, 4, 1, 2


def element(kind, content, order="<"):
    return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)


def array(kind, *parts, shape=(1, 1), order="<", flags=0):
    head = element(6, struct.pack(f"{order}II", kind | flags, 0), order)
    dimensions = element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(14, head + dimensions + element(1, b"a", order) + b"".join(parts), order)


def number(kind=9, order="<"):
    return element(kind, struct.pack(f"{order}d", 3), order)


def small(kind, content):
    """An element within eight bytes."""
    return struct.pack("<HH", kind, len(content)) + content.ljust(4, b"\0")


def written(path, variable, order="<", packed=False):
    mark = b"IM" if order == "<" else b"MI"
    if packed:
        content = zlib.compress(variable)
        variable = struct.pack(f"{order}II", 15, len(content)) + content
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x100) + mark + variable)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("variable", "told"),
    [
        (array(DOUBLE, number(0x1000)), "an element has the type 4096 where numbers have to be"),
        (array(DOUBLE, small(0x809, b"x")), "an element has the type 2057 where numbers have to be"),
        (array(DOUBLE, number(14)), "an element has the type 14 where numbers have to be"),
        (array(DOUBLE, number(), flags=0x800) + array(DOUBLE, number()), ""),
        (array(TEXT, element(99, b"ab"), shape=(1, 2)), "an element has the type 99 where numbers have to be"),
        (array(TEXT, element(16, b""), shape=(2**20, 2**20)), "and no letters"),
        (array(TEXT, element(16, b"a"), shape=(1,)), r"an array has the shape \(1,\)"),
        (array(DOUBLE, number(), shape=(-1, 1)), r"an array has the shape \(-1, 1\)"),
        (array(CELL, array(DOUBLE, number(8))), "an element has the type 8 where numbers have to be"),
        (array(CELL, array(DOUBLE, number()), shape=(1, 10**9)), "it ends within an element"),
        (array(99, number()), "an array has the class 99"),
        (array(STRUCT, small(5, bytes(4)), element(1, b"ab")), "names are 0 letters long"),
        (array(STRUCT, small(5, b"\2\0\0\0"), element(1, b"a\0b\0"), array(DOUBLE, number(11))), "the type 11"),
    ],
)
def test_what_no_reader_knows_is_one_sentence(tmp_path, variable, told, packed):
    path = written(tmp_path / "design.mat", variable, packed=packed)
    with pytest.raises(InputError, match=f"design.mat cannot be read as a MATLAB file .*{told}"):
        read_mat(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_smallest_file_is_read_in_both_orders(tmp_path, order, packed):
    variable = array(DOUBLE, number(order=order), order=order)
    assert read_mat(written(tmp_path / "a.mat", variable, order, packed))["a"].tolist() == [[3.0]]


@pytest.mark.parametrize("compressed", [False, True])
def test_whatever_scipy_writes_passes(tmp_path, compressed):
    record = np.zeros((2, 3), dtype=[("a", object), ("b", object)])
    record["a"], record["b"] = "text", None
    record["b"][:] = [[np.eye(2)] * 3] * 2
    content = {
        "numbers": np.arange(24.0).reshape(2, 3, 4),
        "complex": np.array([[1 + 2j]]),
        "logical": np.array([[True, False]]),
        "text": "abc",
        "texts": np.array(["one", "three", "é"]),
        "none": np.zeros((0, 3)),
        "no_text": "",
        "cells": np.array([["a", 1.0], [np.zeros((2, 2), np.uint8), {"deep": {"deeper": [1, "x"]}}]], dtype=object),
        "record": record,
        "sparse": scipy.sparse.csc_matrix(np.eye(3)),
        "many": np.random.default_rng(0).integers(0, 255, (300, 300)).astype(np.uint8),
    }
    scipy.io.savemat(tmp_path / "a.mat", content, do_compression=compressed)
    check_elements(tmp_path / "a.mat")
    del content["sparse"]
    scipy.io.savemat(tmp_path / "a.mat", content, do_compression=compressed)
    found = read_mat(tmp_path / "a.mat")
    expected = scipy.io.loadmat(tmp_path / "a.mat")
    assert repr(found) == repr({name: value for name, value in expected.items() if name[0] != "_"})


def test_files_of_other_versions_are_left_alone(tmp_path):
    scipy.io.savemat(tmp_path / "four.mat", {"a": np.eye(2)}, format="4")
    check_elements(tmp_path / "four.mat")
    assert read_mat(tmp_path / "four.mat")["a"].tolist() == [[1, 0], [0, 1]]
    (tmp_path / "short.mat").write_bytes(b"MATLAB")
    check_elements(tmp_path / "short.mat")


def test_cells_beyond_the_limit_are_left_to_scipy(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.ground.reading.matlab_elements.MOST_ARRAYS", 3)
    scipy.io.savemat(tmp_path / "a.mat", {"a": np.array([1.0, 2.0, 3.0, 4.0], dtype=object)})
    assert read_mat(tmp_path / "a.mat", squeeze_me=True)["a"].tolist() == [1, 2, 3, 4]
