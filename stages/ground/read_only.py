"""Folders that can be read and not written to: what is worked out from them is given, and not kept there."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weights.remark import Remark

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def told_if_read_only(what: str, folder: str | Path) -> Iterator[None]:
    """Warn instead of failing if something cannot be kept because its folder cannot be written to.

    >>> with told_if_read_only("Scores", "runs/subj01"):
    ...     pass

    Parameters
    ----------
    what : str
        What would be kept, in the plural, as a sentence begins.
    folder : path
        Where.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        warnings.warn(f"{what} are not kept: {folder} cannot be written to ({error.strerror}).", Remark, stacklevel=3)
