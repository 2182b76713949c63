"""How far long work is: what to call, and a default that says nothing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What long work calls as it goes on.

    >>> def work(names, progress=SILENT):
    ...     for done, name in enumerate(names):
    ...         progress("reading pictures", done, len(names))
    ...     progress("reading pictures", len(names), len(names))
    >>> work(["a", "b"])
    >>> work(["a", "b"], print)
    reading pictures 0 2
    reading pictures 1 2
    reading pictures 2 2
    """

    def __call__(self, label: str, done: int, total: int, /) -> None:
        """Say that `done` of `total` parts of the work called `label` are done."""


def _say_nothing(label: str, done: int, total: int, /) -> None:
    pass


SILENT: Progress = _say_nothing
"""The default of every argument ``progress``, so that no code asks whether there is one."""
