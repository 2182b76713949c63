"""What a step needs of files, read while the step before it is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class ReadingAhead:
    """Reads the next step's part of the data in a thread; what it gives is what would be read without it.

    >>> with ReadingAhead(lambda step: step**2, last=4) as read:
    ...     [read(step) for step in (0, 1, 2, 3)]
    [0, 1, 4, 9]

    All is read by the one thread, one thing after the other, since files that are open need not bear two readers. What reading
    raises is raised when its step is asked for.

    Parameters
    ----------
    read : callable
        ``read(step)``: a function of the step that draws from no global generator.
    last : int
        There are so many steps; none behind them is read.
    """

    def __init__(self, read: Callable[[int], Any], last: int) -> None:
        self._read, self._last = read, last
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reading ahead")
        self._coming: tuple[int, Future] | None = None

    def __call__(self, step: int) -> Any:
        if self._coming is None or self._coming[0] != step:
            self._coming = step, self._reader.submit(self._read, step)
        found = self._coming[1].result()
        self._coming = (step + 1, self._reader.submit(self._read, step + 1)) if step + 1 < self._last else None
        return found

    def now(self, read: Callable[..., Any], *given: Any) -> Any:
        """Read something else in the same thread, after what it is at."""
        return self._reader.submit(read, *given).result()

    def __enter__(self) -> ReadingAhead:
        return self

    def __exit__(self, *raised: object) -> None:
        self._reader.shutdown(cancel_futures=True)
