"""Who is at work on something, for machines that share files but no locks: a note that is touched while its writer lives.

On one machine a note counts as long as its process lives. From another machine nobody can ask, so that a note counts until it
has been silent for some minutes.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from stages.ground.errors import InputError
from weights.partial_files import machine, partial_name
from weights.whole_files import make_folder

SECONDS_BETWEEN_BEATS = 10.0
# More than a network file system remembers when a file was touched, which is a minute.
SECONDS_OF_SILENCE = 180.0
SECONDS_BETWEEN_LOOKS = 2.0
# Two clocks of one machine may tell when a process began; they differ by less.
_SAME_START = 2.0


@contextmanager
def present(note: str | Path, *, wait: bool = True, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Be the only one at work on something, as long as the block lasts.

    >>> with present("bench/.cluster/head.json", wait=False):  # doctest: +SKIP
    ...     hand_out_cells()

    Parameters
    ----------
    note : path-like
        The file that says so. Its folder is made if it is missing.
    wait : bool
        Whether to wait until another one has ended.
    waiting : callable, optional
        Given a few words about the other one, once, before a wait.

    Raises
    ------
    InputError
        Another one is at work, and `wait` is false.
    """
    note = Path(note)
    make_folder(note.parent)
    told = False
    while not _written(note):
        other = _reader(note)
        if not _lives(note, other):
            _take_away(note, other)
            continue
        who = f"process {other.get('process')} on {other.get('host')}"
        if not wait:
            raise InputError(
                f"{note.parent.parent} is being worked through by {who} already; wait until it has ended, or end it and run "
                f"the same command again. If it is no more, that is noticed {SECONDS_OF_SILENCE / 60:.0f} minutes after its end."
            )
        if waiting is not None and not told:
            waiting(who)
        told = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    ended = threading.Event()
    beats = threading.Thread(target=_beat, args=(note, ended), daemon=True)
    beats.start()
    try:
        yield
    finally:
        ended.set()
        beats.join()
        note.unlink(missing_ok=True)


def _written(note: Path) -> bool:
    """Write the note, if there is none; of several processes one alone does, even without locks."""
    process = psutil.Process()
    own = {"host": platform.node(), "machine": machine(), "process": process.pid, "began": process.create_time()}
    try:
        with open(note, "x", encoding="utf-8") as file:
            file.write(json.dumps(own) + "\n")
    except FileExistsError:
        return False
    return True


def _take_away(note: Path, other: dict[str, Any]) -> None:
    """Remove the note of somebody who is no more, under a name of its own: it may be another's by now."""
    with suppress(FileNotFoundError):
        os.rename(note, away := partial_name(note))
        if _reader(away) == other:
            away.unlink()
        else:
            os.rename(away, note)


def _reader(note: Path) -> dict[str, Any]:
    """What a note says; empty if it is gone or nobody's."""
    try:
        other = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return other if isinstance(other, dict) else {}


def _lives(note: Path, other: dict[str, Any]) -> bool:
    if other.get("machine") == machine() and isinstance(other.get("process"), int):
        try:
            began = psutil.Process(other["process"]).create_time()
        except psutil.Error:
            return False
        return isinstance(other.get("began"), float) and abs(began - other["began"]) < _SAME_START
    # Times of one file server are compared: clocks of two machines may differ by more.
    probe = partial_name(note)
    try:
        probe.touch()
        return probe.stat().st_mtime - note.stat().st_mtime < SECONDS_OF_SILENCE
    except FileNotFoundError:
        return False
    finally:
        probe.unlink(missing_ok=True)


def _beat(note: Path, ended: threading.Event) -> None:
    while not ended.wait(SECONDS_BETWEEN_BEATS):
        # A full disk, or a server that is away for a while, ends no work.
        with suppress(OSError):
            os.utime(note)
