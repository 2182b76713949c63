"""Banks of embeddings that are scanned part by part: a folder of blocks of rows, or a table that lies by columns.

A bank tells the products of all its rows with some queries and the rows' squared lengths, as exactly as one matrix product has
them, and hands out rows. Who wants cosines or distances exactly computes them of the rows themselves (`stages.priors.memory`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.checkpoints.mapped_tensors import map_tensors
from stages.ground.errors import InputError
from stages.ground.reading.numpy_files import read_npy

SUFFIXES = (".npy", ".safetensors")
_MEND = "save float32 or float16 rows, (n, values), with numpy.save"
# Of a part that is in memory as float32.
_BYTES_AT_ONCE = 1 << 26
# Columns read at a time of a table: a multiple of the runs that lie together in it.
_COLUMNS_AT_ONCE = 4096


class Part(NamedTuple):
    """Some rows of a bank, one after the other, beside some queries.

    >>> bank = RowBank([np.array([[3, 4], [0, 1]], np.float32)])
    >>> [(part.first, part.products.tolist(), part.squares.tolist()) for part in bank.products(np.float32([[1, 1]]))]
    [(0, [[7.0, 1.0]], [25.0, 1.0])]

    Attributes
    ----------
    first : int
        Number of the first row.
    products : float32 array of shape (n_queries, n_rows)
        Of queries and rows.
    squares : float32 array of shape (n_rows,)
        Squared lengths of the rows.
    """

    first: int
    products: NDArray[np.float32]
    squares: NDArray[np.float32]


class Bank(Protocol):
    """Embeddings by rows.

    Attributes
    ----------
    shape : tuple of two ints
        Rows, and values of each.
    where : str
        What it is, for messages.
    """

    shape: tuple[int, int]
    where: str

    def products(self, queries: NDArray[np.float32]) -> Iterator[Part]:
        """Yield the bank part by part, for queries (n_queries, n_values)."""

    def rows(self, chosen: Sequence[int]) -> NDArray[np.float32]:
        """Rows by their numbers, (n_chosen, n_values)."""


class RowBank:
    """Blocks of rows, one after the other.

    >>> bank = RowBank([np.eye(2, 3, dtype=np.float32), np.ones((1, 3), np.float16)])
    >>> bank.shape, bank.rows([2, 0]).tolist()
    ((3, 3), [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])

    Parameters
    ----------
    blocks : sequence of arrays of shape (n_rows, n_values)
        Of floats; maps of files are read part by part, and never whole.
    where : str
        What it is, for messages.
    """

    def __init__(self, blocks: Sequence[NDArray[Any]], where: str = "The bank") -> None:
        self._blocks, self.where = list(blocks), where
        self._firsts = np.cumsum([0, *(len(block) for block in self._blocks)])
        self.shape = (int(self._firsts[-1]), int(self._blocks[0].shape[1]))

    def products(self, queries: NDArray[np.float32]) -> Iterator[Part]:
        """See `Bank`."""
        at_once = max(_BYTES_AT_ONCE // (4 * self.shape[1]), 1)
        for first, block in zip(self._firsts.tolist(), self._blocks):
            for start in range(0, len(block), at_once):
                part = np.asarray(block[start : start + at_once], dtype=np.float32)
                # What is not finite is for the reader to find.
                with np.errstate(invalid="ignore", over="ignore"):
                    yield Part(first + start, queries @ part.T, np.einsum("rv,rv->r", part, part))

    def rows(self, chosen: Sequence[int]) -> NDArray[np.float32]:
        """See `Bank`."""
        found = np.empty((len(chosen), self.shape[1]), dtype=np.float32)
        for place, row in enumerate(chosen):
            block = int(np.searchsorted(self._firsts, row, side="right")) - 1
            found[place] = self._blocks[block][row - self._firsts[block]]
        return found


class ColumnBank:
    """A table whose columns lie together.

    Parameters
    ----------
    table : object
        With `shape`, ``columns(start, stop) -> float32 (n_rows, stop - start)`` and ``rows(start, stop)``, as the feature
        store's tables have them.
    where : str
        What it is, for messages.
    """

    def __init__(self, table: Any, where: str = "The bank") -> None:
        self._table, self.where, self.shape = table, where, (int(table.shape[0]), int(table.shape[1]))

    def products(self, queries: NDArray[np.float32]) -> Iterator[Part]:
        """See `Bank`."""
        n_rows, n_values = self.shape
        products, squares = np.zeros((len(queries), n_rows)), np.zeros(n_rows)
        for start in range(0, n_values, _COLUMNS_AT_ONCE):
            stop = min(start + _COLUMNS_AT_ONCE, n_values)
            part = self._table.columns(start, stop)
            products += queries[:, start:stop] @ part.T
            squares += np.einsum("rv,rv->r", part, part)
        yield Part(0, products.astype(np.float32), squares.astype(np.float32))

    def rows(self, chosen: Sequence[int]) -> NDArray[np.float32]:
        """See `Bank`."""
        return np.concatenate(
            [
                np.empty((0, self.shape[1]), np.float32),
                *(np.asarray(self._table.rows(row, row + 1), dtype=np.float32) for row in chosen),
            ]
        )


def bank_of_folder(folder: str | Path) -> RowBank:
    """Open the embeddings of a folder: those of its .npy and .safetensors files, in the order of their names.

    >>> folder = getfixture("tmp_path")
    >>> np.save(folder / "part-0.npy", np.eye(2, 3, dtype=np.float32))
    >>> np.save(folder / "part-1.npy", np.ones((4, 3), np.float32))
    >>> bank_of_folder(folder).shape
    (6, 3)

    Parameters
    ----------
    folder : path
        A .npy file holds one array (n, n_values) of floats, a .safetensors file one such tensor.

    Raises
    ------
    InputError
        There are none, one is damaged or something else, or two have embeddings of different lengths.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"The bank {folder} is no folder; name a folder of .npy or .safetensors files of embeddings.")
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
    blocks = {path: block for path in paths if len(block := _block(path))}
    if not blocks:
        raise InputError(
            f"The bank {folder} holds no embeddings in {' or '.join(SUFFIXES)} files; put them there, or name another folder."
        )
    (first, known), *others = blocks.items()
    for path, block in others:
        if block.shape[1] != known.shape[1]:
            raise InputError(
                f"{path} has embeddings of {block.shape[1]:,} values but {first.name} of {known.shape[1]:,}; keep those of "
                "one model in a folder of their own."
            )
    return RowBank(list(blocks.values()), f"The bank {folder}")


def _block(path: Path) -> NDArray[Any]:
    if path.suffix == ".npy":
        values = read_npy(path, mapped=True, remedy=_MEND)
    else:
        tensors, _ = map_tensors(path)
        if len(tensors) != 1:
            raise InputError(
                f"{path} holds {len(tensors)} tensors ({', '.join(list(tensors)[:3])}); expected one of embeddings: {_MEND}."
            )
        (values,) = tensors.values()
    if values.ndim != 2 or values.dtype.kind != "f" or not values.shape[1]:
        raise InputError(f"{path} holds {values.dtype} {values.shape}; {_MEND}.")
    return values
