"""Progress in a notebook: a bar for each work that is under way; elsewhere nothing is said."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from stages.ground.progress import Progress


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook; IPython in a terminal is none."""
    # Whoever runs in a kernel has it loaded.
    ipython = sys.modules.get("IPython")
    return hasattr(ipython.get_ipython() if ipython else None, "kernel")


class _Bars:
    """A bar of tqdm for each work, gone when the work is done."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}

    def __call__(self, label: str, done: int, total: int, /) -> None:
        if not in_notebook():
            return
        bar = self._bars.get(label)
        if bar is None or done < bar.n:
            # One that an error left, or the same work for something else.
            self._close(label)
            bar = self._bars[label] = _bar(label, done, total)
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            self._close(label)

    def remark(self, label: str, text: str) -> None:
        """Put a few words at the end of a work's bar."""
        if (bar := self._bars.get(label)) is not None:
            bar.set_postfix_str(text, refresh=False)

    def _close(self, label: str) -> None:
        if (bar := self._bars.pop(label, None)) is not None:
            bar.close()


def _bar(label: str, done: int, total: int) -> Any:
    with warnings.catch_warnings():
        # That bars are text where ipywidgets is absent.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    return tqdm(desc=label, initial=done, total=total, leave=False)


IN_NOTEBOOKS: Progress = _Bars()
"""The default of every argument ``progress`` of what people call in a notebook.

>>> IN_NOTEBOOKS("reading pictures", 1, 2)
"""
