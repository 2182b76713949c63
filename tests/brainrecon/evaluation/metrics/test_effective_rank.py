"""Effective rank: against the singular values themselves, matrices of known rank, and what may not change it."""

import numpy as np
import pytest
from scipy.stats import entropy, ortho_group

from brainrecon.evaluation.metrics.effective_rank import effective_rank
from brainrecon.features.table import FeatureTable, arrange
from stages.ground.errors import InputError


def by_definition(values):
    """From the whole matrix at once, the entropy SciPy's."""
    singular = np.linalg.svd(values - values.mean(axis=0), compute_uv=False)
    return np.exp(entropy(singular))


def spread_over(k, n_stimuli, n_targets, seed=0):
    """Values whose centred matrix has k equal singular values and no others."""
    random = np.random.default_rng(seed)
    left = random.normal(size=(n_stimuli, k))
    left = np.linalg.qr(left - left.mean(axis=0))[0]
    right = np.linalg.qr(random.normal(size=(n_targets, k)))[0]
    return 7.0 * left @ right.T + random.normal(size=n_targets)


@pytest.mark.parametrize("shape", [(30, 200), (200, 30), (40, 40), (2, 5), (25, 1)])
def test_equals_the_definition(shape):
    values = np.random.default_rng(1).normal(size=shape) * np.geomspace(1, 30, shape[1])
    assert effective_rank(values) == pytest.approx(by_definition(values), rel=1e-6)


@pytest.mark.parametrize("k", [1, 3, 12])
@pytest.mark.parametrize("shape", [(40, 300), (300, 40)])
def test_k_equal_singular_values_have_rank_k(k, shape):
    assert effective_rank(spread_over(k, *shape)) == pytest.approx(k, abs=1e-6)


def test_unequal_singular_values_have_the_rank_that_their_entropy_says():
    # Two directions with 3/4 and 1/4 of the sum: exp(H(3/4, 1/4)) by hand.
    one, other = np.array([1, -1, 0, 0]) / np.sqrt(2), np.array([0, 0, 1, -1]) / np.sqrt(2)
    values = np.stack([3 * one, 1 * other], axis=1)
    assert effective_rank(values) == pytest.approx(4 / 3**0.75)


@pytest.mark.parametrize("shape", [(20, 60), (60, 20)])
def test_rotation_scale_shift_and_order_change_nothing(shape):
    random = np.random.default_rng(2)
    values = random.normal(size=shape) * np.geomspace(1, 10, shape[1])
    rank = effective_rank(values)
    rotation = ortho_group.rvs(shape[1], random_state=3)
    for changed in (values @ rotation, 1e-3 * values, values + random.normal(size=shape[1]), values[::-1]):
        assert effective_rank(changed) == pytest.approx(rank, rel=1e-9)


def test_a_column_of_no_information_changes_nothing_even_through_the_gram_matrix():
    values = np.random.default_rng(4).normal(size=(20, 15))
    padded = np.hstack([values, np.full((20, 10), 0.1)])  # now more columns than rows
    assert effective_rank(padded) == pytest.approx(effective_rank(values), rel=1e-9)


@pytest.mark.parametrize("shape", [(10, 50), (50, 10), (1, 5)])
def test_the_same_row_for_all_has_rank_zero(shape):
    row = np.random.default_rng(5).normal(size=shape[1]).astype(np.float32)
    assert effective_rank(np.tile(row, (shape[0], 1))) == 0.0


def test_collapsed_predictions_have_a_lower_rank_than_what_they_predict():
    random = np.random.default_rng(6)
    true = random.normal(size=(100, 400))
    collapsed = true @ np.outer(*[random.normal(size=400)] * 2) + 1e-3 * true
    assert effective_rank(collapsed) < 0.1 * effective_rank(true)
    assert effective_rank(true) < 99


def test_float32_far_from_zero_keeps_its_rank():
    values = spread_over(4, 30, 500).astype(np.float32)
    assert effective_rank(values + np.float32(100)) == pytest.approx(
        by_definition((values + np.float32(100)).astype(float))
    )


@pytest.mark.parametrize("shape", [(12, 100), (100, 40)])
def test_a_table_on_disk_has_the_rank_of_its_values_block_by_block(tmp_path, monkeypatch, shape):
    values = np.random.default_rng(7).normal(size=shape).astype(np.float32)
    table = FeatureTable(tmp_path, tuple(map(str, range(shape[0]))), shape, np.dtype(np.float32))
    for _ in arrange(values, table):
        pass
    rank = effective_rank(values)
    monkeypatch.setattr("brainrecon.evaluation.metrics.effective_rank._BYTES_PER_BLOCK", 8 * shape[0] * 7)
    assert effective_rank(table) == pytest.approx(rank, rel=1e-9)


@pytest.mark.parametrize(
    "values, words",
    [
        (np.zeros((3, 4, 5)), "shape"),
        (np.zeros((0, 4)), "at least one"),
        ([[1.0, np.nan], [0.0, 1.0]], "1 of 2 rows"),
        ([[1.0, np.inf, 2.0], [0.0, 1.0, np.nan]], "2 of 2 rows"),
    ],
)
def test_hostile_input(values, words):
    with pytest.raises(InputError, match=words):
        effective_rank(values)
