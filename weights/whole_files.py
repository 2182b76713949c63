"""The one way to write: files and folders that appear whole or not at all, and the one lock.

What is half written is hidden beside its place, under a name that nobody else has, and is removed if the writing fails.
Work that goes on after an interruption keeps a half written file of its own, and gives it its name with `put_in_place`.
"""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

# Of file systems that know no locks, or whose server for locks is not there.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
# Disks of which it was said that nothing on them can be locked.
_warned_of: set[int] = set()


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the name `path` when the block ends well.

    >>> with whole_file("scores/values.npy") as partial:  # doctest: +SKIP
    ...     np.save(partial, values)

    Parameters
    ----------
    path : path-like
        Its folder is made if it is missing. What was there before stays until the new file is complete.

    Yields
    ------
    partial : pathlib.Path
        An empty file in the same folder, with the same suffix, hidden. The finished file has the rights that the user's
        umask gives, whatever the writer makes of them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    partial.touch()
    # Some writers make the file anew with rights of their own; what the user's umask says holds.
    mode = partial.stat().st_mode
    try:
        yield partial
        partial.chmod(mode)
        put_in_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` to write into; it takes the name `path` when the block ends well.

    >>> with whole_folder("cohort") as partial:  # doctest: +SKIP
    ...     (partial / "subj01.txt").write_text("…")

    Parameters
    ----------
    path : path-like
        Absent, or an empty folder. Folders above it are made if they are missing.

    Yields
    ------
    partial : pathlib.Path
        An empty folder beside it, hidden.

    Raises
    ------
    OSError
        At the end, if `path` holds something by then.
    """
    path = Path(path)
    partial = partial_name(path)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.is_dir():
            path.rmdir()
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; line ends stay as they are.

    >>> write_text("report.html", page)  # doctest: +SKIP
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def put_in_place(partial: str | Path, path: str | Path) -> None:
    """Give a finished file or folder its name. What had the name before is replaced.

    >>> put_in_place("data.hdf5.partial", "data.hdf5")  # doctest: +SKIP

    A file is the old one or the new one at every moment. Between an old folder and the new one there is a moment without
    either.

    Parameters
    ----------
    partial : path-like
        On the same disk as `path`.
    path : path-like
        Absent, or of the same kind. Its folder exists.
    """
    partial, path = Path(partial), Path(path)
    if not partial.is_dir() or not path.exists():
        os.replace(partial, path)
        return
    replaced = partial_name(path)
    os.rename(path, replaced)
    os.rename(partial, path)
    shutil.rmtree(replaced, ignore_errors=True)


def partial_name(path: str | Path) -> Path:
    """Return a hidden path beside `path`, that nobody else has and that ends as its name does.

    >>> partial_name("betas/session01.nii.gz").name.endswith("session01.nii.gz")
    True
    """
    path = Path(path)
    return path.with_name(f".partial-{uuid4().hex[:12]}-{path.name}")


@contextmanager
def locked(
    folder: str | Path, wait: bool = True, *, name: str = ".lock", waiting: Callable[[], None] | None = None
) -> Iterator[bool]:
    """Hold a folder's lock. It is given up when the block or the process ends, however it ends.

    >>> with locked("cells/both", wait=False) as held:  # doctest: +SKIP
    ...     if held:
    ...         work()

    If the file system knows no locks, nothing is held, and a warning says so once: two processes may then do the same
    work twice.

    Parameters
    ----------
    folder : path-like
        Made if it is missing.
    wait : bool
        Whether to wait for another process that holds it.
    name : str
        Of the file in `folder` that is locked. It stays there.
    waiting : callable, optional
        Called without arguments before a wait, if there is one.

    Yields
    ------
    held : bool
        False if another process holds it and `wait` is false.
    """
    # Here, since it takes a tenth of a second.
    from filelock import FileLock, Timeout

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / name)
    held = True
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            held = wait
            if wait:
                if waiting is not None:
                    waiting()
                lock.acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        _say_that_nothing_is_held(folder, error)
    try:
        yield held
    finally:
        # Nothing happens unless it is held.
        lock.release()


def _say_that_nothing_is_held(folder: Path, error: Exception) -> None:
    device = folder.stat().st_dev
    if device not in _warned_of:
        _warned_of.add(device)
        warnings.warn(
            f"Files in {folder} cannot be locked ({error}), so that two processes may do the same work twice; "
            "run one at a time, or name a folder on another disk.",
            stacklevel=4,
        )
