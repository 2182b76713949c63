"""Arrays of rows that stay where they are until they are asked for.

A lazy array has a shape and a type, is indexed along its first axis like a NumPy array, and turns into one by
``numpy.asarray``. What an index may be is settled here, once. A reader of some file writes one method, `_read`:

    class Squares(LazyRows):
        def __init__(self, n):
            super().__init__((n, 1), np.int64)

        def _read(self, rows: NDArray) -> NDArray:
            return rows[:, None] ** 2

    Squares(5)[-1]                          # array([16])
    Squares(5).take([3, 1])[:]              # array([[9], [1]])

`take`, `columns`, `ConcatenatedRows` and `MappedRows` make one lazy array of others. They read nothing either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK_BYTES = 64 * 2**20
"""`MappedRows` converts so many bytes at a time: the stored form of a long array is never whole beside the result."""


@runtime_checkable
class Rows(Protocol):
    """Any array that is read by rows: a `LazyRows`, or whatever has its attributes."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any, /) -> NDArray: ...
    def columns(self, chosen: Any, /) -> Rows: ...


class LazyRows:
    """The base of every lazy array; a subclass writes `_read`.

    >>> class Squares(LazyRows):
    ...     def _read(self, rows):
    ...         return np.asarray(rows, dtype=np.float32)[:, None] ** 2
    >>> squares = Squares((1_000_000, 1), np.float32)
    >>> squares[[3, -1]].tolist(), squares[2:4].shape
    ([[9.0], [999998029824.0]], (2, 1))

    ``x[rows]`` takes an int, a slice, an array of ints (negative ones count from the end; repeats and any order are
    allowed) or a mask of bools as long as the array. ``x[rows, columns]`` is ``x.columns(columns)[rows]``: rows and
    columns are chosen independently of each other. An index out of range is an IndexError. A choice of no row has the
    shape and the type of the others.

    Parameters
    ----------
    shape : tuple of int
        (n_rows, ...).
    dtype : numpy.dtype

    Attributes
    ----------
    shape, dtype, ndim
        As of the array in memory.
    """

    takes_any_order: bool = False
    """Whether `_read` takes rows as they come. By default it gets each row once, in increasing order, as files like it."""

    def __init__(self, shape: Sequence[int], dtype: DTypeLike) -> None:
        self.shape, self.dtype = tuple(map(int, shape)), np.dtype(dtype)

    def _read(self, rows: NDArray) -> NDArray:
        """Read some rows.

        Parameters
        ----------
        rows : array of int, shape (n,)
            One row or more, 0 to ``len(self) - 1``, increasing unless `takes_any_order` says otherwise.

        Returns
        -------
        values : array of shape (n, ...), of `dtype`
        """
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' x '.join(f'{size:,}' for size in self.shape)}, {self.dtype})"

    def __getitem__(self, index: Any) -> NDArray:
        if isinstance(index, tuple):
            rows, *columns = index
            return self._rows_and_columns(rows, columns)
        places = positions(index, len(self))
        values = self._values(places.reshape(-1))
        return values.reshape(places.shape + self.shape[1:])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.asarray(self[:], dtype=dtype)

    def take(self, rows: Any) -> LazyRows:
        """Some rows as a lazy array of their own, chosen like those of ``x[rows]``; an int chooses one row."""
        return self._derived(ChosenRows(self, np.atleast_1d(positions(rows, len(self)))))

    def columns(self, chosen: Any) -> LazyRows:
        """Some columns of all rows as a lazy array, chosen like those of ``x[:, chosen]``; an int chooses one column."""
        if self.ndim < 2:
            raise IndexError(f"An array of shape {self.shape} has no columns.")
        return self._derived(self._of_columns(np.atleast_1d(positions(chosen, self.shape[1], "column"))))

    def _of_columns(self, places: NDArray) -> LazyRows:
        """The columns at some places; a reader that need not read the others overrides this."""
        return ChosenColumns(self, places)

    def _derived(self, rows: LazyRows) -> LazyRows:
        """What `take` and `columns` return; a subclass passes on here what it knows of its rows."""
        return rows

    def _values(self, rows: NDArray) -> NDArray:
        """Values of any rows in range, as `_read` can give them."""
        if not len(rows):
            return np.empty((0, *self.shape[1:]), dtype=self.dtype)
        if self.takes_any_order or len(rows) == 1 or (np.diff(rows) > 0).all():
            return self._read(rows)
        increasing, places = np.unique(rows, return_inverse=True)
        return self._read(increasing)[places.reshape(-1)]

    def _rows_and_columns(self, rows: Any, columns: list) -> NDArray:
        if len(columns) != 1:
            raise IndexError(f"{1 + len(columns)} indices were given; an index is rows, or rows and columns.")
        values = self.columns(columns[0])[rows]
        # One column by its number is no axis, as in NumPy.
        one = np.ndim(columns[0]) == 0 and not isinstance(columns[0], slice)
        return values.take(0, axis=values.ndim - self.ndim + 1) if one else values


def positions(index: Any, size: int, what: str = "row") -> NDArray:
    """The places that an index chooses, 0 to ``size - 1``.

    Parameters
    ----------
    index : int, slice, array of int, or bool array of shape (size,)
    size : int
    what : str
        Of what, for messages.

    Returns
    -------
    places : array of int64
        Of no axis for an int, else of the index' own shape.

    Raises
    ------
    IndexError
        A place that is not there, a mask of another length, or no such index.
    """
    if isinstance(index, int | np.integer) and not isinstance(index, bool):
        if not -size <= index < size:
            raise IndexError(f"There is no {what} {index}; there are {size:,}, counted from 0.")
        return np.array(index % size)
    if isinstance(index, slice):
        return np.arange(*index.indices(size))
    if index is Ellipsis:
        return np.arange(size)
    places = np.asarray(index)
    if places.dtype == bool:
        if places.shape != (size,):
            raise IndexError(f"The mask has shape {places.shape} but there are {size:,} {what}s.")
        return np.flatnonzero(places)
    if places.size == 0:
        return places.astype(np.int64)
    if places.dtype.kind not in "iu":
        raise IndexError(f"{index!r} chooses no {what}; give an int, a slice, an array of ints or a mask of bools.")
    places = places.astype(np.int64, copy=False)
    low, high = places.min(), places.max()
    if low < -size or high >= size:
        raise IndexError(f"There is no {what} {high if high >= size else low}; there are {size:,}, counted from 0.")
    return np.where(places < 0, places + size, places) if low < 0 else places


def as_slice(places: NDArray) -> NDArray | slice:
    """Neighbouring places in increasing order as a slice, which is read fastest; any others as they are."""
    if not len(places):
        return places
    first, last = int(places[0]), int(places[-1])
    if last - first + 1 != len(places) or (len(places) > 2 and (np.diff(places) != 1).any()):
        return places
    return slice(first, last + 1)


def as_rows(array: Any) -> LazyRows:
    """A lazy array as it is; any other array, in memory, mapped or in an open file, as a lazy one that reads from it."""
    return array if isinstance(array, LazyRows) else ArrayRows(array)


class ArrayRows(LazyRows):
    """An array of another kind: NumPy's, a map of a file, or whatever has a shape and is indexed by rows.

    Parameters
    ----------
    array : array of shape (n_rows, ...)
    """

    def __init__(self, array: Any) -> None:
        super().__init__(array.shape, getattr(array, "dtype", np.float32))
        self._array = array
        self.takes_any_order = isinstance(array, np.ndarray)

    def _read(self, rows: NDArray) -> NDArray:
        return np.asarray(self._array[as_slice(rows)])


class ChosenRows(LazyRows):
    """Some rows of a lazy array, in any order, repeats allowed.

    Parameters
    ----------
    source : LazyRows
    rows : array of int, shape (n_rows,)
    """

    takes_any_order = True

    def __init__(self, source: LazyRows, rows: NDArray) -> None:
        super().__init__((len(rows), *source.shape[1:]), source.dtype)
        self._source, self._rows = source, rows

    def _read(self, rows: NDArray) -> NDArray:
        return self._source._values(self._rows[as_slice(rows)])

    def take(self, rows: Any) -> LazyRows:
        # One choice is as fast as one of a choice of a choice.
        return self._source.take(self._rows[np.atleast_1d(positions(rows, len(self)))])

    def _of_columns(self, places: NDArray) -> LazyRows:
        return ChosenRows(self._source._of_columns(places), self._rows)


class ChosenColumns(LazyRows):
    """Some columns of a lazy array, in any order, repeats allowed.

    Parameters
    ----------
    source : LazyRows
    columns : array of int, shape (n_columns,)
    """

    takes_any_order = True

    def __init__(self, source: LazyRows, columns: NDArray) -> None:
        super().__init__((len(source), len(columns), *source.shape[2:]), source.dtype)
        self._source, self._columns = source, columns

    def _read(self, rows: NDArray) -> NDArray:
        return self._source._values(rows)[:, as_slice(self._columns)]

    def _of_columns(self, places: NDArray) -> LazyRows:
        return ChosenColumns(self._source, self._columns[places])


class ConcatenatedRows(LazyRows):
    """Several lazy arrays, one below the other.

    Parameters
    ----------
    parts : sequence of LazyRows
        Of one shape but for the number of rows.

    Raises
    ------
    ValueError
        There is no part, or the parts differ in shape.
    """

    takes_any_order = True

    def __init__(self, parts: Sequence[LazyRows]) -> None:
        shapes = {part.shape[1:] for part in parts}
        if len(shapes) != 1:
            raise ValueError(
                f"Parts have rows of shape {', '.join(map(str, sorted(shapes))) or 'nothing'}; give one shape."
            )
        super().__init__((sum(map(len, parts)), *shapes.pop()), np.result_type(*(part.dtype for part in parts)))
        self._parts = list(parts)
        lengths = [len(part) for part in parts]
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths

    def _read(self, rows: NDArray) -> NDArray:
        owners = np.searchsorted(self._ends, rows, side="right")
        rows = rows - self._starts[owners]
        present = np.unique(owners)
        if len(present) == 1:
            return self._parts[present[0]]._values(rows).astype(self.dtype, copy=False)
        values = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        for owner in present:
            own = owners == owner
            values[own] = self._parts[owner]._values(rows[own])
        return values

    def _of_columns(self, places: NDArray) -> LazyRows:
        return ConcatenatedRows([part._of_columns(places) for part in self._parts])


class MappedRows(LazyRows):
    """A function over the rows of a lazy array, applied when they are read.

    Parameters
    ----------
    source : LazyRows
    function : callable
        ``function(values)`` of shape (n, ...) returns n rows. What it makes of a row depends on that row alone.
    row_shape : tuple of int, optional
        Of a row that it returns; by default that of the source.
    dtype : numpy.dtype, optional
        Of what it returns; by default that of the source.
    block_bytes : int
        It is given so many bytes of the source at a time, one row at least.
    """

    def __init__(
        self,
        source: LazyRows,
        function: Callable[[NDArray], NDArray],
        row_shape: tuple[int, ...] | None = None,
        dtype: DTypeLike | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        row_shape = source.shape[1:] if row_shape is None else row_shape
        super().__init__((len(source), *row_shape), source.dtype if dtype is None else dtype)
        self._source, self._function = source, function
        self.takes_any_order = source.takes_any_order
        row_bytes = source.dtype.itemsize * int(np.prod(source.shape[1:]))
        self._rows_at_once = max(1, block_bytes // max(1, row_bytes))

    def _read(self, rows: NDArray) -> NDArray:
        if len(rows) <= self._rows_at_once:
            return self._function(self._source._values(rows))
        values = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        for start in range(0, len(rows), self._rows_at_once):
            some = slice(start, start + self._rows_at_once)
            values[some] = self._function(self._source._values(rows[some]))
        return values
