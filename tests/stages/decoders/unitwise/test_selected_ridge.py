"""Ridge on voxels of each unit's own choice, against its formula and the authors' package, in every way it is solved."""

import numpy as np
import pytest
import torch
from authors_ridge import fast_l2_lir

from stages.decoders.unitwise import principal_systems
from stages.decoders.unitwise.selected_ridge import SelectedRidge, cheapest_way

# Samples, inputs, inputs of each unit, and how it is solved.
SIZES = [
    (120, 70, 50, "left out"),
    (120, 70, 10, "chosen"),
    (120, 70, 70, "whole"),
    (50, 300, 30, "chosen"),
    (250, 300, 290, "left out"),
    (50, 300, 300, "whole"),
    (30, 900, 300, "dual"),
    (30, 900, 600, "dual"),
]


def data(n_samples, n_inputs, n_units=12, seed=0):
    """Inputs and units whose means are not 0."""
    random = np.random.default_rng(seed)
    inputs = random.normal(1, 2, (n_samples, n_inputs))
    return inputs, 3 + inputs[:, :6] @ random.normal(size=(6, n_units)) + random.normal(size=(n_samples, n_units))


def chosen(inputs, units, n):
    """Mask of the inputs with the strongest correlation."""
    correlations = np.abs(np.corrcoef(inputs.T, units.T)[: inputs.shape[1], inputs.shape[1] :])
    mask = np.zeros((units.shape[1], inputs.shape[1]), dtype=bool)
    np.put_along_axis(mask, np.argsort(-correlations.T, axis=1)[:, :n], True, axis=1)
    return mask


def solved(inputs, units, mask, alpha):
    """Weights (n_units, n_inputs + 1), and predictions for the inputs themselves."""
    with_ones = torch.from_numpy(np.column_stack([inputs, np.ones(len(inputs))]))
    ridge = SelectedRidge(with_ones, alpha, int(mask[0].sum()))
    values = torch.from_numpy(units)
    found = ridge.solve(values.T @ with_ones, torch.from_numpy(mask), lambda: values)
    return ridge, ridge.weights(found).numpy(), ridge.predict(found, ridge.reader(with_ones)).T.numpy()


def written_out(inputs, units, mask, alpha):
    """(X_S'X_S + alpha I)^-1 X_S'y with a column of ones, a unit at a time."""
    weights = np.zeros((len(mask), inputs.shape[1] + 1))
    with_ones = np.column_stack([inputs, np.ones(len(inputs))])
    for unit, own in enumerate(np.column_stack([mask, np.ones(len(mask), dtype=bool)])):
        X = with_ones[:, own]
        weights[unit, own] = np.linalg.solve(X.T @ X + alpha * np.eye(X.shape[1]), X.T @ units[:, unit])
    return weights, with_ones @ weights.T


# Factors of 32 bits where the penalty is large, of 64 bits where it is small.
@pytest.mark.parametrize(("alpha", "dtype", "near"), [(100.0, "float32", 2e-5), (0.02, "float64", 1e-8)])
@pytest.mark.parametrize(("n_samples", "n_inputs", "n", "way"), SIZES)
def test_weights_and_predictions_vs_the_formula(n_samples, n_inputs, n, way, alpha, dtype, near):
    inputs, units = data(n_samples, n_inputs)
    mask = chosen(inputs, units, n)
    ridge, weights, predictions = solved(inputs, units, mask, alpha)
    assert (ridge.way, str(ridge.dtype)) == (way, f"torch.{dtype}")
    expected, expected_predictions = written_out(inputs, units, mask, alpha)
    assert np.abs(weights - expected).max() < near * np.abs(expected).max()
    assert np.abs(predictions - expected_predictions).max() < near * np.abs(expected_predictions).max()


@pytest.mark.parametrize(("n_samples", "n_inputs", "n"), [size[:3] for size in SIZES])
def test_predictions_vs_the_authors_package(n_samples, n_inputs, n):
    pytest.importorskip("fastl2lir")
    inputs, units = data(n_samples, n_inputs)
    package = fast_l2_lir(selects=n < n_inputs)
    package.fit(inputs, units, alpha=0.5, n_feat=n)
    _, weights, predictions = solved(inputs, units, chosen(inputs, units, n), alpha=0.5)
    np.testing.assert_allclose(weights[:, :-1].T, package.W, atol=1e-8)
    np.testing.assert_allclose(weights[:, -1], package.b[0], atol=1e-8)
    np.testing.assert_allclose(predictions, package.predict(inputs), atol=1e-7)


def test_a_penalised_intercept_is_smaller_than_the_mean_by_a_known_share():
    """For inputs of mean 0: n mean / (n + alpha), where ordinary ridge has the mean."""
    inputs, units = data(80, 20)
    inputs -= inputs.mean(axis=0)
    for n in (5, 20):
        _, weights, _ = solved(inputs, units, chosen(inputs, units, n), alpha=30.0)
        np.testing.assert_allclose(weights[:, -1], 80 * units.mean(axis=0) / (80 + 30.0), rtol=1e-5)
        assert (np.abs(weights[:, -1]) < 0.8 * np.abs(units.mean(axis=0))).all()


def test_with_all_inputs_it_is_plain_ridge_with_a_penalised_intercept():
    """scikit-learn's ridge without an intercept, on inputs with a column of ones."""
    from sklearn.linear_model import Ridge

    for n_samples in (80, 15):
        inputs, units = data(n_samples, 20)
        _, weights, _ = solved(inputs, units, np.ones((12, 20), dtype=bool), alpha=0.01)
        plain = Ridge(alpha=0.01, fit_intercept=False).fit(np.column_stack([inputs, np.ones(n_samples)]), units)
        np.testing.assert_allclose(weights, plain.coef_, atol=1e-9)


def neighbours(n_units=150, n_inputs=60, n=40, seed=0):
    """A positive definite matrix, right sides, and places that change a little from unit to unit, then all at once."""
    random = np.random.default_rng(seed)
    samples = random.normal(size=(90, n_inputs))
    drift = np.cumsum(
        random.normal(size=(n_units, n_inputs)) * np.where(np.arange(n_units) % 70, 0.1, 3)[:, None], axis=0
    )
    mask = np.zeros((n_units, n_inputs), dtype=bool)
    np.put_along_axis(mask, np.argsort(drift, axis=1)[:, :n], True, axis=1)
    matrix = torch.from_numpy(samples.T @ samples + np.eye(n_inputs))
    return matrix, torch.from_numpy(mask), torch.from_numpy(random.normal(size=(n_units, n_inputs)))


@pytest.mark.parametrize("n_units", [1, 63, 64, 150])
def test_units_solved_together_vs_each_by_itself(n_units, monkeypatch):
    # As if factors were dear and groups cheap.
    monkeypatch.setattr(principal_systems, "GROUP", 0.0)
    matrix, places, right = neighbours(n_units)
    jobs = list(principal_systems._jobs(matrix, places))
    assert [row for rows, _ in jobs for row in range(n_units)[rows]] == list(range(n_units))
    assert n_units == 1 or any(together for _, together in jobs)
    found = principal_systems.solve_principal(matrix, places, right).numpy()
    for unit, own in enumerate(places.numpy()):
        expected = np.linalg.solve(matrix.numpy()[np.ix_(own, own)], right[unit, own].numpy())
        np.testing.assert_allclose(found[unit, own], expected, atol=1e-10)
        assert not found[unit, ~own].any()


def test_units_that_choose_the_same_share_one_factor(monkeypatch):
    monkeypatch.setattr(principal_systems, "GROUP", 0.0)
    matrix, places, right = neighbours(64)
    jobs = list(principal_systems._jobs(matrix, places[:1].expand(64, -1)))
    assert jobs == [(slice(0, 64), True)]
    found = principal_systems.solve_principal(matrix, places[:1].expand(64, -1), right)
    own = places[0]
    expected = torch.linalg.solve(matrix[own][:, own], right[:, own].T).T
    torch.testing.assert_close(found[:, own], expected)


def test_the_cheapest_way_counts_operations():
    for n_samples, n_inputs, n in [(1200, 700, 500), (1200, 4000, 500), (200, 9000, 3000)]:
        way, operations = cheapest_way(n_samples, n_inputs, n)
        assert operations <= n**3 / 3 and way in ("chosen", "left out", "dual")


def test_a_matrix_that_rounding_made_indefinite_is_solved_in_64_bits():
    random = np.random.default_rng(0)
    column = random.normal(size=(40, 1))
    samples = np.column_stack([column, column + 1e-6 * random.normal(size=(40, 1)), random.normal(size=(40, 1))])
    matrix = torch.from_numpy(samples.T @ samples)
    right = torch.ones(1, 3)
    found = principal_systems.positive_solve(matrix.float()[None], right)
    assert torch.isfinite(found).all()
