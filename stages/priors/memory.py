"""A prior from memory: in the place of a decoded embedding the nearest of a bank, or a mean of some that are near.

What it gives is an embedding that a picture has, and nothing that a network made up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.priors.embedding_bank import Bank

# Cosines of a matrix product in float32 differ from exact ones by less; the cosines of rows that are as near are computed anew.
_MARGIN = 1e-3


class MemoryPrior:
    """Nearest neighbours by cosine in a bank of embeddings.

    What a query finds does not depend on the other queries: rows that may be the nearest are compared in float64, row by
    row, and of equal ones the first is taken.

    >>> from stages.priors.embedding_bank import RowBank
    >>> prior = MemoryPrior(RowBank([np.array([[1, 0], [0, 2], [3, 3]], np.float32)]))
    >>> prior.nearest(np.array([[0.1, 5.0]]))[0].tolist(), prior.recall(np.array([[0.1, 5.0]])).tolist()
    ([[1]], [[0.0, 2.0]])

    Parameters
    ----------
    bank : stages.priors.embedding_bank.Bank
    n_neighbours : int
        How many embeddings are averaged, each weighted by its cosine with the query; one that points away has no weight, and
        if all do they count alike.
    """

    def __init__(self, bank: Bank, n_neighbours: int = 1) -> None:
        check("n_neighbours", n_neighbours, Number(1, whole=True))
        if n_neighbours > bank.shape[0]:
            raise InputError(
                f"{bank.where} has {bank.shape[0]:,} embeddings but {n_neighbours:,} neighbours are asked for; ask for fewer."
            )
        self.bank, self.n_neighbours = bank, n_neighbours

    def nearest(self, queries: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Find the nearest rows of each query, the nearest first.

        Parameters
        ----------
        queries : array of shape (n, n_values)

        Returns
        -------
        rows : int array of shape (n, n_neighbours)
        cosines : float64 array of shape (n, n_neighbours)

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
        unit = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-30)
        rows = np.empty((len(unit), self.n_neighbours), dtype=np.int64)
        cosines = np.empty((len(unit), self.n_neighbours))
        for place, candidates in enumerate(self._candidates(unit.astype(np.float32))):
            exact = np.array([_cosine(self.bank.rows([row])[0], unit[place]) for row in candidates])
            # By cosine, and by row where cosines are equal.
            order = np.lexsort((candidates, -exact))[: self.n_neighbours]
            rows[place], cosines[place] = candidates[order], exact[order]
        return rows, cosines

    def recall(self, queries: NDArray[Any]) -> NDArray[np.float32]:
        """Give the nearest embedding of each query as it is in the bank, or the weighted mean of several.

        Parameters
        ----------
        queries : array of shape (n, n_values)

        Returns
        -------
        embeddings : array of shape (n, n_values), float32
        """
        rows, cosines = self.nearest(queries)
        if self.n_neighbours == 1:
            return self.bank.rows(rows[:, 0].tolist())
        weights = np.maximum(cosines, 0)
        weights[~weights.any(axis=1)] = 1
        weights /= weights.sum(axis=1, keepdims=True)
        found = np.empty((len(rows), self.bank.shape[1]), dtype=np.float32)
        for place, (own, shares) in enumerate(zip(rows, weights)):
            found[place] = (shares[:, None] * self.bank.rows(own.tolist())).sum(axis=0)
        return found

    def _candidates(self, queries: NDArray[np.float32]) -> list[NDArray[np.int64]]:
        """For each unit query the rows that may be among its nearest, the bank being gone through once."""
        k = self.n_neighbours
        rows = [np.empty(0, dtype=np.int64) for _ in queries]
        found = [np.empty(0, dtype=np.float32) for _ in queries]
        for first, cosines in self.bank.cosines(queries):
            if not np.isfinite(cosines).all():
                where = first + int(np.flatnonzero(~np.isfinite(cosines).all(axis=0))[0])
                raise InputError(
                    f"{self.bank.where} holds values in row {where:,} that are NaN or infinite; leave that row out."
                )
            for place, own in enumerate(cosines):
                both = np.concatenate([found[place], own])
                numbers = np.concatenate([rows[place], np.arange(first, first + len(own))])
                least = np.partition(both, -k)[-k] - _MARGIN if len(both) >= k else -np.inf
                found[place], rows[place] = both[both >= least], numbers[both >= least]
        return rows


def _cosine(row: NDArray[np.float32], unit: NDArray[np.float64]) -> float:
    values = row.astype(np.float64)
    return float(values @ unit) / max(float(np.linalg.norm(values)), 1e-30)
