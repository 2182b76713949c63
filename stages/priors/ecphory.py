"""Recall led by a prediction: what was seen in training where alike was predicted is mixed into what is predicted now.

Psychometry (Quan et al., CVPR 2024) calls it Ecphory. Its figure shows a memory of the subject's own, something retrieved from
it, and a sum; what is stored and how it is weighed is our definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.priors.embedding_bank import Bank
from stages.priors.memory import MemoryPrior


class Ecphory:
    """Predictions moved towards the true embeddings of training stimuli that were predicted alike.

    recalled = sum_i softmax(cos(query, key_i) / temperature) value_i, over the nearest keys i; found = (1 - share) query + share
    recalled.

    >>> from stages.priors.embedding_bank import RowBank
    >>> keys, values = (RowBank([np.array(rows, np.float32)]) for rows in ([[1, 0], [0, 1]], [[8, 0], [0, 9]]))
    >>> Ecphory(keys, values, n_neighbours=1, share=0.5).enhanced(np.array([[0.0, 1.0]])).tolist()
    [[0.0, 5.0]]

    Parameters
    ----------
    keys : stages.priors.embedding_bank.Bank
        Predictions for training stimuli, a row for each.
    values : stages.priors.embedding_bank.Bank
        True embeddings of the same stimuli.
    n_neighbours : int
    temperature : float
        Of the shares; the lower it is, the more the nearest has.
    share : float
        0 leaves predictions as they are, 1 gives what is recalled alone.

    Raises
    ------
    InputError
        Keys and values are not of as many stimuli, or there are fewer than neighbours.
    """

    def __init__(
        self, keys: Bank, values: Bank, n_neighbours: int = 5, temperature: float = 0.005, share: float = 0.5
    ) -> None:
        check("temperature", temperature, Number(0, above=True, example=0.005))
        check("share", share, Number(0, 1))
        if keys.shape[0] != values.shape[0]:
            raise InputError(
                f"The memory has predictions of {keys.shape[0]:,} stimuli but true embeddings of {values.shape[0]:,}; give a row "
                "of both for each."
            )
        self._nearest, self._values = MemoryPrior(keys, n_neighbours), values
        self.temperature, self.share = temperature, share

    def recalled(self, queries: NDArray[Any]) -> NDArray[np.float32]:
        """The weighted means of true embeddings, (n, n_values), that queries (n, n_values) recall."""
        rows, cosines = self._nearest.nearest(queries)
        shares = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / self.temperature)
        shares /= shares.sum(axis=1, keepdims=True)
        found = np.empty((len(rows), self._values.shape[1]), dtype=np.float32)
        for place, (own, weights) in enumerate(zip(rows, shares)):
            found[place] = weights @ self._values.rows(own.tolist())
        return found

    def enhanced(self, queries: NDArray[Any]) -> NDArray[np.float32]:
        """Queries (n, n_values) mixed with what they recall, (n, n_values)."""
        queries = np.asarray(queries, dtype=np.float32)
        if not self.share:
            return queries
        recalled = self.recalled(queries)
        return recalled if self.share == 1 else (1 - self.share) * queries + self.share * recalled
