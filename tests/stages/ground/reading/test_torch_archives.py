"""Files of torch come out as torch reads them, in both forms, and nothing that they could ask for is done."""

import os
import struct
import zipfile

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.ground.reading.torch_archives import read_torch

FORMS = pytest.mark.parametrize("archive", [True, False])


def save(path, value, archive):
    torch.save(value, path, _use_new_zipfile_serialization=archive)
    return path


def values(seed=0):
    draw = torch.Generator().manual_seed(seed)
    base = torch.randn(6, 10, generator=draw)
    kinds = (torch.float64, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
    return {
        "dataset": [
            {"eeg": torch.randn(4, 5 + row, generator=draw), "label": row, "image": 2 * row, "subject": 1}
            for row in range(4)
        ],
        "labels": ["n00000001", "n00000002"],
        "kinds": [(base * 9).to(kind) for kind in kinds],
        # Tensors that share their numbers.
        "views": [base, base.t(), base[1:4, 2:9:3], base[2]],
        "scalar": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "mixed": (np.arange(3.0), None, 1.5, "é"),
        "parameter": torch.arange(4.0, requires_grad=True),
    }


def same(one, other):
    if isinstance(one, torch.Tensor | np.ndarray):
        one = one.detach().numpy() if isinstance(one, torch.Tensor) else one
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return one == other and type(one) is type(other)


def refusal(path):
    with pytest.raises(InputError) as told:
        read_torch(path)
    message = str(told.value)
    assert str(path) in message and message.endswith(".") and "\n" not in message and len(message) < 700
    return message


@FORMS
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_read_as_torch_reads_it(tmp_path, archive, seed):
    path = save(tmp_path / "a.pth", values(seed), archive)
    # The file was written a line above; among its values are NumPy's, which torch's restricted reader refuses.
    assert same(torch.load(path, weights_only=False), read_torch(path))


@FORMS
def test_numbers_stay_in_the_file(tmp_path, archive):
    path = save(tmp_path / "a.pth", {"x": torch.arange(900.0)}, archive)
    found = read_torch(path)["x"]
    place = path.read_bytes().find(torch.arange(900.0).numpy().tobytes())
    with open(path, "r+b") as file:
        file.seek(place + 4)
        file.write(struct.pack("<f", -7))
    assert found[1] == -7 and not found.flags.writeable


class Runs:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


@FORMS
@pytest.mark.parametrize("call", [os.system, os.mkdir, torch.hub.load])
def test_nothing_is_called(tmp_path, archive, call):
    value = {"dataset": [torch.zeros(3), Runs(call, (str(tmp_path / "made"),))]}
    assert f"asks for {call.__module__}.{call.__name__}" in refusal(save(tmp_path / "a.pth", value, archive))
    assert not (tmp_path / "made").exists()


@FORMS
@pytest.mark.parametrize(
    "value",
    [
        torch.nn.Linear(2, 3),
        torch.nn.Parameter(torch.zeros(2)),
        torch.zeros(2, dtype=torch.bfloat16),
        torch.zeros(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(),
        torch.Size([1, 2]),
        torch.float32,
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_refused(tmp_path, archive, value):
    refusal(save(tmp_path / "a.pth", [value], archive))


# The older form: every size behind it is checked


@pytest.mark.parametrize("archive", [True, False])
def test_every_beginning_of_a_file_is_refused(tmp_path, archive):
    path = save(tmp_path / "a.pth", {"x": torch.arange(3.0), "label": 1}, archive)
    whole = path.read_bytes()
    for size in range(0, len(whole), 1 if len(whole) < 1000 else 7):
        path.write_bytes(whole[:size])
        refusal(path)


@FORMS
def test_changed_bytes_are_refused_or_read_and_nothing_else(tmp_path, archive):
    path = save(tmp_path / "a.pth", values(), archive)
    whole, draw, refused = path.read_bytes(), np.random.default_rng(archive), 0
    for _ in range(80):
        content = bytearray(whole)
        for place in draw.integers(len(content), size=draw.integers(1, 60)):
            content[place] = draw.integers(256)
        path.write_bytes(content)
        try:
            read_torch(path)
        except InputError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 30


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((3,), (3,), 0),
        ((3,), (1,), 2),
        ((3,), (2,), 0),
        ((5,), (1,), 0),
        ((3,), (200,), 0),
        ((255,), (0,), 0),
        ((2, 2), (2, 2), 1),
    ],
)
def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(tmp_path, size, stride, offset):
    """The same view, of a storage that has become one of four numbers."""
    path = save(tmp_path / "a.pth", {"x": torch.as_strided(torch.arange(1000.0), size, stride, offset)}, False)
    assert read_torch(path)["x"].shape == size
    path.write_bytes(rewritten(path, count=4))
    assert "reaches beyond its 4" in refusal(path)


def rewritten(path, count):
    """The older form with another number of numbers, in the pickle and behind it."""
    content = path.read_bytes()
    old = b"M" + struct.pack("<H", 1000)
    assert content.count(old) >= 1
    content = content.replace(old, b"M" + struct.pack("<H", count), 1)
    numbers = struct.pack("<q", 1000) + torch.arange(1000.0).numpy().tobytes()
    assert content.endswith(numbers)
    return content[: -len(numbers)] + struct.pack("<q", count) + torch.arange(float(count)).numpy().tobytes()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda content: content + b"\0", "follow its end"),
        (lambda content: content[:-1], "bytes but there are"),
        (lambda content: content[:-4000], "bytes but there are"),
        (lambda content: content[:-4004], "ends before the numbers"),
        (lambda content: content[:-4008] + struct.pack("<q", 999) + content[-4000:], "1,000 numbers and then 999"),
        (lambda content: content[:-4008] + struct.pack("<q", -1) + content[-4000:], "1,000 numbers and then -1"),
        (lambda content: content.replace(b"\x6c\xfc\x9c\x46", b"\x6c\xfc\x9c\x47", 1), "does not begin as"),
        (lambda content: content[content.index(b"\x80\x02", 4) :], "does not begin as"),
    ],
)
def test_damage_to_the_older_form(tmp_path, spoil, words):
    path = save(tmp_path / "a.pth", {"x": torch.arange(1000.0)}, False)
    path.write_bytes(spoil(path.read_bytes()))
    assert words in refusal(path)


def archived(path, change):
    """An archive of torch whose members were changed: dict of name to bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    kind = members.pop("kind", zipfile.ZIP_STORED)
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda members: members.pop("a/data/0"), "holds no numbers '0'"),
        (lambda members: members.update({"a/data/0": b"1234"}), "take 24 bytes but there are 4"),
        (lambda members: members.update({"kind": zipfile.ZIP_DEFLATED}), "is compressed"),
        (lambda members: members.pop("a/data.pkl"), "holds no data.pkl"),
        (lambda members: members.update({"a/data.pkl": b""}), "too early"),
        (lambda members: members.update({"a/data.pkl": b"\x80\x02Q."}), "makes no sense"),
        (lambda members: members.update({"a/data.pkl": b"\x80\x02)Q."}), "of plain values and tensors|cannot be read"),
    ],
)
def test_damage_to_an_archive(tmp_path, change, words):
    path = save(tmp_path / "a.pth", {"x": torch.arange(6.0)}, True)
    archived(path, change)
    assert any(word in refusal(path) for word in words.split("|"))


@FORMS
def test_the_other_order_of_bytes_is_read(tmp_path, archive):
    path = save(tmp_path / "a.pth", {"x": torch.arange(6, dtype=torch.int64)}, archive)
    numbers = np.arange(6, dtype="<i8").tobytes()
    if archive:
        archived(
            path,
            lambda members: members.update({"a/data/0": np.arange(6, dtype=">i8").tobytes(), "a/byteorder": b"big"}),
        )
    else:
        content = path.read_bytes().replace(numbers, np.arange(6, dtype=">i8").tobytes())
        path.write_bytes(content.replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89", 1))
        assert path.read_bytes().count(b"little_endianq\x02\x89") == 1
    assert read_torch(path)["x"].tolist() == list(range(6))


def test_what_is_no_file_of_torch_is_told(tmp_path):
    (tmp_path / "a.pth").write_text("<!DOCTYPE html>")
    assert "web page" in refusal(tmp_path / "a.pth")
    np.savez(tmp_path / "b.npz", x=np.eye(2))
    assert "holds no data.pkl" in refusal(tmp_path / "b.npz")
    assert "There is no file" in refusal(tmp_path / "c.pth")
