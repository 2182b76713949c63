"""What hinders a command: each is laid over the place of a work, and taken away again."""

import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from hindered.command import NOBODY, as_nobody, with_memory
from hindered.folders import belongs_to, every


def nothing(place):
    """Nothing is laid over the place."""


@dataclass(frozen=True)
class Hindrance:
    """One.

    Attributes
    ----------
    name : str
        Of the row of the table.
    how : str
        What exactly, for the list of cases.
    lay, lift : callable
        ``lay(place)`` before the command, ``lift(place)`` after it; `lift` may do nothing.
    become : callable, optional
        Called in the process of the hindered command.
    become_after : callable, optional
        Called in the process of the command that is typed again.
    line : callable, optional
        ``line(words)``: another line to type under it, with the same beginning.
    named : tuple of str
        What a refusal has to name one of; a path below the place if nothing is given.
    is_forged : bool
        Files that the result follows from are others, so that it is looked at when they have been put back.
    """

    name: str
    how: str
    lay: Callable = nothing
    lift: Callable = nothing
    become: Callable | None = None
    become_after: Callable | None = None
    line: Callable | None = None
    named: tuple[str, ...] = ()
    is_forged: bool = False


# The disk


def full_disk(template_bytes, work_bytes, share):
    """A disk of memory on which the given share of what the work writes finds room."""
    pages = -(-int(template_bytes + share * work_bytes) // 4096) + 2

    def lift(place):
        _mount("-o", "remount,size=4g", place.disk)

    return Hindrance("full disk", f"{share:.0%} of {work_bytes / 2**20:.2f} MB", _small(pages), lift)


def _small(pages):
    def lay(place):
        # The template lies there already: its room was counted.
        _mount("-o", f"remount,size={pages * 4}k", place.disk)

    return lay


@contextmanager
def disk_of_memory(folder):
    """Have a disk of its own at a folder, with all of the memory's room."""
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", "size=4g,mode=755", "tmpfs", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)


# Rights


def read_only():
    """A folder that an ordinary user may read and not write."""

    def lay(place):
        for path in every(place.disk):
            path.chmod(0o555 if path.is_dir() else 0o444)

    return Hindrance(
        "read-only folder", "as an ordinary user", lay, _to_nobody, become=as_nobody, become_after=as_nobody
    )


def not_listed(what):
    """A folder that may be entered, and written to, and whose names cannot be seen."""

    def lay(place):
        _to_nobody(place)
        folder = getattr(place, what)
        for path in every(folder):
            if path.is_dir():
                path.chmod(0o333 if what == "disk" else 0o111)

    def lift(place):
        belongs_to(NOBODY, getattr(place, what))

    return Hindrance(
        "folder not to be listed", f"the {what}, as an ordinary user", lay, lift, as_nobody, become_after=as_nobody
    )


def not_read(pattern):
    """Files of the data, or of what was done before, that an ordinary user may not read."""

    def lay(place):
        _to_nobody(place)
        for path in _files(place, pattern):
            os.chown(path, 0, 0)
            path.chmod(0o600)

    return Hindrance(
        "file not to be read",
        f"{pattern}, as an ordinary user",
        lay,
        _to_nobody,
        become=as_nobody,
        become_after=as_nobody,
    )


def _files(place, pattern):
    return [path for path in sorted(place.root.glob(pattern)) if path.is_file()]


def _to_nobody(place):
    belongs_to(NOBODY, place.disk, place.data, place.weights)


# The machine


def no_locks(number):
    """Locks fail, as on file systems without any: in Python's calls, through which all of the toolkit's locks go."""

    def become():
        def refused(*arguments):
            raise OSError(number, os.strerror(number))

        fcntl.flock = fcntl.lockf = refused

    return Hindrance("no locks", f"flock says {errno.errorcode[number]}", become=become)


def little_memory(megabytes):
    """So much address space above what the process has when it starts, as ``ulimit -v`` gives it."""
    return Hindrance(
        "little memory", f"{megabytes} MB", become=lambda: with_memory(megabytes), named=("memory", "Memory")
    )


def clock_back(seconds):
    """The clock is earlier than all that is there."""
    real = time.time

    def become():
        patch.object(time, "time", lambda: real() - seconds).start()
        patch.object(time, "time_ns", lambda: int((real() - seconds) * 1e9)).start()

    return Hindrance("clock", f"set back by {seconds / 86400:g} days", become=become)


def from_the_future():
    """All files were last changed in ten years' time."""

    def lay(place):
        then = time.time() + 10 * 365 * 86400
        for folder in (place.disk, place.data, place.weights):
            for path in every(folder):
                os.utime(path, (then, then))

    return Hindrance("clock", "files of ten years from now", lay)
