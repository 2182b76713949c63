"""Files that appear whole or not at all."""

import os
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def whole_file(path):
    """Give a temporary path beside `path` to write to; it takes the name `path` when the block ends well.

    Parameters
    ----------
    path : path-like
        Its folder is made where it is missing. What was there before stays until the new file is complete.

    Yields
    ------
    partial : pathlib.Path
        In the same folder, with the same suffix, hidden, under a name that nobody else has.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{uuid4().hex[:12]}.partial{path.suffix}")
    partial.touch()
    # Some writers make the file anew with rights of their own; what the user's umask says holds.
    mode = partial.stat().st_mode
    try:
        yield partial
        partial.chmod(mode)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def alone(folder, wait=True):
    """Hold a folder's lock; given up when the process ends, however it ends.

    On systems without `fcntl` nothing is held, and two processes may do the same work twice.

    Parameters
    ----------
    folder : path-like
    wait : bool
        Whether to wait for another process that holds it.

    Yields
    ------
    held : bool
        False where another process holds it and `wait` is false.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
        yield True


def write_text(path, text):
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
