"""A disk that fails, fills up, or loses power at any moment of a piece of work.

All that the toolkit does to a disk goes through a few calls of Python. `disk_calls` stands between: it tells of each before it
is made, and lets it fail. `power_cuts` notes while one piece of work goes on what would be on the disk if the power failed then.
"""

import builtins
import errno
import io
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np

from weights import whole_files

ROOT = str(Path(__file__).resolve().parents[2])
# Ways in which calls change a disk, and the calls of `os` that do.
_CALLS = ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "posix_fallocate", "chmod")
_TAKES_SPACE = ("open", "write", "mkdir", "posix_fallocate", "fsync")


@contextmanager
def disk_calls(folder: Path, before: Callable[[str], None], after: Callable[[str, tuple], None] | None = None):
    """Call ``before(kind)`` before each call that changes something in a folder; what it raises, the call raises.

    Parameters
    ----------
    folder : Path
        Calls elsewhere are let through.
    before : callable
        `kind` is one of "open" (for writing), "write", "fsync", "flush" (of a map), and names of calls in `os`.
    after : callable, optional
        ``after(kind, arguments)``, with the call's own.
    """
    within, opened, map_flush = os.path.realpath(folder), io.open, np.memmap.flush

    def concerns(target, options=()):
        if isinstance(target, int):
            target = os.readlink(f"/proc/self/fd/{target}")
        elif "dir_fd" in options and options["dir_fd"] is not None:
            target = os.path.join(os.readlink(f"/proc/self/fd/{options['dir_fd']}"), os.fspath(target))
        path = os.path.abspath(os.fsdecode(target))
        return path == within or path.startswith(within + os.sep)

    def watched(kind, call):
        def made(target, *rest, **options):
            if not concerns(target, options):
                return call(target, *rest, **options)
            before(kind)
            result = call(target, *rest, **options)
            if after is not None:
                after(kind, (target, *rest))
            return result

        return made

    class Raw(io.FileIO):
        def write(self, content):
            before("write")
            return super().write(content)

    def open_watched(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *rest, **options):
        if isinstance(file, int) or not set(mode) & set("wax+") or not concerns(file) or not buffering:
            return opened(file, mode, buffering, encoding, errors, newline, *rest, **options)
        before("open")
        raw = Raw(file, mode.replace("b", "").replace("t", ""))
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

    def flush(self):
        if concerns(self.filename):
            before("flush")
            map_flush(self)
            if after is not None:
                after("flush", (self.filename,))

    with (
        patch.multiple(os, **{name: watched(name, getattr(os, name)) for name in _CALLS}),
        patch.object(builtins, "open", open_watched),
        patch.object(io, "open", open_watched),
        patch.object(np.memmap, "flush", flush),
    ):
        yield


def site() -> str:
    """Where in the toolkit the call under way was made: the two innermost places, as file and line."""
    found, frame = [], sys._getframe(1)
    while frame is not None and len(found) < 2:
        name = frame.f_code.co_filename
        if name.startswith(ROOT) and not os.path.relpath(name, ROOT).startswith(("tests/", "scripts/")):
            found.append(f"{os.path.relpath(name, ROOT)}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(found)


class Failure:
    """Lets the n-th call fail; as what `before` is in `disk_calls`.

    Parameters
    ----------
    number : int
        Of the call, from 0; -1 for none.
    error : int
        `errno.EIO` fails once. After `errno.ENOSPC` nothing that takes space succeeds any more.

    Attributes
    ----------
    sites : list of str
        Kind and place of each call that was made.
    """

    def __init__(self, number: int = -1, error: int = errno.EIO):
        self.number, self.error, self.sites = number, error, []

    def __call__(self, kind):
        now = len(self.sites)
        self.sites.append(f"{kind} {site()}")
        is_full = self.error == errno.ENOSPC and 0 <= self.number <= now and kind in _TAKES_SPACE
        if is_full or now == self.number:
            raise OSError(self.error, os.strerror(self.error))


class _Kept:
    """Files and folders by their inodes, with what is surely on the disk of each.

    They are held open, so that no number is given to another one while its old content or name may still come back.
    """

    def __init__(self, folder):
        self.folder, self.root = str(folder), os.stat(folder).st_ino
        self.held, self.is_folder = {}, {}
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[str, int]] = {}
        self.pending: list[dict[tuple[int, str], int | None]] = []
        self.now: dict[int, dict[str, int]] = {}
        self.scan()
        self.names = {one: dict(names) for one, names in self.now.items()}
        self.pending.clear()

    def scan(self):
        """Note which names came and went since the last look, a change each; a name that moved is one change."""
        found = {}

        def look(path, number):
            found[number] = {}
            with os.scandir(path) as entries:
                for entry in entries:
                    own = entry.inode()
                    found[number][entry.name] = own
                    if own not in self.held:
                        self.held[own] = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
                        self.is_folder[own] = entry.is_dir(follow_symlinks=False)
                    if self.is_folder[own]:
                        look(entry.path, own)

        look(self.folder, self.root)
        before = {(one, name): own for one, names in self.now.items() for name, own in names.items()}
        after = {(one, name): own for one, names in found.items() for name, own in names.items()}
        came = {place: own for place, own in after.items() if before.get(place) != own}
        gone = {place: own for place, own in before.items() if place not in after}
        for place, own in came.items():
            left = [old for old, was in gone.items() if was == own]
            self.pending.append({place: own} | {old: None for old in left})
            for old in left:
                del gone[old]
        self.pending += [{place: None} for place in gone]
        self.now = found
        tables = [*found.values(), *self.names.values(), *self.pending]
        known = {own for table in tables for own in table.values()}
        for own in self.held.keys() - known:
            os.close(self.held.pop(own))
            self.contents.pop(own, None)

    def on_disk(self, number):
        """Note that a file's content, or a folder's names, are on the disk."""
        if not self.is_folder.get(number, number == self.root):
            self.contents[number] = self.read(number)
            return
        left = []
        for change in self.pending:
            if any(one == number for one, _ in change):
                self.apply(change, self.names)
            else:
                left.append(change)
        self.pending = left

    def apply(self, change, names):
        for (one, name), own in change.items():
            names.setdefault(one, {}).pop(name, None)
            if own is not None:
                names[one][name] = own

    def read(self, number):
        size = os.fstat(self.held[number]).st_size
        return os.pread(self.held[number], size, 0)

    def tree(self, names, content):
        """Content by path, None for folders."""
        found = {}

        def look(number, path):
            for name, own in sorted(names.get(number, {}).items()):
                place = f"{path}{name}"
                if self.is_folder[own]:
                    found[place] = None
                    look(own, f"{place}/")
                else:
                    found[place] = content(own)

        look(self.root, "")
        return found

    def close(self):
        for descriptor in self.held.values():
            os.close(descriptor)


@contextmanager
def power_cuts(folder: Path, seed: int = 0) -> Iterator[list[tuple[str, dict[str, bytes | None]]]]:
    """Note what would be in a folder if the power failed, or the process were killed, before each call within.

    Yields
    ------
    states : list of (str, dict of str to bytes or None)
        What happened and where, and content by path, None for folders; each state once. Filled when the block has ended.
        After a call "killed" has all as it was. Of the others, content that was not waited for is "zeros", "half" of it, or
        "lost"; names that were not waited for are there, are "unnamed", or some of them are ("either").
    """
    kept, states, seen, lots = _Kept(folder), [], set(), random.Random(seed)

    def written(number):
        return kept.contents.get(number, b"")

    def zeros(number):
        known, size = written(number), len(kept.read(number))
        return known[:size] + bytes(size - len(known[:size]))

    def half(number):
        now, known = kept.read(number), written(number)
        return now if now == known else now[: (len(known) + len(now)) // 2] if len(now) > len(known) else known

    def note(kind):
        kept.scan()
        some = {one: dict(names) for one, names in kept.names.items()}
        for change in kept.pending:
            if lots.random() < 0.5:
                kept.apply(change, some)
        ways = {
            "killed": (kept.now, kept.read),
            "zeros": (kept.now, zeros),
            "half": (kept.now, half),
            "lost": (kept.now, written),
            "unnamed": (kept.names, zeros),
            "either": (some, zeros),
        }
        where = site()
        for way, (names, content) in ways.items():
            state = kept.tree(names, content)
            if (digest := hash(tuple(state.items()))) not in seen:
                seen.add(digest)
                states.append((f"{way} before {kind} {where}", state))

    def after(kind, arguments):
        if kind in ("fsync", "flush"):
            target = arguments[0]
            number = (os.fstat if isinstance(target, int) else os.stat)(target).st_ino
            kept.scan()
            kept.on_disk(number)

    try:
        with disk_calls(folder, note, after):
            yield states
            note("the end")
    finally:
        kept.close()


# More than there can be.
DEAD = 4_194_305


def restore(folder: Path, state: dict[str, bytes | None]) -> None:
    """Empty a folder and write a state into it, content by path, as for a new process: that of before is dead."""
    whole_files._swept.clear()
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, content in state.items():
        place = folder / name.replace(f"-{os.getpid()}-", f"-{DEAD}-")
        if content is None:
            place.mkdir()
        else:
            place.write_bytes(content)


def state_of(folder: Path) -> dict[str, bytes | None]:
    """Content by path of all in a folder, None for folders."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }
