"""Threads of one process: how many it may use, and work that is shared among them without changing what comes out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local
from typing import TypeVar

One = TypeVar("One")
Found = TypeVar("Found")

_own = local()


def n_threads() -> int:
    """How many threads this process computes with: those of torch, and no more than the processors it was given.

    Torch's are as many as ``OMP_NUM_THREADS`` or `torch.set_num_threads` says, or as there are cores. The processors are those
    of the affinity that SLURM, ``taskset`` or a container sets. A thread of `in_order` has itself alone, so that work within
    work does not start threads of its own.

    >>> n_threads() >= 1, list(in_order(lambda _: n_threads(), range(3)))
    (True, [1, 1, 1])
    """
    if getattr(_own, "is_shared", False):
        return 1
    import torch

    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), given))


def in_order(work: Callable[[One], Found], items: Iterable[One], ahead: int = 8) -> Iterator[Found]:
    """Yield ``work(item)`` in the order of the items, while the next ones are already being worked on.

    Which thread does an item, and how many there are, changes nothing but the time. If an item raises, what came before it
    has been yielded and nothing is begun any more.

    >>> list(in_order(lambda number: number**2, range(5)))
    [0, 1, 4, 9, 16]

    Parameters
    ----------
    work : callable
        Called from several threads at once, with NumPy's warnings about numbers that are not finite off.
    items : iterable
        Read as the work goes on.
    ahead : int
        At most so many items are being worked on or wait to be taken, and one for each thread at least.

    Yields
    ------
    found : object
        One for each item.
    """

    def alone(item: One) -> Found:
        import numpy as np

        before, _own.is_shared = getattr(_own, "is_shared", False), True
        try:
            # NumPy's own setting does not reach other threads.
            with np.errstate(all="ignore"):
                return work(item)
        finally:
            _own.is_shared = before

    n = n_threads()
    if n < 2:
        yield from map(alone, items)
        return
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(n) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(alone, item))
                if len(waiting) >= max(n, ahead):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
