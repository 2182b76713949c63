"""What is half written: hidden beside its place, under a name that says whose it is, and removed once nobody writes it any more.

A process that is killed leaves what it had begun. The next one that works in the same folder removes it (`sweep`); what a
living process writes stays.
"""

import hashlib
import os
import platform
import shutil
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

_MARK = ".partial-"
# What a process on another machine has not touched for so long is nobody's.
_SECONDS_ALIVE = 24 * 3600


def partial_name(path: str | Path) -> Path:
    """Return a hidden path beside `path`, that nobody else has and that ends as its name does.

    >>> partial_name("betas/session01.nii.gz").name.endswith("session01.nii.gz")
    True

    The name holds this machine and this process. It is 33 bytes longer than `path`'s at most.
    """
    path = Path(path)
    return path.with_name(f"{_MARK}{machine()}-{os.getpid()}-{uuid4().hex[:8]}-{path.name}")


def is_partial(path: str | Path) -> bool:
    """Whether a file or folder is half written, as an interrupted process leaves it, or a lock: nothing of the user's.

    >>> is_partial("runs/subj01/.lock"), is_partial("runs/subj01/config.toml")
    (True, False)
    """
    name = Path(path).name
    return name.startswith(_MARK) or (name.startswith(".") and name.endswith(".lock"))


def sweep(folder: str | Path, deep: bool = True) -> None:
    """Remove what processes left half written in a folder that are no more; what cannot be removed stays.

    >>> sweep("runs/subj01")

    Whether a process of this machine lives is asked. What comes from another machine, or does not say from where, is removed
    if nothing in it has changed for a day.

    Parameters
    ----------
    folder : path-like
        It need not exist.
    deep : bool
        Look into the folders below it, too; links are not followed.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if name.startswith(_MARK) and _is_left(path := Path(place, name)):
                _remove(path)
        folders[:] = [name for name in folders if deep and not name.startswith(_MARK)]


@cache
def machine() -> str:
    """Name the machine, and the space within which its processes have numbers: each container has one of its own.

    >>> machine() == machine()
    True
    """
    seen = "/proc/self/ns/pid"
    within = os.readlink(seen) if os.path.islink(seen) else ""
    return hashlib.sha256(f"{platform.node()}/{within}".encode()).hexdigest()[:6]


def _is_left(path: Path) -> bool:
    writer, _, rest = path.name.removeprefix(_MARK).partition("-")
    process = rest.partition("-")[0]
    # Elsewhere there is no question that does not end the process that is asked for.
    if os.name == "posix" and writer == machine() and process.isdigit():
        return not _lives(int(process))
    return time.time() - _last_change(path) > _SECONDS_ALIVE


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        # Somebody else's.
        return True
    return True


def _last_change(path: Path) -> float:
    changes = []
    for one in (path, *path.rglob("*")):
        # Its owner may give it its name just now.
        with suppress(OSError):
            changes.append(one.lstat().st_mtime)
    return max(changes, default=time.time())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
