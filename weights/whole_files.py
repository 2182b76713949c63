"""The one way to write: files and folders that appear whole or not at all, and the one lock.

What is half written is hidden beside its place, under a name that nobody else has, and is removed if the writing fails.
Work that goes on after an interruption keeps a half written file of its own, and gives it its name with `put_in_place`.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from weights.partial_files import partial_name, sweep
from weights.remark import Remark

# Of file systems that know no locks, or whose server for locks is not there.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
# Of disks that are full, fail or may not be written to.
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
# Disks of which it was said that nothing on them can be locked.
_warned_of: set[int] = set()
# Folders that this process has swept when it first wrote into them.
_swept: set[Path] = set()


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
        umask and the folder give (`share`), whatever the writer makes of them.
    """
    path = Path(path)
    _enter(path.parent)
    partial = partial_name(path)
    with named_errors(path, partial):
        partial.touch()
    mode = partial.stat().st_mode
    try:
        with named_errors(path, partial):
            yield partial
            # Some writers make the file anew with rights of their own.
            partial.chmod(mode)
            put_in_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def named_errors(path: str | Path, partial: str | Path | None = None) -> Iterator[None]:
    """Give an error of the disk the name of what is written within: of an open file the system tells none.

    >>> with named_errors("rows.partial"):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'rows.partial'

    Parameters
    ----------
    path : path-like
    partial : path-like, optional
        What it is called until it is whole: an error of that is one of `path`, too.
    """
    try:
        yield
    except OSError as error:
        if (error.errno in _OF_THE_DISK and error.filename is None) or (
            partial and str(error.filename) == str(partial)
        ):
            error.filename = str(path)
        raise
    except Exception as error:
        # Libraries in Rust, such as that of safetensors, tell the system's number in words.
        told = re.search(r"\(os error (\d+)\)", str(error))
        if told is not None and int(told[1]) in _OF_THE_DISK:
            raise OSError(int(told[1]), os.strerror(int(told[1])), str(path)) from error
        raise


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
        An empty folder beside it, hidden. Finished, it and all in it have the rights that `whole_file` gives.

    Raises
    ------
    OSError
        At the end, if `path` holds something by then.
    """
    path = Path(path)
    _enter(path.parent)
    partial = partial_name(path)
    with named_errors(path, partial):
        partial.mkdir()
    mode = partial.stat().st_mode
    try:
        with named_errors(path):
            yield partial
            # Some writers make files with rights of their own.
            for made in partial.rglob("*"):
                if not made.is_symlink():
                    made.chmod(mode if made.is_dir() else mode & 0o666)
            _share_all(partial)
            _to_disk(partial)
            if path.is_dir():
                path.rmdir()
            os.rename(partial, path)
            _to_disk(path.parent, inside=False)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; line ends stay as they are.

    >>> write_text("report.html", page)  # doctest: +SKIP
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def make_folder(path: str | Path) -> None:
    """Make a folder, and those above it, if they are missing, with the rights that `whole_file` gives.

    >>> make_folder("features/clip")  # doctest: +SKIP
    """
    path = Path(path)
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        share(path)
        _to_disk(path.parent, inside=False)


def _enter(folder: Path) -> None:
    """Make a folder to write into, or remove what killed processes left half written in it, once."""
    make_folder(folder)
    place = folder.absolute()
    if place not in _swept:
        _swept.add(place)
        sweep(place, deep=False)


def share(path: str | Path) -> None:
    """Let those use a file or folder who may write into the folder around it: what several people use stays theirs.

    >>> share("weights/vdvae/model.safetensors")  # doctest: +SKIP

    Where the group may write, it may read and write what is made; where all may write, they may read files and write into
    folders. Elsewhere the user's umask holds, also where each may touch only what is his own, as in ``/tmp``.

    Parameters
    ----------
    path : path-like
        What belongs to somebody else stays as it is.
    """
    path = Path(path)
    mode, around, is_folder = path.stat().st_mode, path.parent.stat().st_mode, path.is_dir()
    if around & 0o1070 == 0o070:
        mode |= 0o070 if is_folder else 0o060
    if around & 0o1007 == 0o007:
        mode |= 0o007 if is_folder else 0o004
    with suppress(PermissionError):
        path.chmod(mode & 0o7777)


def _share_all(path: Path) -> None:
    """Share a file, or a folder and all in it from above downwards."""
    for made in (path, *sorted(path.rglob("*"))):
        if not made.is_symlink():
            share(made)


def put_in_place(partial: str | Path, path: str | Path) -> None:
    """Give a finished file or folder its name. What had the name before is replaced.

    >>> put_in_place("data.hdf5.partial", "data.hdf5")  # doctest: +SKIP

    A file is the old one or the new one at every moment, also after a power cut: its content is on the disk before its name is.
    Between an old folder and the new one there is a moment without either.

    Parameters
    ----------
    partial : path-like
        On the same disk as `path`.
    path : path-like
        Absent, or of the same kind. Its folder exists.
    """
    partial, path = Path(partial), Path(path)
    _share_all(partial)
    _to_disk(partial)
    replaced = partial_name(path) if partial.is_dir() and path.exists() else None
    if replaced is not None:
        os.rename(path, replaced)
    os.replace(partial, path)
    _to_disk(path.parent, inside=False)
    if replaced is not None:
        shutil.rmtree(replaced, ignore_errors=True)


def _to_disk(path: Path, inside: bool = True) -> None:
    """Wait until a file, or a folder and all in it, is on the disk; of the folder alone the names are."""
    for one in (*(path.rglob("*") if inside and path.is_dir() else ()), path):
        if one.is_symlink() or (one.is_dir() and os.name != "posix"):
            continue
        descriptor = os.open(one, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some file systems know it for files alone.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP) or not one.is_dir():
                raise
        finally:
            os.close(descriptor)


def reserve(path: str | Path) -> None:
    """Take the space on the disk that a file's size promises, before it is written to through a map.

    >>> reserve("model.safetensors")  # doctest: +SKIP

    A process that runs out of space in the middle of a map is killed without a word.

    Parameters
    ----------
    path : path-like
        Of its full size, with holes in it.

    Raises
    ------
    OSError
        The disk is full (`errno.ENOSPC`), with its free space and what was wanted.
    """
    size = Path(path).stat().st_size
    if not size or not hasattr(os, "posix_fallocate"):
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(Path(path).parent).free
            raise OSError(error.errno, f"{size:,} bytes are wanted and {free:,} are free", str(path)) from None
        # Some file systems cannot take space ahead.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)


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
    make_folder(folder)
    # Whoever may write into the folder may hold its lock. A file that stands in for a lock would stay if the process is killed.
    lock = FileLock(folder / name, mode=0o600 | (folder.stat().st_mode & 0o066), fallback_to_soft=False)
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
            Remark,
            stacklevel=4,
        )
