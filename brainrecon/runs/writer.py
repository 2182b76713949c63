"""What is drawn is written by a thread of its own, while the next batch is computed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from copy import copy

# Outputs that wait to be written: a picture of 512 pixels takes 0.8 MB.
AT_MOST = 32


class Writer:
    """Calls a function in one other thread, in order, as a context; when that has ended, everything is written.

    >>> with Writer(print) as writer:
    ...     writer.write("a.png", "drawn")
    ...     writer.wait()
    a.png drawn

    Parameters
    ----------
    write : callable
        Each file it writes appears whole or not at all. Its errors are raised by `write`, by `wait`, or at the end, unless
        another error ends the context; what was handed over after a failure is tried nevertheless.
    at_most : int
        So many calls may wait; then `write` waits, too.
    """

    def __init__(self, write, at_most=AT_MOST):
        self._write, self._at_most, self._waiting = write, at_most, deque()

    def __enter__(self):
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        return self

    def __exit__(self, kind, error, traceback):
        # Whatever ends the work, what was drawn is saved.
        self._thread.shutdown()
        if kind is None:
            self.wait()

    def write(self, *what):
        """Have ``write(*what)`` called soon, with copies: a generator may fill one array again and again."""
        # First, so that an error of another file does not lose this one.
        self._waiting.append(self._thread.submit(self._write, *map(copy, what)))
        while self._waiting and (len(self._waiting) > self._at_most or self._waiting[0].done()):
            self._waiting.popleft().result()

    def wait(self):
        """Wait until everything that was handed over is written."""
        while self._waiting:
            self._waiting.popleft().result()
