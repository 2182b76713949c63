"""Pickles of plain values come out as they went in, and whatever else a pickle can ask for is refused and never done."""

import os
import pickle
import struct
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

from stages.ground.errors import InputError
from stages.ground.reading import pickle_machine
from stages.ground.reading.pickled_values import read_pickle

PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3, 4, 5])
Pair = namedtuple("Pair", "a b")


def values(rng):
    """Of every type that is read."""
    numbers = rng.normal(size=(5, 2, 3, 4))
    arrays = {
        f"{kind} {order}": np.array(numbers * 9, dtype=kind, order=order)
        for kind in ("<f8", ">f8", "<f4", ">i2", "u1", "<i8", "<c8")
        for order in "CF"
    }
    return {
        "arrays": arrays,
        "transposed": numbers.transpose(2, 0, 3, 1),
        "strided": numbers[::2, :, ::-1],
        "none": np.zeros((0, 3), np.float32),
        "bools": numbers > 0,
        "texts": np.array(["Oz", "été"]),
        "bytes": np.array([b"a", b"bcd"]),
        "objects": np.array(["Oz", 3, None, [1.5]], dtype=object),
        "names": ["Oz", "P7", "P7"],
        "nested": ({"a": [1, -2, 2**40, -(2**70), 1.5, True, False, None, b"raw"]}, ()),
        "scalars": [np.float64(2.5), np.int16(-3), np.str_("Oz"), np.bool_(True)],
        3: "number",
    }


def same(one, other):
    if isinstance(one, np.ndarray) and one.dtype != object:
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, np.ndarray):
        return one.tolist() == other
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return one == other and (isinstance(one, np.generic) or type(one) is type(other))


def refusal(path, content=None):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as told:
        read_pickle(path)
    message = str(told.value)
    assert str(path) in message and message.endswith(".") and "\n" not in message and len(message) < 700
    return message


@PROTOCOLS
@pytest.mark.parametrize("seed", [0, 1])
def test_what_was_pickled_is_read(tmp_path, protocol, seed):
    expected = values(np.random.default_rng(seed))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(expected, protocol=protocol))
    assert same(expected, read_pickle(tmp_path / "a.pkl"))


def test_an_object_in_a_npy_is_read(tmp_path):
    expected = values(np.random.default_rng(2))
    np.save(tmp_path / "a.npy", expected, allow_pickle=True)
    assert same(expected, read_pickle(tmp_path / "a.npy"))
    np.save(tmp_path / "b.npy", np.array([{"a": 1}, "b"], dtype=object), allow_pickle=True)
    assert read_pickle(tmp_path / "b.npy") == [{"a": 1}, "b"]


def test_what_python_2_wrote_is_read(tmp_path):
    """Text and bytes of one kind, in protocol 2: its opcodes by hand, as no Python 3 writes them."""
    raw = np.arange(3.0).tobytes()
    core = b"cnumpy.core.multiarray\n_reconstruct\n"
    array = core + b"(cnumpy\nndarray\nK\0\x85U\x01btRq\x01(K\x01K\x03\x85cnumpy\ndtype\nU\x02f8K\0K\x01\x87R"
    array += b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89U" + bytes([len(raw)]) + raw + b"tb"
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02}(U\x05times" + array + b"U\x02ch]U\x02Ozau.")
    found = read_pickle(path)
    assert found["times"].tolist() == [0, 1, 2] and found["ch"] == ["Oz"]


@PROTOCOLS
def test_numbers_stay_in_the_file(tmp_path, protocol):
    """What changes in the file changes in the array. Python 3 writes bytes as text in protocol 2, so that they are copied."""
    path, written = tmp_path / "a.pkl", np.arange(9000.0).reshape(3, 3000)
    path.write_bytes(pickle.dumps({"x": written}, protocol=protocol))
    found = read_pickle(path)["x"]
    place = path.read_bytes().find(written.tobytes())
    assert (place < 0) == (protocol == 2) and not found.flags.writeable
    if place > 0:
        with open(path, "r+b") as file:
            file.seek(place + 8)
            file.write(struct.pack("<d", -7))
        assert found[0, 1] == -7


# What would run something


class Runs:
    """Asks the reader to call something."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


@PROTOCOLS
@pytest.mark.parametrize("call", [os.system, os.unlink, os.mkdir])
def test_nothing_is_called(tmp_path, protocol, call):
    for number, value in enumerate(
        (Runs(call, (str(tmp_path / "made"),)), {"ch_names": [Runs(call, (str(tmp_path / "made"),))]})
    ):
        (tmp_path / "made").write_text("")
        path = tmp_path / f"{number}.npy"
        np.save(path, value, allow_pickle=True)
        assert f"asks for {call.__module__}.{call.__name__}" in refusal(path)
        assert call.__name__ in refusal(path, pickle.dumps(value, protocol=protocol))
        assert (tmp_path / "made").is_file()


@pytest.mark.parametrize(
    "value",
    [
        Runs(eval, ("1",)),
        Runs(getattr, (1, "real")),
        np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
        OrderedDict(a=1),
        Pair(1, 2),
        {1, 2},
        frozenset([1]),
        complex(1, 2),
        range(3),
        Pair,
        np.ndarray,
        np.dtype("f8"),
        np.random.default_rng(0),
        np.ma.masked_array([1.0], [True]),
        np.datetime64("2020-01-01"),
        np.zeros(2, dtype=[("a", "<f4")]),
        np.zeros(2, dtype="<f2,<i4"),
        np.zeros(3, dtype="V4"),
        np.array([[{}], [[]]], dtype=object),
        {(1, 2): 3},
        {1.5: 2},
        {None: 2},
        bytearray(b"abc"),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_other_values_are_refused(tmp_path, value):
    for protocol in (2, 3, 4):
        refusal(tmp_path / "a.pkl", pickle.dumps(value, protocol=protocol))


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


# Opcodes by hand: what no Python writes.
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n)R"
FLOAT = b"cnumpy\ndtype\nX\x02\0\0\0f8\x85R"


def filled(shape, kind=FLOAT, order=b"\x89", content=b"C\x08" + bytes(8)):
    return b"\x80\x03" + ARRAY + b"(K\x01" + shape + kind + order + content + b"tb."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "asks for os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "asks for os.system"),
        (b"\x80\x03cnumpy\nload\nX\x01\0\0\0a\x85R.", "asks for numpy.load"),
        (b"\x80\x03cnumpy\nndarray\nK\x03\x85R.", "makes no sense"),
        (b"\x80\x03cnumpy\nndarray\n.", "in the place of a value"),
        (b"\x80\x03cnumpy\ndtype\nX\x02\0\0\0f8\x85R.", "in the place of a value"),
        (b"\x80\x03" + ARRAY + b".", "in the place of a value"),
        (b"\x80\x03K\x01K\x02R.", "makes no sense"),
        (b"\x80\x03(i__main__\nRuns\n.", "instruction 0x69"),
        (b"\x80\x02(c__builtin__\neval\n", "asks for __builtin__.eval"),
        (b"\x80\x02\x82\x01.", "instruction 0x82"),
        (b"\x80\x04K\x01Q.", "refers to something beside itself"),
        (b"\x80\x04P1\n.", "instruction 0x50"),
        (b"\x80\x09N.", "protocol 9"),
        (b"\x80\x04h\x05.", "makes no sense"),
        (b"\x80\x04t.", "makes no sense"),
        (b"\x80\x04(\x85.", "makes no sense"),
        (b"\x80\x04e.", "makes no sense"),
        (b"\x80\x04N.N.", "bytes follow its end"),
        (b"\x80\x04NN.", "before its values are complete"),
        (b"\x80\x04(N.", "before its values are complete"),
        (b"\x80\x04]q\0h\0a.", "part of itself"),
        (b"\x80\x04}q\0X\x01\0\0\0ah\0s.", "part of itself"),
        (b"\x80\x04]q\0(h\0tq\x01a.", "part of itself"),
        (pickle.dumps(nested(80), protocol=4), "nested more than"),
        (b"\x80\x04" + b"]" * 90_000 + b"a" * 89_999 + b".", "nested more than"),
        (b"\x80\x04" + b")" + b"\x85" * 200_000 + b".", "nested more than"),
        (b"\x80\x04})" + b"\x85" * 200_000 + b"Ns.", "as a key"),
        (b"\x80\x04}K\x01NsK\x01Ns.", "is there twice"),
        (b"\x80\x04}(K\x01NK\x02u.", "makes no sense"),
        (b"\x80\x04]K\x01Ns.", "makes no sense"),
        (b"\x80\x04}Na.", "makes no sense"),
        (b"\x80\x04NNb.", "makes no sense"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", "too early"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**64 - 1) + b"x.", "too early"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.", "too early"),
        (b"\x80\x04B" + struct.pack("<I", 2**32 - 1) + b"x.", "too early"),
        (b"\x80\x04T" + struct.pack("<I", 2**31) + b"x.", "too early"),
        (b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b"N.", "within a frame"),
        (b"\x80\x04X\x02\0\0\0\xff\xfe.", "utf-8"),
        (b"\x80\x04X\x03\0\0\0\xed\xb2\x80.", "utf-8"),
        (b"\x80\x04\x8a\xffx", "too early"),
        (b"\x80\x03c" + b"a" * 5000, "name without an end"),
        (filled(b"K\x01\x85", order=b"\x88"), ""),
        (filled(b"K\x02\x85"), "16 bytes, but has 8"),
        (filled(b"J\xff\xff\xff\xff\x85"), "whose shape is none"),
        (filled(b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86"), "whose shape is none"),
        (filled(b"\x8a\x06\0\0\0\0\0\x10\x8a\x06\0\0\0\0\0\x10\x86"), "but has 8"),
        (filled(b"\x8a\xfe" + b"\x01" * 254 + b"\x85"), "whose shape is none"),
        (filled(b"X\x01\0\0\0a\x85"), "whose shape is none"),
        (filled(b"\x88\x85"), "whose shape is none"),
        (filled(b"(" + b"K\x01" * 40 + b"t"), "whose shape is none"),
        (filled(b"N"), "whose shape is none"),
        (filled(b"K\x01\x85", content=b"N"), "makes no sense"),
        (filled(b"K\x01\x85", content=b"]K\x01a"), "makes no sense"),
        (filled(b"K\x01\x85", kind=b"N"), "makes no sense"),
        (filled(b"K\x01\x85", kind=b"cnumpy\ndtype\nX\x02\0\0\0O8\x85R"), "neither numbers nor text"),
        (filled(b"K\x01\x85", kind=b"cnumpy\ndtype\nX\x02\0\0\0O8\x85R", content=b"]"), "0 objects"),
        (filled(b"K\x01\x85", kind=b"cnumpy\ndtype\nX\x02\0\0\0V8\x85R"), "neither numbers nor text"),
        (filled(b"K\x01\x85", kind=b"cnumpy\ndtype\nX\x0a\0\0\0S999999999\x85R"), "neither numbers nor text"),
        (filled(b"K\x01\x85", kind=b"cnumpy\ndtype\nX\x02\0\0\0U2\x85R", content=b"C\x08" + b"\xff" * 8), "Unicode"),
        (b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0utf-7\x86R.", "another encoding"),
        (b"\x80\x02c_codecs\nencode\nX\x02\0\0\0\xe2\x82X\x06\0\0\0latin1\x86R.", ""),
        (b"\x80\x02c_codecs\nencode\nX\x03\0\0\0\xe2\x82\xacX\x06\0\0\0latin1\x86R.", "latin-1"),
    ],
)
def test_what_no_pickler_writes_is_refused(tmp_path, content, words):
    if words == "":
        # Harmless: an array by columns, or text that ends within a letter, in whatever way it ends.
        (tmp_path / "a.pkl").write_bytes(content)
        try:
            read_pickle(tmp_path / "a.pkl")
        except InputError as error:
            assert "utf-8" in str(error)
        return
    assert words in refusal(tmp_path / "a.pkl", content)


def test_lists_that_share_each_other_without_end_are_read_at_once(tmp_path):
    """Sixty lists, each of the one before twice: 2**60 if they were written out."""
    content = b"\x80\x04]q\0" + b"".join(
        b"0](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(40)
    )
    # Nothing takes away from the stack, so lists hang in one list that ends up on top.
    content = content.replace(b"0](", b"](")
    (tmp_path / "a.pkl").write_bytes(content[:2] + b"(" + content[2:] + b"t.")
    found = read_pickle(tmp_path / "a.pkl")
    assert len(found) == 41 and found[40][0] is found[40][1] is found[39]
    shape = filled(b"h\x28")
    assert "whose shape is none" in refusal(tmp_path / "a.pkl", content + shape[2:])


def test_instructions_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_machine, "MOST_INSTRUCTIONS", 1000)
    assert "more than 1,000 instructions" in refusal(tmp_path / "a.pkl", b"\x80\x04(" + b"N" * 5000 + b"t.")


# Damage


@PROTOCOLS
@pytest.mark.parametrize("header", [True, False])
def test_every_beginning_of_a_file_is_refused(tmp_path, protocol, header):
    value = {"x": np.arange(6.0).reshape(2, 3), "ch_names": ["Oz", "P7"], "times": [0.5, 1, None]}
    whole = pickle.dumps(value, protocol=protocol)
    if header:
        np.save(tmp_path / "whole.npy", value, allow_pickle=True)
        content = (tmp_path / "whole.npy").read_bytes()
        whole = content[:128] + pickle.dumps(np.array(value, dtype=object), protocol=protocol)
    (tmp_path / "a.npy").write_bytes(whole)
    assert read_pickle(tmp_path / "a.npy")["ch_names"] == ["Oz", "P7"]
    for size in range(len(whole)):
        refusal(tmp_path / "a.npy", whole[:size])


@pytest.mark.parametrize("protocol", [2, 4])
def test_changed_bytes_are_refused_or_read_and_nothing_else(tmp_path, protocol):
    whole = pickle.dumps(values(np.random.default_rng(4)), protocol=protocol)
    draw, path, refused = np.random.default_rng(protocol), tmp_path / "a.pkl", 0
    for _ in range(150):
        content = bytearray(whole)
        for place in draw.integers(len(content), size=draw.integers(1, 20)):
            content[place] = draw.integers(256)
        path.write_bytes(content)
        try:
            read_pickle(path)
        except InputError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 75


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (bytes(99), "zeros"), (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull")],
)
def test_what_is_no_pickle_is_told(tmp_path, content, words):
    assert words in refusal(tmp_path / "a.npy", content)


def test_plain_arrays_folders_and_absent_files_are_told(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(2))
    assert "a plain array, float64 (2, 2)" in refusal(tmp_path / "a.npy")
    assert "There is no file" in refusal(tmp_path / "b.npy")
    (tmp_path / "folder").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder")
