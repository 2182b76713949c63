"""Single-trial responses that are read by rows, and whether they are z-scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.split import check_finite
from stages.ground.errors import InputError
from stages.ground.lazy_rows import BLOCK_BYTES, ConcatenatedRows, LazyRows, MappedRows, as_rows

Standardized = Literal["no", "session", "training"]
"""Whether responses are z-scored.

no        they have the unit of the measurement, such as percent signal change
session   they were z-scored within each session, or each run; by which trials is settled
training  they are z-scored when they are read, by training trials alone: another split takes other statistics
"""


class Responses(LazyRows):
    """Responses of trials, (n_trials, n_voxels) float32, which say in `standardized` whether they are z-scored."""

    standardized: Standardized = "no"
    is_quick: bool = True
    """Whether few responses can all be read in a moment; not if they lie scattered over files of many others."""
    are_there: bool = True
    """Whether they can be read at all, see `AbsentResponses`."""

    def _derived(self, rows: LazyRows) -> Responses:
        return ResponsesOf(rows, self.standardized)

    def joined(self, others: Sequence[Responses]) -> Responses:
        """These trials and those of other responses to the same voxels, one below the other."""
        kinds = {part.standardized for part in (self, *others)}
        # Statistics that can no longer be told apart are settled.
        kind: Standardized = "no" if kinds == {"no"} else "session"
        return ResponsesOf(ConcatenatedRows([self, *others]), kind)

    def standardized_by(self, trained: NDArray) -> Responses:
        """The same trials, z-scored by the statistics of some of them if these are taken when the trials are read.

        Parameters
        ----------
        trained : array of int
            Rows that are trained on.

        Returns
        -------
        responses : Responses
            Unless `standardized` is "training", the same responses.
        """
        return self


class ResponsesOf(Responses):
    """Responses in any array of rows.

    Parameters
    ----------
    rows : array of shape (n_trials, n_voxels)
        In memory, or a lazy array.
    standardized : {"no", "session"}
        Statistics of an array are settled, so it cannot be "training".
    """

    def __init__(self, rows: Any, standardized: Standardized = "no") -> None:
        rows = as_rows(rows)
        super().__init__(rows.shape, rows.dtype)
        self._rows, self.standardized = rows, standardized
        self.takes_any_order = rows.takes_any_order

    def _read(self, rows: NDArray) -> NDArray:
        return self._rows._values(rows)

    def take(self, rows: Any) -> Responses:
        return self._derived(self._rows.take(rows))

    def columns(self, chosen: Any) -> Responses:
        return self._derived(self._rows.columns(chosen))


def as_responses(betas: Any) -> Responses:
    """Responses as they are; any other array as responses that are not z-scored."""
    return betas if hasattr(betas, "standardized") else ResponsesOf(betas)


def stored_responses(
    array: Any,
    where: object,
    divisor: float = 1,
    standardized: Standardized = "no",
    block_bytes: int = BLOCK_BYTES,
    **remedy: str,
) -> Responses:
    """Numbers of any type as responses, converted to float32 and checked for NaN and infinite values when read.

    Parameters
    ----------
    array : array of shape (n_trials, n_voxels)
        In memory, mapped, or a lazy array; only the voxels that are wanted, as those alone must be finite.
    where : str or path
        For the message when a value is not finite.
    divisor : float
        What the stored values are divided by.
    standardized : {"no", "session"}
    block_bytes : int
        So many bytes of the array are converted at a time.
    **remedy : str
        ``remedy``, what to do where a value is not finite, as `brainrecon.datasets.split.check_finite` takes it.

    Returns
    -------
    responses : Responses
    """

    def convert(stored: NDArray) -> NDArray:
        values = np.asarray(stored, dtype=np.float32)
        if divisor != 1:
            values = values / np.float32(divisor)
        check_finite(values, where, **remedy)
        return values

    rows = MappedRows(as_rows(array), convert, dtype=np.float32, block_bytes=block_bytes)
    return ResponsesOf(rows, standardized)


def checked_standardized(value: Any, where: object) -> Standardized:
    """What a file says of its responses, which can be "no" or "session"; else an InputError."""
    stored = [kind for kind in get_args(Standardized) if kind != "training"]
    if value not in stored:
        raise InputError(
            f"standardized in {where} is {value!r}; write 'session' for responses that were z-scored within sessions, "
            "'no' for all others."
        )
    return value


class AbsentResponses(Responses):
    """Responses that were measured and not published: trials and voxels are known, and reading them is an error.

    >>> responses = AbsentResponses((9000, 20), "Only the encoding model was published; fit to betas of your own.")
    >>> responses.shape, responses.columns([1, 2]).shape, responses.are_there
    ((9000, 20), (9000, 2), False)
    >>> responses[0]
    Traceback (most recent call last):
        ...
    stages.ground.errors.InputError: Only the encoding model was published; fit to betas of your own.

    Parameters
    ----------
    shape : (int, int)
        (n_trials, n_voxels).
    why : str
        A sentence that says what to do instead.
    """

    is_quick, are_there = False, False

    def __init__(self, shape: tuple[int, int], why: str) -> None:
        super().__init__(shape, np.float32)
        self._why = why

    def _read(self, rows: NDArray) -> NDArray:
        raise InputError(self._why)

    def _derived(self, rows: LazyRows) -> Responses:
        return AbsentResponses((rows.shape[0], rows.shape[1]), self._why)
