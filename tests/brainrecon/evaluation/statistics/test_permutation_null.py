"""The permutation null: against permuting predictions, and the same whatever is scored."""

import numpy as np

from brainrecon.evaluation.statistics.permutation_null import permutation_null


def test_each_mean_is_that_of_permuted_predictions():
    pairs = np.random.default_rng(0).normal(size=(7, 7))
    generator = np.random.default_rng(5)
    expected = [np.mean([pairs[row, j] for j, row in enumerate(generator.permutation(7))]) for _ in range(30)]
    np.testing.assert_allclose(permutation_null(pairs, 30, 5), expected, atol=1e-12)


def test_what_is_the_same_for_all_has_a_null_without_width():
    assert set(permutation_null(np.full((9, 9), 0.1), 50, 0)) == {0.1}
