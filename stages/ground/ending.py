"""How work in parts is ended from outside: when the part that is under way is done, or at once if that is asked for again."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from stages.ground.process_group import n_processes
from weights.remark import Remark

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Of Ctrl-C, and of schedulers and ``kill``."""


class _Part:
    """The part of work that is under way; there is one at most, for signals come to the main thread.

    Attributes
    ----------
    is_last : bool
        Whether a signal has come, so that the work ends with this part.
    """

    def __init__(self, what: str) -> None:
        self._what, self._process = what, os.getpid()
        self._kept: int | None = None
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    @property
    def is_last(self) -> bool:
        return self._kept is not None

    def begin(self) -> None:
        for number in SIGNALS:
            # Who has set no function of Python for a signal means what the system does.
            if callable(before := signal.getsignal(number)):
                self._before[number] = before
                signal.signal(number, self._keep)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        before = self._before[number]
        # The next one does what it did before.
        self.leave()
        if os.getpid() != self._process:
            # A process that was made within has nothing to finish.
            before(number, frame)
            return
        self._kept = number
        # Python may be writing just now; then it goes without saying.
        with suppress(RuntimeError):
            warnings.warn(
                f"Ending when this {self._what} is done; Ctrl-C, or the same signal again, ends at once.",
                Remark,
                stacklevel=2,
            )

    def leave(self) -> None:
        """Let signals do what they did before."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self._keep:
                signal.signal(number, before)

    def deliver(self) -> None:
        """Do what the signal that came was to do."""
        if self._kept is not None:
            self._before[self._kept](self._kept, None)


class _Unwatched:
    is_last = False


_under_way: _Part | None = None


@contextmanager
def finished_first(what: str = "batch") -> Iterator[_Part | _Unwatched]:
    """Keep Ctrl-C, and the signal of a scheduler, until the block has ended. A second one acts at once.

    >>> for batch in ([1, 2], [3]):
    ...     with finished_first():
    ...         print(sum(batch))
    3
    3

    A signal that nobody handles by a function of Python, as SIGTERM outside of the command line, acts at once, too. So do all
    signals in threads and in processes that were started together: these would wait for each other. Of blocks inside each
    other the outermost counts.

    Parameters
    ----------
    what : str
        What ends with the block, for the notice.

    Yields
    ------
    part : object
        Its `is_last` is true once a signal has come.

    Raises
    ------
    KeyboardInterrupt
        At the end of the block, if a signal has come within; or whatever else its handler raises.
    """
    global _under_way
    if _under_way is not None or n_processes() > 1 or threading.current_thread() is not threading.main_thread():
        yield _under_way or _Unwatched()
        return
    part = _under_way = _Part(what)
    part.begin()
    try:
        yield part
    except KeyboardInterrupt:
        # It has been asked for again.
        raise
    except Exception:
        _end(part)
        # Somebody may go on after the error, and the signal would be forgotten.
        part.deliver()
        raise
    else:
        _end(part)
        part.deliver()
    finally:
        _end(part)


def _end(part: _Part) -> None:
    global _under_way
    part.leave()
    if _under_way is part:
        _under_way = None
