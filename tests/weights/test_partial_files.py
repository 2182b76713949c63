"""What a killed process leaves half written is removed by the next, and what a living one writes is not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weights import partial_files, whole_files
from weights.partial_files import partial_name, sweep
from weights.whole_files import whole_folder, write_text

ROOT = Path(__file__).parents[2]
WRITE = (
    "import sys\nfrom weights.whole_files import whole_file\n"
    "with whole_file(sys.argv[1]) as partial:\n print(partial, flush=True)\n input()"
)


@pytest.fixture
def writer(tmp_path):
    """A living process in the middle of writing, and its partial file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path / "below" / "a.txt")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
    )
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def as_a_new_process(monkeypatch):
    monkeypatch.setattr(whole_files, "_swept", set())


def test_what_a_living_process_writes_stays_until_it_is_killed(tmp_path, writer):
    process, partial = writer
    own = partial_name(tmp_path / "mine.txt")
    own.touch()
    sweep(tmp_path)
    assert partial.exists() and own.exists()
    process.kill()
    process.wait()
    sweep(tmp_path, deep=False)
    assert partial.exists()
    sweep(tmp_path)
    assert not partial.exists() and own.exists()


def test_the_next_writing_in_a_folder_leaves_nothing_of_a_killed_one(tmp_path, writer):
    process, partial = writer
    process.kill()
    process.wait()
    (half := partial_name(partial.parent / "cohort")).mkdir()
    (half / "a").touch()
    half.rename(half.with_name(half.name.replace(f"-{os.getpid()}-", f"-{process.pid}-")))
    write_text(partial.parent / "b.txt", "b")
    assert [path.name for path in partial.parent.iterdir()] == ["b.txt"]


@pytest.mark.parametrize("name", ["", "0123456789ab-a.txt", "abcdef-17-01234567-a.txt"])
def test_what_comes_from_elsewhere_stays_for_a_day(tmp_path, name):
    theirs = tmp_path / f".partial-{name}"
    theirs.mkdir()
    (theirs / "inner").touch()
    sweep(tmp_path)
    old = time.time() - 25 * 3600
    os.utime(theirs, (old, old))
    sweep(tmp_path)
    # Something within is new.
    assert theirs.exists()
    os.utime(theirs / "inner", (old, old))
    sweep(tmp_path)
    assert not theirs.exists()


def test_nothing_else_is_removed_and_no_link_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(partial_files, "_is_left", lambda path: True)
    (theirs := tmp_path / "theirs").mkdir()
    (theirs / ".partial-a").touch()
    (mine := tmp_path / "mine").mkdir()
    for name in (".partial-a", "partial-a", ".lock", "a.partial", "a.txt"):
        (mine / name).touch()
    (mine / "link").symlink_to(theirs)
    (mine / ".partial-link").symlink_to(theirs)
    sweep(mine)
    assert sorted(path.name for path in mine.iterdir()) == [".lock", "a.partial", "a.txt", "link", "partial-a"]
    assert (theirs / ".partial-a").exists()


def test_a_name_of_any_length_that_is_allowed_has_room(tmp_path, monkeypatch):
    from weights.names import LONGEST

    monkeypatch.setattr(os, "getpid", lambda: 2**22)
    write_text(tmp_path / f"stim-{'x' * LONGEST}_sample-100.png", "")
    assert len(list(tmp_path.iterdir())) == 1


def test_half_a_folder_of_a_killed_process_goes_when_the_next_is_begun(tmp_path, monkeypatch):
    left = partial_name(tmp_path / "cohort")
    left.mkdir()
    monkeypatch.setattr(partial_files, "_lives", lambda process: False)
    with whole_folder(tmp_path / "cohort") as partial:
        assert list(tmp_path.iterdir()) == [partial]
