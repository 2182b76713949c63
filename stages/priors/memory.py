"""A prior from memory: in the place of a decoded embedding the nearest of a bank, or a mean of some that are near.

What it gives is an embedding that a picture has, and nothing that a network made up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.priors.embedding_bank import Bank, Part

# Products in float32 differ from exact ones by less than this share of the lengths' product, and so do squared lengths; rows that
# may be as near are compared anew.
_MARGIN = 5e-4


class _Cosine:
    """Nearness is the cosine."""

    @staticmethod
    def prepared(queries: NDArray[np.float64]) -> NDArray[np.float64]:
        """Queries of unit length."""
        return queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-30)

    @staticmethod
    def about(queries: NDArray[np.float32], part: Part) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Nearness (n_queries, n_rows) and how wrong it may be."""
        with np.errstate(invalid="ignore", over="ignore"):
            found = (part.products / np.maximum(np.sqrt(part.squares), 1e-30)).astype(np.float32)
        return found, np.full(found.shape, _MARGIN, np.float32)

    @staticmethod
    def exact(row: NDArray[np.float32], query: NDArray[np.float64]) -> float:
        """Nearness of one row."""
        values = row.astype(np.float64)
        return float(values @ query) / max(float(np.linalg.norm(values)), 1e-30)

    @staticmethod
    def told(nearness: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a nearness is called by."""
        return nearness

    @staticmethod
    def weights(nearness: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shares of neighbours in a mean, not yet divided by their sum."""
        return np.maximum(nearness, 0)


class _Euclidean(_Cosine):
    """Nearness is minus the distance, squared on the way."""

    @staticmethod
    def prepared(queries: NDArray[np.float64]) -> NDArray[np.float64]:
        return queries

    @staticmethod
    def about(queries: NDArray[np.float32], part: Part) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        own = np.einsum("qv,qv->q", queries, queries)[:, None]
        with np.errstate(invalid="ignore", over="ignore"):
            return 2 * part.products - part.squares - own, _MARGIN * (np.sqrt(own) + np.sqrt(part.squares)) ** 2

    @staticmethod
    def exact(row: NDArray[np.float32], query: NDArray[np.float64]) -> float:
        return -float(np.linalg.norm(row.astype(np.float64) - query))

    @staticmethod
    def told(nearness: NDArray[np.float64]) -> NDArray[np.float64]:
        # Without a minus before 0.
        return np.abs(nearness)

    @staticmethod
    def weights(nearness: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ones_like(nearness)


_MEASURES = {"cosine": _Cosine, "euclidean": _Euclidean}


class MemoryPrior:
    """Nearest neighbours in a bank of embeddings, by cosine or by Euclidean distance.

    What a query finds does not depend on the other queries: rows that may be the nearest are compared in float64, row by
    row, and of equal ones the first is taken.

    >>> from stages.priors.embedding_bank import RowBank
    >>> prior = MemoryPrior(RowBank([np.array([[1, 0], [0, 2], [3, 3]], np.float32)]))
    >>> prior.nearest(np.array([[0.1, 5.0]]))[0].tolist(), prior.recall(np.array([[0.1, 5.0]])).tolist()
    ([[1]], [[0.0, 2.0]])
    >>> by_distance = MemoryPrior(prior.bank, measure="euclidean")
    >>> [found.tolist() for found in by_distance.nearest(np.array([[2.0, 7.0]]))], prior.nearest([[2.0, 7.0]])[0].tolist()
    ([[[2]], [[4.123105625617661]]], [[1]])

    Parameters
    ----------
    bank : stages.priors.embedding_bank.Bank
    n_neighbours : int
        How many embeddings are averaged, each weighted by its cosine with the query; one that points away has no weight, and
        if all do they count alike. Those that are found by distance always do.
    measure : {"cosine", "euclidean"}
        What is near.
    """

    def __init__(self, bank: Bank, n_neighbours: int = 1, measure: str = "cosine") -> None:
        check("n_neighbours", n_neighbours, Number(1, whole=True))
        check("measure", measure, OneOf(*_MEASURES))
        if n_neighbours > bank.shape[0]:
            raise InputError(
                f"{bank.where} has {bank.shape[0]:,} embeddings but {n_neighbours:,} neighbours are asked for; ask for fewer."
            )
        self.bank, self.n_neighbours, self._measure = bank, n_neighbours, _MEASURES[measure]

    def nearest(self, queries: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Find the nearest rows of each query, the nearest first.

        Parameters
        ----------
        queries : array of shape (n, n_values)

        Returns
        -------
        rows : int array of shape (n, n_neighbours)
        measures : float64 array of shape (n, n_neighbours)
            Cosines, or distances.

        Raises
        ------
        InputError
            Queries have another length than the bank's embeddings, or values that are not finite.
        """
        queries = np.asarray(queries, dtype=np.float64)
        if queries.ndim != 2 or queries.shape[1] != self.bank.shape[1]:
            raise InputError(
                f"{self.bank.where} has embeddings of {self.bank.shape[1]:,} values but {queries.shape[-1]:,} are looked "
                "for; name a bank of the model whose embeddings are decoded."
            )
        if bad := int((~np.isfinite(queries)).any(axis=1).sum()):
            raise InputError(
                f"{bad:,} of {len(queries):,} queries hold NaN or infinite values; look at what was decoded."
            )
        queries = self._measure.prepared(queries)
        rows = np.empty((len(queries), self.n_neighbours), dtype=np.int64)
        nearness = np.empty((len(queries), self.n_neighbours))
        for place, candidates in enumerate(self._candidates(queries.astype(np.float32))):
            exact = np.array([self._measure.exact(self.bank.rows([row])[0], queries[place]) for row in candidates])
            # The nearest first, and by row where they are as near.
            order = np.lexsort((candidates, -exact))[: self.n_neighbours]
            rows[place], nearness[place] = candidates[order], exact[order]
        return rows, self._measure.told(nearness)

    def recall(self, queries: NDArray[Any]) -> NDArray[np.float32]:
        """Give the nearest embedding of each query as it is in the bank, or the weighted mean of several.

        Parameters
        ----------
        queries : array of shape (n, n_values)

        Returns
        -------
        embeddings : array of shape (n, n_values), float32
        """
        rows, measures = self.nearest(queries)
        if self.n_neighbours == 1:
            return self.bank.rows(rows[:, 0].tolist())
        weights = self._measure.weights(measures)
        weights[~weights.any(axis=1)] = 1
        weights /= weights.sum(axis=1, keepdims=True)
        found = np.empty((len(rows), self.bank.shape[1]), dtype=np.float32)
        for place, (own, shares) in enumerate(zip(rows, weights)):
            found[place] = (shares[:, None] * self.bank.rows(own.tolist())).sum(axis=0)
        return found

    def _candidates(self, queries: NDArray[np.float32]) -> list[NDArray[np.int64]]:
        """For each query the rows that may be among its nearest, the bank being gone through once."""
        k = self.n_neighbours
        rows = [np.empty(0, dtype=np.int64) for _ in queries]
        # At most and at least so near.
        highest = [np.empty(0, dtype=np.float32) for _ in queries]
        lowest = [np.empty(0, dtype=np.float32) for _ in queries]
        for part in self.bank.products(queries):
            found, wrong = self._measure.about(queries, part)
            if not np.isfinite(found).all():
                where = part.first + int(np.flatnonzero(~np.isfinite(found).all(axis=0))[0])
                raise InputError(
                    f"{self.bank.where} holds values in row {where:,} that are NaN or infinite; leave that row out."
                )
            numbers = np.arange(part.first, part.first + found.shape[1])
            for place in range(len(queries)):
                most = np.concatenate([highest[place], found[place] + wrong[place]])
                least = np.concatenate([lowest[place], found[place] - wrong[place]])
                both = np.concatenate([rows[place], numbers])
                kept = most >= (np.partition(least, -k)[-k] if len(least) >= k else -np.inf)
                highest[place], lowest[place], rows[place] = most[kept], least[kept], both[kept]
        return rows
