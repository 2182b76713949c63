"""A file or folder is the old one or the new one, never half of either; and a lock holds until its process ends."""

import errno
import os
import re
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import filelock
import pytest
from safetensors import SafetensorError

from weights import whole_files
from weights.partial_files import is_partial, partial_name
from weights.whole_files import locked, put_in_place, whole_file, whole_folder, write_text

ROOT = Path(__file__).parents[2]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_new_content_replaces_the_old(tmp_path):
    write_text(tmp_path / "folder" / "a.txt", "one\n")
    write_text(tmp_path / "folder" / "a.txt", "two\r\n")
    assert (tmp_path / "folder" / "a.txt").read_bytes() == b"two\r\n"
    assert names(tmp_path / "folder") == ["a.txt"]


def test_the_users_rights_hold(tmp_path):
    write_text(tmp_path / "plain.txt", "")
    with whole_file(tmp_path / "private.txt") as partial:
        partial.unlink()
        partial.touch(mode=0o600)
    assert (tmp_path / "private.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


# Rights of the folder -> of a file and of a folder made in it under the umask 077.
SHARED = {
    0o755: (0o600, 0o700),
    0o700: (0o600, 0o700),
    0o770: (0o660, 0o770),
    0o777: (0o664, 0o777),
    0o1777: (0o600, 0o700),
}


@pytest.mark.parametrize("rights", SHARED)
def test_what_several_people_may_write_they_may_read(tmp_path, rights):
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(rights)
    before = os.umask(0o077)
    try:
        with whole_file(place / "new" / "a.txt") as partial:
            partial.unlink()
            partial.touch(mode=0o600)
        with whole_folder(place / "whole") as partial:
            (partial / "inner").mkdir(mode=0o700)
            (partial / "inner" / "a.txt").touch(mode=0o600)
        with locked(place):
            pass
    finally:
        os.umask(before)
    file, folder = SHARED[rights]
    for path in (place / "new", place / "whole", place / "whole" / "inner"):
        assert path.stat().st_mode & 0o777 == folder
    for path in (place / "new" / "a.txt", place / "whole" / "inner" / "a.txt"):
        assert path.stat().st_mode & 0o777 == file
    assert (place / ".lock").stat().st_mode & 0o777 == 0o600 | (rights & 0o066)


def test_a_lock_never_empties_the_file_that_a_link_points_to(tmp_path):
    (tmp_path / "theirs.txt").write_text("theirs")
    (tmp_path / ".lock").symlink_to(tmp_path / "theirs.txt")
    with pytest.raises(OSError), locked(tmp_path):
        pass
    assert (tmp_path / "theirs.txt").read_text() == "theirs"


def test_what_a_killed_process_leaves_is_told_from_files(tmp_path):
    left = partial_name(tmp_path / "config.toml")
    assert is_partial(left) and is_partial(tmp_path / ".fit.lock")
    assert not any(is_partial(tmp_path / name) for name in ("config.toml", ".bashrc", "partial-1-a"))


@pytest.mark.parametrize("name", ["a.npy", "a.nii.gz", ".pulled.json", "stim-a.b_sample-0.png", "no suffix"])
def test_an_interrupted_writing_leaves_the_old(tmp_path, name):
    write_text(tmp_path / name, "old")
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / name) as partial:
        assert partial.parent == tmp_path and partial.name.startswith(".") and partial.name.endswith(name)
        partial.write_text("half of the new")
        raise KeyboardInterrupt
    assert (tmp_path / name).read_text() == "old"
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_appears_whole(tmp_path, there):
    target = tmp_path / "above" / "one"
    if there:
        target.mkdir(parents=True)
    with whole_folder(target) as partial:
        assert partial.name.startswith(".") and partial.parent == target.parent
        (partial / "a.txt").write_text("a")
        assert not there or not names(target)
    assert names(target) == ["a.txt"] and names(target.parent) == ["one"]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "one") as partial:
        (partial / "a.txt").write_text("half")
        raise KeyboardInterrupt
    assert not names(tmp_path)


def test_a_folder_that_holds_something_stays(tmp_path):
    with pytest.raises(OSError), whole_folder(tmp_path / "one") as partial:
        (partial / "new.txt").write_text("new")
        # Another process was faster.
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / "theirs.txt").write_text("theirs")
    assert names(tmp_path) == ["one"] and names(tmp_path / "one") == ["theirs.txt"]


def test_a_finished_file_or_folder_takes_its_name(tmp_path):
    for name in ("file", "folder"):
        for content in ("old", "new"):
            partial = partial_name(tmp_path / name)
            if name == "folder":
                partial.mkdir()
                (partial / content).touch()
            else:
                partial.write_text(content)
            put_in_place(partial, tmp_path / name)
    assert (tmp_path / "file").read_text() == "new"
    assert names(tmp_path / "folder") == ["new"]
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("kind", ["file", "folder", "text", "replaced folder"])
def test_content_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch, kind):
    """What a power cut may lose is what was not waited for: every file written is, then the name, then its folder."""
    done, names = [], {}
    fsync, replace, rename, opened = os.fsync, os.replace, os.rename, os.open

    def note_opening(path, *rest, **options):
        descriptor = opened(path, *rest, **options)
        names[descriptor] = Path(path).name
        return descriptor

    monkeypatch.setattr(os, "open", note_opening)
    monkeypatch.setattr(os, "fsync", lambda one: (done.append(("on disk", names.get(one))), fsync(one)))
    for name, move in (("replace", replace), ("rename", rename)):
        monkeypatch.setattr(
            os, name, lambda old, new, move=move: (done.append(("named", Path(new).name)), move(old, new))
        )
    target = tmp_path / "target"
    if kind == "text":
        write_text(target, "content")
    elif kind == "file":
        with whole_file(target) as partial:
            partial.write_text("content")
    elif kind == "folder":
        with whole_folder(target) as partial:
            (partial / "a.txt").write_text("content")
    else:
        target.mkdir()
        (partial := tmp_path / "partial").mkdir()
        (partial / "a.txt").write_text("content")
        put_in_place(partial, target)
    named = done.index(("named", "target"))
    before, after = {name for what, name in done[:named] if what == "on disk"}, done[named + 1 :]
    assert ("a.txt" in before) if "folder" in kind else any(name.endswith("target") for name in before)
    assert after[0] == ("on disk", tmp_path.name)


def test_space_is_taken_before_a_map_is_written_to(tmp_path, monkeypatch):
    with open(tmp_path / "a", "wb") as file:
        file.truncate(1_000_000)
    whole_files.reserve(tmp_path / "a")
    assert (tmp_path / "a").stat().st_blocks * 512 >= 1_000_000

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="1,000,000 bytes are wanted and .* are free") as told:
        whole_files.reserve(tmp_path / "a")
    assert told.value.errno == errno.ENOSPC
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(errno.EOPNOTSUPP, "no")))
    whole_files.reserve(tmp_path / "a")


# The lock

HOLD = "import sys\nfrom weights.whole_files import locked\nwith locked(sys.argv[1]):\n print(1, flush=True)\n input()"


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "cell")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def test_a_lock_is_held_until_its_process_is_killed(tmp_path, holder):
    with locked(tmp_path / "cell", wait=False) as held:
        assert not held
    with locked(tmp_path / "cell", name=".other", wait=False) as held:
        assert held
    waited = []

    def kill():
        waited.append(True)
        holder.kill()

    with locked(tmp_path / "cell", waiting=kill) as held:
        assert held and waited
    assert names(tmp_path / "cell") == [".lock", ".other"]


def test_nobody_is_told_to_wait_for_a_free_lock(tmp_path):
    with locked(tmp_path, waiting=pytest.fail) as held:
        assert held


def test_a_lock_is_given_up_when_the_block_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    with locked(tmp_path, wait=False) as held:
        assert held


def test_threads_exclude_each_other(tmp_path):
    inside, most = [], []

    def work():
        with locked(tmp_path):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1] * 8


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), NotImplementedError("flock is not supported")])
def test_a_disk_without_locks_is_worked_on_and_said_so_once(tmp_path, monkeypatch, error):
    def acquire(self, *args, **options):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    monkeypatch.setattr(whole_files, "_warned_of", set())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for name in ("one", "two"):
            with locked(tmp_path / name, wait=False) as held:
                assert held
    assert len(told) == 1
    assert re.search(r"one cannot be locked \(.*\), so that two processes may.*run one at a time", str(told[0].message))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("writing", [whole_file, whole_folder])
def test_an_error_of_the_disk_names_what_was_written(tmp_path, writing, number):
    place = tmp_path / "values.npy"
    with pytest.raises(OSError) as told, writing(place):
        raise OSError(number, os.strerror(number))
    assert told.value.filename == str(place) and str(place) in str(told.value)
    with pytest.raises(OSError, match=os.strerror(number)) as told, writing(place):
        raise SafetensorError(f"Error while serializing: I/O error: in words (os error {number})")
    assert told.value.errno == number and told.value.filename == str(place)
    with pytest.raises(SafetensorError), writing(place):
        raise SafetensorError("another one (os error 12)")
    with pytest.raises(PermissionError) as told, writing(place) as partial:
        if writing is whole_file:
            raise PermissionError(errno.EACCES, "Permission denied", str(partial))
        raise PermissionError(errno.EACCES, "Permission denied", str(place))
    assert told.value.filename == str(place)
    with pytest.raises(ConnectionResetError) as told, writing(place):
        raise ConnectionResetError(errno.ECONNRESET, "reset by a server")
    assert told.value.filename is None


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_on_a_disk_without_locks_a_killed_process_leaves_nothing_that_is_waited_for(tmp_path, monkeypatch, number):
    def refused(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refused)
    monkeypatch.setattr(whole_files, "_warned_of", set())
    if not (child := os.fork()):
        with locked(tmp_path):
            os._exit(0)
    os.waitpid(child, 0)
    with pytest.warns(UserWarning, match="cannot be locked") as told, locked(tmp_path, wait=False) as held:
        assert held
    assert len(told) == 1


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError), locked(tmp_path / "file"):
        pass


def test_nobody_renames_or_locks_in_another_way():
    own = re.compile(r"\bos\.(replace|rename)\(|\.rename\(|\bfcntl\b|\bFileLock\b|NamedTemporaryFile|mkstemp")
    # A note that is taken away is no file that anybody reads; the other makes locks fail.
    others = {ROOT / "brainrecon" / "studies" / "presence.py", ROOT / "scripts" / "hindered" / "hindrances.py"}
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for room in ("brainrecon", "stages", "weights", "scripts")
        for path in sorted((ROOT / room).rglob("*.py"))
        if path not in {ROOT / "weights" / "whole_files.py", *others}
        for line in path.read_text(encoding="utf-8").splitlines()
        if own.search(line)
    ]
    assert not found
