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


def remark(progress: Progress, label: str, text: str) -> None:
    """Put a few words beside a work, such as the loss of a training, if whoever shows its progress shows remarks.

    Who does has a method ``remark(label, text)`` besides, and keeps the words until there are others. A plain function hears
    nothing of them, and a label, by which works are told apart, stays what it is.

    >>> class Shown:
    ...     def __call__(self, label, done, total): print(label, done, total, self.text)
    ...     def remark(self, label, text): self.text = text
    >>> shown = Shown()
    >>> remark(shown, "training", "loss 0.41")
    >>> shown("training", 3, 9)
    training 3 9 loss 0.41
    >>> remark(SILENT, "training", "loss 0.41")
    """
    if (take := getattr(progress, "remark", None)) is not None:
        take(label, text)


SILENT: Progress = _say_nothing
"""The default of every argument ``progress``, so that no code asks whether there is one."""
