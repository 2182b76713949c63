"""Nearest neighbours from memory: brute force in float64, ties, blocks that are read part by part, hostile files."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from stages.ground.errors import InputError
from stages.priors import embedding_bank
from stages.priors.embedding_bank import ColumnBank, RowBank, bank_of_folder
from stages.priors.memory import MemoryPrior

DRAWS = np.random.default_rng(0)
ROWS = DRAWS.standard_normal((60, 7)).astype(np.float32) * DRAWS.uniform(0.1, 9, (60, 1)).astype(np.float32)
QUERIES = DRAWS.standard_normal((9, 7))


class Table:
    """As the feature store's tables are read."""

    shape = ROWS.shape

    def columns(self, start, stop):
        return ROWS[:, start:stop]

    def rows(self, start, stop):
        return ROWS[start:stop]


@pytest.fixture(params=["one block", "folder", "table"])
def bank(request, tmp_path, monkeypatch):
    """The same rows in three places, read a few at a time."""
    monkeypatch.setattr(embedding_bank, "_BYTES_AT_ONCE", 4 * 7 * 4)
    monkeypatch.setattr(embedding_bank, "_COLUMNS_AT_ONCE", 3)
    if request.param == "table":
        return ColumnBank(Table())
    if request.param == "one block":
        return RowBank([ROWS])
    np.save(tmp_path / "a.npy", ROWS[:13])
    save_file({"embeddings": ROWS[13:50]}, tmp_path / "b.safetensors")
    np.save(tmp_path / "c.npy", ROWS[50:])
    np.save(tmp_path / "d.npy", ROWS[:0])
    (tmp_path / "pictures.txt").write_text("no embeddings")
    return bank_of_folder(tmp_path)


def by_brute_force(queries, rows, k):
    queries, rows = queries.astype(np.float64), rows.astype(np.float64)
    lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(rows, axis=1))
    cosines = queries @ rows.T / np.maximum(lengths, 1e-30)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


@pytest.mark.parametrize("k", [1, 3, 60])
def test_neighbours_vs_brute_force(bank, k):
    rows, cosines = MemoryPrior(bank, k).nearest(QUERIES)
    expected, values = by_brute_force(QUERIES, ROWS, k)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(cosines, values, atol=1e-9)


def test_the_nearest_is_given_as_it_is_and_several_as_their_mean(bank):
    (nearest,), _ = by_brute_force(QUERIES[:1], ROWS, 1)
    assert np.array_equal(MemoryPrior(bank).recall(QUERIES[:1])[0], ROWS[nearest[0]])
    order, cosines = by_brute_force(QUERIES, ROWS, 4)
    weights = np.maximum(cosines, 0) / np.maximum(cosines, 0).sum(axis=1, keepdims=True)
    expected = np.einsum("qk,qkv->qv", weights, ROWS[order])
    np.testing.assert_allclose(MemoryPrior(bank, 4).recall(QUERIES), expected, rtol=1e-5, atol=1e-6)


def test_neighbours_that_all_point_away_count_alike():
    bank = RowBank([np.array([[1, 0], [1, 1e-3]], np.float32)])
    np.testing.assert_allclose(MemoryPrior(bank, 2).recall(np.array([[-1.0, 0]])), [[1, 5e-4]], rtol=1e-6)


def test_of_equal_embeddings_the_first_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_bank, "_BYTES_AT_ONCE", 4 * 257 * 3)
    one, others = DRAWS.standard_normal(257).astype(np.float32), DRAWS.standard_normal((10, 257)).astype(np.float32)
    # The same direction at another length is as near, and rounding must not decide.
    np.save(tmp_path / "a.npy", np.vstack([others[:4], 2 * one, others[4:], one, one]))
    np.save(tmp_path / "b.npy", np.vstack([one, others]))
    bank = bank_of_folder(tmp_path)
    for query in (one, 3 * one):
        rows, cosines = MemoryPrior(bank, 4).nearest(query[None])
        assert rows[0].tolist() == [4, 11, 12, 13]
        assert len(set(cosines[0])) == 1


def test_what_is_found_does_not_depend_on_the_other_queries():
    # Near ties, in as many values as tokens have.
    draws = np.random.default_rng(1)
    centre = draws.standard_normal(20_000)
    rows = (centre + 1e-3 * draws.standard_normal((40, 20_000))).astype(np.float32)
    queries = (centre + 1e-3 * draws.standard_normal((30, 20_000))).astype(np.float32)
    prior = MemoryPrior(RowBank([rows]), 3)
    together = prior.nearest(queries)
    np.testing.assert_array_equal(together[0], by_brute_force(queries, rows, 3)[0])
    for place in (0, 7, 29):
        alone = prior.nearest(queries[place, None])
        assert np.array_equal(alone[0][0], together[0][place]) and np.array_equal(alone[1][0], together[1][place])
    backwards = prior.nearest(queries[::-1])
    np.testing.assert_array_equal(backwards[0][::-1], together[0])


def test_half_precision_and_rows_of_no_length():
    rows = np.vstack([np.zeros((1, 7)), ROWS[:5]]).astype(np.float16)
    found, cosines = MemoryPrior(RowBank([rows]), 6).nearest(np.vstack([QUERIES[0], np.zeros(7)]))
    np.testing.assert_array_equal(found, by_brute_force(np.vstack([QUERIES[0], np.zeros(7)]), rows, 6)[0])
    assert (cosines[1] == 0).all() and found[1].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_bank_on_disk_is_never_whole_in_memory(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", ROWS)
    monkeypatch.setattr(embedding_bank, "_BYTES_AT_ONCE", 4 * 7 * 4)
    bank = bank_of_folder(tmp_path)
    assert all(isinstance(block, np.memmap) for block in bank._blocks)
    parts = [part.products.shape for part in bank.products(np.float32(QUERIES))]
    assert parts == [(9, 4)] * 15


@pytest.mark.parametrize(
    "queries, said",
    [
        (QUERIES[:, :5], "has embeddings of 7 values but 5 are looked for"),
        (np.full((2, 7), np.nan), "2 of 2 queries hold NaN or infinite values"),
    ],
)
def test_queries_that_cannot_be_are_refused(queries, said):
    with pytest.raises(InputError, match=said):
        MemoryPrior(RowBank([ROWS])).nearest(queries)


@pytest.mark.parametrize("k, said", [(0, "n_neighbours is 0"), (61, "has 60 embeddings but 61 neighbours")])
def test_more_neighbours_than_there_are(k, said):
    with pytest.raises(InputError, match=said):
        MemoryPrior(RowBank([ROWS]), k)


def test_values_that_are_not_finite_are_told_with_their_row():
    spoilt = ROWS.copy()
    spoilt[17, 2] = np.inf
    with pytest.raises(InputError, match="row 17 that are NaN or infinite"):
        MemoryPrior(RowBank([spoilt])).nearest(QUERIES)


@pytest.mark.parametrize(
    "name, values, said",
    [
        ("a.npy", np.zeros((3, 2, 2), np.float32), r"a.npy holds float32 \(3, 2, 2\)"),
        ("a.npy", np.zeros((3, 2), np.int64), r"a.npy holds int64 \(3, 2\)"),
        ("z.npy", np.zeros((3, 5), np.float32), "z.npy has embeddings of 5 values but b.npy of 7"),
        ("a.npy", np.array([[1.0], ["x"]], dtype=object), "pickled Python objects"),
        ("a.txt", None, None),
    ],
)
def test_files_that_are_no_embeddings_are_named(tmp_path, name, values, said):
    np.save(tmp_path / "b.npy", ROWS)
    if values is None:
        (tmp_path / name).write_text("left alone")
        assert bank_of_folder(tmp_path).shape == ROWS.shape
        return
    np.save(tmp_path / name, values, allow_pickle=True)
    with pytest.raises(InputError, match=said):
        bank_of_folder(tmp_path)


def test_damaged_and_absent_files_are_told(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        bank_of_folder(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no embeddings"):
        bank_of_folder(tmp_path)
    save_file({"one": ROWS, "two": ROWS}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="holds 2 tensors"):
        bank_of_folder(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(InputError, match="a.safetensors"):
        bank_of_folder(tmp_path)
    (tmp_path / "a.safetensors").unlink()
    np.save(tmp_path / "a.npy", ROWS)
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-8])
    with pytest.raises(InputError, match="a.npy says that it holds"):
        bank_of_folder(tmp_path)
