"""Files out of archives: only those that are wanted, to where the toolkit says."""

import shutil
import zipfile
from types import SimpleNamespace

import pytest

from brainrecon.datasets.archives import unpack
from stages.ground.errors import InputError


def archive(folder, members):
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as content:
        for name, text in members.items():
            content.writestr(name, text)
    return folder / "x.zip"


def test_only_what_is_wanted_is_unpacked_and_what_is_left_is_told(tmp_path):
    members = {
        "betas/a.csv": "1",
        "betas/b.csv": "2",
        "__MACOSX/betas/._a.csv": "no",
        "betas/": "",
        "betas/.DS_Store": "no",
    }
    file = archive(tmp_path, members)
    assert unpack(file, {"a.csv": tmp_path / "to" / "mine.csv"}) == ["b.csv"]
    assert (tmp_path / "to" / "mine.csv").read_text() == "1"
    assert {path.name for path in tmp_path.rglob("*")} == {"x.zip", "to", "mine.csv"}


def test_no_path_of_the_archive_is_followed(tmp_path):
    file = archive(tmp_path, {"../../../a.csv": "1", "/etc/b.csv": "2"})
    (tmp_path / "in").mkdir()
    assert unpack(file, {"a.csv": tmp_path / "in" / "a.csv", "b.csv": tmp_path / "in" / "b.csv"}) == []
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["a.csv", "b.csv"]
    assert not (tmp_path.parent / "a.csv").exists()


def test_what_is_there_stays_and_progress_is_told(tmp_path):
    file = archive(tmp_path, {"a.csv": "new", "b.csv": "22"})
    (tmp_path / "a.csv").write_text("mine")
    seen = []
    unpack(file, {"a.csv": tmp_path / "a.csv", "b.csv": tmp_path / "b.csv"}, lambda *step: seen.append(step))
    assert (tmp_path / "a.csv").read_text() == "mine" and seen == [("b.csv", 2, 2)]


@pytest.mark.parametrize(
    ("members", "told"),
    [({"b.csv": "1"}, "holds no a.csv but b.csv"), ({"x/a.csv": "1", "y/a.csv": "2"}, "holds two files called a.csv")],
)
def test_an_archive_without_the_file_is_told(tmp_path, members, told):
    file = archive(tmp_path, members)
    with pytest.raises(InputError, match=told):
        unpack(file, {"a.csv": tmp_path / "in" / "a.csv"})
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("place", [0.5, "content"])
def test_a_damaged_archive_leaves_nothing(tmp_path, place):
    file = archive(tmp_path, {"a.csv": "some text that is long enough to be packed, " * 40})
    content = bytearray(file.read_bytes())
    if place == "content":
        content[60] ^= 255
    else:
        content = content[: len(content) // 2]
    file.write_bytes(content)
    with pytest.raises(
        InputError, match="x.zip cannot be read as a .zip archive .*; remove it and fetch it again"
    ) as caught:
        unpack(file, {"a.csv": tmp_path / "a.csv"})
    assert "\n" not in str(caught.value) and [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_without_room_nothing_is_unpacked(tmp_path, monkeypatch):
    file = archive(tmp_path, {"a.csv": "1" * 5_000_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(InputError, match="takes 5.0 MB and 1.0 MB are free at .*; free some"):
        unpack(file, {"a.csv": tmp_path / "a.csv"})
    assert not (tmp_path / "a.csv").exists()
