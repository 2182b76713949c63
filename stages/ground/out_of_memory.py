"""Memory that does not suffice: how it is told from other errors, and batches that are halved once."""

from __future__ import annotations

import errno
import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from stages.ground.errors import InputError
from weights.remark import Remark

Output = TypeVar("Output")

# Of torch's errors without a class of their own: its allocator's on the CPU, and those of accelerators and their libraries.
_SAID = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
    "could not create a memory object",
    "std::bad_alloc",
    "Cannot allocate memory",
)


def is_short_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice, on an accelerator or on the CPU; of torch, numpy or Python.

    >>> is_short_of_memory(MemoryError()), is_short_of_memory(ValueError("out of memory"))
    (True, False)
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # Without torch in memory it is none of torch's, and torch is slow to import.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # Libraries that are loaded into too little memory say so in words, too.
    return isinstance(error, RuntimeError | OSError | ImportError) and any(said in str(error) for said in _SAID)


def give_back() -> None:
    """Give memory back that nothing needs any more, of the accelerator too.

    >>> give_back()
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class HalvedOnce:
    """Work in batches that goes on with half of them if memory does not suffice, once.

    >>> def squares(rows, batch_size):
    ...     for start in range(0, len(rows), batch_size):
    ...         if batch_size > 2:
    ...             raise MemoryError
    ...         yield from ((position, rows[position] ** 2) for position in range(start, min(start + batch_size, len(rows))))
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     list(HalvedOnce("squares", lambda tried: "take fewer").go_through(squares, 3, 4))
    [(0, 0), (1, 1), (2, 4)]
    >>> print(told[0].message)
    Memory does not suffice for 3 squares at a time; going on with 1 at a time.

    Parameters
    ----------
    things : str
        What is worked on, in the plural, for example "pictures".
    advice : callable
        ``advice(tried) -> str``: what to do if `tried` at a time do not fit either.

    Attributes
    ----------
    most : int, optional
        How many at a time, once memory has not sufficed for more.
    """

    def __init__(self, things: str, advice: Callable[[int], str]) -> None:
        self.things, self.advice = things, advice
        self.most: int | None = None

    def go_through(
        self, work: Callable[[list[int], int], Iterator[tuple[int, Output]]], n: int, batch_size: int
    ) -> Iterator[tuple[int, Output]]:
        """Yield the outputs of `n` rows as they are done.

        Parameters
        ----------
        work : callable
            ``work(rows, batch_size)`` yields (position in `rows`, output) for rows by their numbers, so many at a time.
        n : int
        batch_size : int
            As asked for.

        Yields
        ------
        row : int
        output
            Each row has one: those that were not yielded when memory ran out are worked on again.

        Raises
        ------
        InputError
            Halves do not fit either.
        """
        left, largest = dict.fromkeys(range(n)), batch_size if self.most is None else min(batch_size, self.most)
        while left:
            rows = list(left)
            try:
                for position, output in work(rows, largest):
                    del left[rows[position]]
                    yield rows[position], output
                return
            except Exception as error:
                if not is_short_of_memory(error):
                    raise
                largest = self._half(min(largest, len(left)), error)
            # Here, since until now the error's own frames held what was computed.
            give_back()

    def _half(self, tried: int, error: Exception) -> int:
        if self.most is not None or tried == 1:
            larger = "" if self.most is None else ", after larger batches had been halved once"
            raise InputError(
                f"Memory does not suffice for {tried} {self.things} at a time{larger} ({_first_line(error)}); "
                f"{self.advice(tried)}."
            ) from error
        self.most = tried // 2
        warnings.warn(
            f"Memory does not suffice for {tried} {self.things} at a time; going on with {self.most} at a time.",
            Remark,
            stacklevel=3,
        )
        return self.most


def _first_line(error: Exception) -> str:
    said: Any = str(error).strip().splitlines()
    return said[0][:100].rstrip(". ").replace(". ", ", ") if said else type(error).__name__
