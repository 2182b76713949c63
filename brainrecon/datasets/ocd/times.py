"""Which times after the picture count: a span of seconds, all of them beside each other or their mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.ground.errors import InputError

WINDOW = "2-6"
"""Seconds: the window of the paper."""
EXAMPLE = "write window=2-6, window=6 or window=all"
ROUNDED = 1e-6
"""Seconds by which a time may lie beside the end of a window."""
_SECONDS = r"\s*(\d+(?:\.\d+)?)\s*"


def read_window(given: Any) -> tuple[float, float] | None:
    """First and last second of a window; None for all times.

    >>> read_window("2-6"), read_window(6), read_window("all")
    ((2.0, 6.0), (6.0, 6.0), None)

    Raises
    ------
    InputError
        It cannot be read, or ends before it begins.
    """
    if given == "all":
        return None
    found = re.fullmatch(rf"{_SECONDS}(?:-{_SECONDS})?", str(given))
    if not found or isinstance(given, bool):
        raise InputError(f"window is {given!r}; expected seconds after the picture: {EXAMPLE}.")
    first, last = float(found[1]), float(found[2] or found[1])
    if last < first:
        raise InputError(f"window is {given!r}, which ends before it begins; {EXAMPLE}.")
    return first, last


def times_within(times: NDArray, given: Any, where: Path) -> NDArray[np.intp]:
    """Places of the times that lie in a window, both of its ends included.

    >>> times_within(np.array([0, 2, 4, 6, 8]), "2-6", "sub-01.npz").tolist()
    [1, 2, 3]

    Raises
    ------
    InputError
        No time lies in it.
    """
    window = read_window(given)
    if window is None:
        return np.arange(len(times))
    chosen = np.flatnonzero((times >= window[0] - ROUNDED) & (times <= window[1] + ROUNDED))
    if not len(chosen):
        raise InputError(
            f"No time of {where} lies in the window {given}; it has {', '.join(map(named, times))}: {EXAMPLE}."
        )
    return chosen


def checked_times(times: Any, n_times: int, where: Path) -> NDArray[np.float64]:
    """Seconds after the picture of each step, increasing; an InputError otherwise."""
    times = np.asarray(times)
    if times.dtype.kind not in "iuf" or times.shape != (n_times,) or not np.isfinite(times).all():
        raise InputError(
            f"time_s in {where} is {times.dtype} {times.shape} for the {n_times} times of x; expected seconds after the "
            "picture, a number for each."
        )
    times = times.astype(np.float64)
    if (np.diff(times) <= 0).any():
        raise InputError(
            f"time_s in {where} is {', '.join(map(named, times))}; expected times that increase: sort them and x."
        )
    return times


def named(second: float) -> str:
    """The region of a time: ``2s``, ``4.5s``."""
    return f"{float(f'{second:.6g}'):g}s"
