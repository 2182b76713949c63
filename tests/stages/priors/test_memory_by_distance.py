"""Neighbours by Euclidean distance: scikit-learn's, a planted one first, ties by row, and not those by cosine."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from stages.ground.errors import InputError
from stages.priors import embedding_bank
from stages.priors.embedding_bank import ColumnBank, RowBank
from stages.priors.memory import MemoryPrior

DRAWS = np.random.default_rng(3)
# As features behind a rectifier: all of them far from 0 and near to each other.
ROWS = np.abs(DRAWS.standard_normal((300, 64)) + 3).astype(np.float32)
QUERIES = np.abs(DRAWS.standard_normal((11, 64)) + 3)


class Table:
    """As the feature store's tables are read."""

    shape = ROWS.shape

    def columns(self, start, stop):
        return ROWS[:, start:stop]

    def rows(self, start, stop):
        return ROWS[start:stop]


@pytest.fixture(params=["blocks", "table"])
def bank(request, monkeypatch):
    monkeypatch.setattr(embedding_bank, "_BYTES_AT_ONCE", 4 * 64 * 7)
    monkeypatch.setattr(embedding_bank, "_COLUMNS_AT_ONCE", 10)
    return ColumnBank(Table()) if request.param == "table" else RowBank([ROWS[:123], ROWS[123:]])


@pytest.mark.parametrize("k", [1, 5, 300])
def test_neighbours_vs_scikit_learn(bank, k):
    rows, distances = MemoryPrior(bank, k, measure="euclidean").nearest(QUERIES)
    expected, places = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(ROWS.astype(float)).kneighbors(QUERIES)
    np.testing.assert_array_equal(rows, places)
    np.testing.assert_allclose(distances, expected, rtol=1e-9)


def test_a_planted_row_is_found_first_at_no_distance(bank):
    rows, distances = MemoryPrior(bank, 2, measure="euclidean").nearest(ROWS[[200, 7]])
    assert rows[:, 0].tolist() == [200, 7] and distances[:, 0].tolist() == [0.0, 0.0]


def test_a_row_of_the_same_direction_and_another_length_is_not_near(bank):
    longer = 3 * ROWS[[41]]
    by_cosine, _ = MemoryPrior(bank).nearest(longer)
    by_distance, _ = MemoryPrior(bank, measure="euclidean").nearest(longer)
    assert by_cosine[0, 0] == 41 != by_distance[0, 0]
    expected = np.linalg.norm(ROWS.astype(float) - longer, axis=1).argmin()
    assert by_distance[0, 0] == expected


def test_of_equal_distances_the_first_row_is_taken():
    # The same in every order of the other rows, and in half precision.
    one = DRAWS.standard_normal(9).astype(np.float16)
    rows = np.vstack([one + 1, one, one - 1, one, one])
    prior = MemoryPrior(RowBank([rows[:2], rows[2:]]), 5, measure="euclidean")
    assert prior.nearest(one[None])[0].tolist() == [[1, 3, 4, 0, 2]]


def test_near_ties_do_not_depend_on_who_else_asks():
    centre = DRAWS.standard_normal(5_000) * 10
    rows = (centre + 1e-2 * DRAWS.standard_normal((50, 5_000))).astype(np.float32)
    queries = centre + 1e-2 * DRAWS.standard_normal((20, 5_000))
    prior = MemoryPrior(RowBank([rows]), 3, measure="euclidean")
    together = prior.nearest(queries)
    exact = np.linalg.norm(queries[:, None] - rows.astype(float), axis=2)
    np.testing.assert_array_equal(together[0], np.argsort(exact, axis=1, kind="stable")[:, :3])
    alone = prior.nearest(queries[5:6])
    np.testing.assert_array_equal(alone[1][0], together[1][5])


def test_a_mean_of_neighbours_by_distance_counts_them_alike(bank):
    prior = MemoryPrior(bank, 4, measure="euclidean")
    rows, _ = prior.nearest(QUERIES)
    np.testing.assert_allclose(prior.recall(QUERIES), ROWS[rows].mean(axis=1), rtol=1e-6)


def test_what_is_no_measure_is_refused(bank):
    with pytest.raises(InputError, match="measure is 'euclid'"):
        MemoryPrior(bank, measure="euclid")
    spoilt = ROWS.copy()
    spoilt[17, 2] = np.nan
    with pytest.raises(InputError, match="row 17 that are NaN or infinite"):
        MemoryPrior(RowBank([spoilt]), measure="euclidean").nearest(QUERIES)
