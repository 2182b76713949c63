"""A start that fails leaves nothing behind that would refuse the next command, which may well ask for something else."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path

from brainrecon.runs.layout import FIT_LOCK
from stages.ground.process_group import is_first
from weights.whole_files import locked

# What is written before anything is computed: what was asked, and on which machine.
WRITTEN_AT_THE_START = ("benchmark.toml", "config.toml", "environment.json")


@contextmanager
def undone_if_it_fails(folder):
    """Remove what is written into a folder within, if an error ends it before anything was computed.

    >>> from pathlib import Path
    >>> with undone_if_it_fails("begun"):
    ...     Path("begun").mkdir()
    ...     _ = Path("begun", "config.toml").write_text("method = 'noise'")
    ...     raise ValueError("no such data")
    Traceback (most recent call last):
    ValueError: no such data
    >>> Path("begun").exists()
    False

    Parameters
    ----------
    folder : path
        Of a run or a benchmark. Files that were there before are left as they are.
    """
    if not is_first():
        yield
        return
    folder = Path(folder)
    before = _files(folder)
    try:
        yield
    except Exception:
        if folder.is_dir():
            _undo(folder, before)
        raise


def _undo(folder, before):
    # Hidden ones are locks.
    written = [path for path in _files(folder) - before if not path.name.startswith(".")]
    if not written or any(path.name not in WRITTEN_AT_THE_START for path in written):
        # Nothing was asked yet, or something was computed.
        return
    with locked(folder, wait=False, name=FIT_LOCK) as alone:
        if not alone:
            # Another process works here.
            return
        for path in written:
            path.unlink(missing_ok=True)
        if not before:
            shutil.rmtree(folder)


def _files(folder):
    return {path for path in folder.rglob("*") if not path.is_dir()}
