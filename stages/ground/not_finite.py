"""Outputs whose values are NaN or infinite: they are named, and never saved as if they were black."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stages.ground.errors import InputError

_LISTED = 5


class NotFinite(InputError):
    """Some outputs were not made, for values on their way are NaN or infinite. All others were.

    >>> error = NotFinite([1], ["nsd00042 (sample 1)"], "in float16 and in float32")
    >>> print(error)  # doctest: +ELLIPSIS
    1 output is missing, of nsd00042 (sample 1): values on its way are NaN or infinite, in float16 and in float32; look ...
    >>> NotFinite([1, 3]).of(["a", "b", "c", "d"]).names
    ('b', 'd')

    Parameters
    ----------
    positions : iterable of int
        Of the outputs, among those that were asked for.
    names : iterable of str
        Of what they are outputs of.
    computed : str
        How they were computed, beginning with "in".

    Attributes
    ----------
    positions : tuple of int
    names : tuple of str
    """

    def __init__(self, positions: Iterable[int], names: Iterable[str] = (), computed: str = "") -> None:
        self.positions, self.names, self.computed = tuple(positions), tuple(dict.fromkeys(names)), computed
        one = len(self.names or self.positions) == 1
        super().__init__(
            f"{len(self.names or self.positions)} {'output is' if one else 'outputs are'} missing{listed(self.names)}: values on "
            f"{'its' if one else 'their'} way are NaN or infinite{computed and ', '}{computed}; look at them with "
            "`brainrecon trace` and at the networks with `brainrecon weights verify`, or change what is drawn with in another "
            "folder."
        )

    def of(self, names: Sequence[str]) -> NotFinite:
        """Return the same error with the names of its outputs, out of the names of all that were asked for."""
        return NotFinite(self.positions, [names[position] for position in self.positions], self.computed)

    @staticmethod
    def together(errors: Sequence[NotFinite]) -> NotFinite:
        """Return one error for several.

        >>> NotFinite.together([NotFinite([0], ["a"]), NotFinite([0], ["b"])]).names
        ('a', 'b')
        """
        computed = dict.fromkeys(error.computed for error in errors if error.computed)
        positions = [position for error in errors for position in error.positions]
        return NotFinite(positions, [name for error in errors for name in error.names], ", or ".join(computed))


def listed(names: Sequence[str]) -> str:
    """Return the first few names as part of a sentence.

    >>> listed([]), listed(["a", "b"]), listed(list("abcdefg"))
    ('', ', of a, b', ', of a, b, c, d, e and 2 more')
    """
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f", of {', '.join(names[:_LISTED])}{more}" if names else ""


def named(item: Any) -> str:
    """Return what an output is called in a sentence, by the `stimulus_id` and the `sample` of its item."""
    return f"{item.stimulus_id} (sample {item.sample})"


def finite_rows(values: Any) -> list[bool]:
    """Whether each row of an array or of a torch tensor is finite; the only look at it that waits for the device.

    >>> finite_rows(np.array([[0.0, 1.0], [np.nan, 1.0], [0.0, np.inf]]))
    [True, False, False]
    """
    if not len(values):
        return []
    finite = values.isfinite() if hasattr(values, "isfinite") else np.isfinite(values)
    return finite.reshape(len(values), -1).all(1).tolist()


def check_rows(values: Any) -> None:
    """Raise NotFinite with the rows of an array or of a torch tensor that are not finite, if there are any.

    >>> check_rows(np.zeros((2, 3)))
    """
    if not all(finite := finite_rows(values)):
        raise NotFinite(row for row, is_finite in enumerate(finite) if not is_finite)
