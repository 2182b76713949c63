"""Matching by quantiles, held against its definition and what it may not change."""

import numpy as np
import pytest

from stages.decoders.quantile_matching import matched, matching_table
from stages.ground.errors import InputError


@pytest.fixture
def pulled():
    """Skewed true values, and predictions that are pulled to their mean."""
    true = np.random.default_rng(0).beta(0.5, 2.0, (400, 16))
    return 0.3 + 0.2 * (true - 0.3), true


def test_matched_values_have_the_distribution_of_true_ones_and_their_own_order(pulled):
    predicted, true = pulled
    found = matched(predicted, matching_table(predicted, true))
    shares = np.linspace(0.02, 0.98, 25)
    np.testing.assert_allclose(np.quantile(found, shares), np.quantile(true, shares), atol=0.01)
    order = np.argsort(predicted.ravel())
    assert (np.diff(found.ravel()[order]) >= 0).all()


def test_a_monotone_error_is_undone_and_values_beyond_the_ends_stay_at_them(pulled):
    predicted, true = pulled
    table = matching_table(predicted, true)
    np.testing.assert_allclose(matched(predicted, table), true, atol=0.02)
    assert matched(np.float32([-9, 9]), table).tolist() == pytest.approx([true.min(), true.max()])


def test_each_value_is_matched_alone(pulled):
    predicted, true = pulled
    table = matching_table(predicted, true)
    together = matched(predicted, table)
    np.testing.assert_array_equal(together[3], matched(predicted[3], table))


def test_constant_predictions_stay_finite():
    table = matching_table(np.full((5, 4), 0.3), np.linspace(0, 1, 20).reshape(5, 4))
    assert np.isfinite(matched(np.float32([0.1, 0.3, 0.7]), table)).all()


@pytest.mark.parametrize(
    "predicted, true", [(np.zeros((3, 2)), np.zeros((2, 3))), (np.zeros((0, 2)), np.zeros((0, 2)))]
)
def test_what_cannot_be_compared_is_refused(predicted, true):
    with pytest.raises(InputError, match="expected the same one"):
        matching_table(predicted, true)
