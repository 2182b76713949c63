"""Processes that torchrun or Accelerate started together on one command: who goes first, and what all go by.

They read the same files and train together; the first alone writes, and speaks. A process that was started by itself is the
first, and the only one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

Value = TypeVar("Value")

# By these a launcher tells a process its place.
_PLACE = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK")
# What the first does alone may take hours, as encoding does. If one fails, the launcher ends the others.
_LONGEST_WAIT = timedelta(days=7)


def n_processes() -> int:
    """Count the processes that were started together.

    >>> n_processes()
    1
    """
    return int(os.environ.get("WORLD_SIZE", 1))


def is_first() -> bool:
    """Whether this process is the one that writes and speaks.

    >>> is_first()
    True
    """
    # Alone it is, whatever a scheduler calls its rank.
    return n_processes() == 1 or int(os.environ.get("RANK", 0)) == 0


def joined(cpu: bool = False) -> Any:
    """Join the group, the first time, and return its state.

    Parameters
    ----------
    cpu : bool
        Compute on the CPU, whatever else there is; it counts in the first call.

    Returns
    -------
    state : accelerate.PartialState
    """
    from accelerate import PartialState

    return PartialState(cpu=cpu, timeout=_LONGEST_WAIT) if n_processes() > 1 else PartialState()


def leave() -> None:
    """Let this process work by itself from now on, on the device that the launcher gave it."""
    for name in _PLACE:
        os.environ.pop(name, None)


@contextmanager
def first_goes_first() -> Iterator[None]:
    """Let the first process do what is within, and then the others; all of them have to come here.

    >>> with first_goes_first():
    ...     print("written")
    written
    """
    if n_processes() == 1:
        yield
        return
    with joined().main_process_first():
        yield


def of_first(make: Callable[[], Value]) -> Value:
    """What `make()` is for the first process, the same for all, which wait for it; all of them have to come here.

    >>> of_first(lambda: 3)
    3

    Parameters
    ----------
    make : callable
        Called by the first process alone. What it returns can be pickled.
    """
    if n_processes() == 1:
        return make()
    from accelerate.utils import broadcast_object_list

    joined()
    found: list[Any] = [make() if is_first() else None]
    broadcast_object_list(found)
    return found[0]
