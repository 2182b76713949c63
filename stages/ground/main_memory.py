"""Main memory of the machine, or of the container that a process may use of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

# What a container is given, by the two versions of control groups.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def main_memory() -> int:
    """Bytes of main memory that there are, taken or free: the same for every process of a machine, whenever it asks.

    >>> main_memory() <= psutil.virtual_memory().total
    True
    """
    found = [psutil.virtual_memory().total]
    for limit in _LIMITS:
        # Without a limit there is no file, or a word in it.
        with suppress(OSError, ValueError):
            found.append(int(Path(limit).read_text()))
    return min(found)
