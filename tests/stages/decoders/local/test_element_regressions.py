"""Regressions through Gram matrices against scikit-learn's estimators, and leave-one-out by leaving out."""

import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge, LinearRegression, Ridge, RidgeCV

from stages.decoders.local.element_regressions import bayesian_ridge, least_squares, ridge

SHAPES = {"fewer samples than voxels": (40, 70), "as many less one": (40, 39), "more samples than voxels": (90, 30)}
ALPHAS = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)


def simulated(n_samples, n_voxels, n_targets=5, seed=0):
    """Standardised voxels and centred targets of growing noise, samples as columns."""
    generator = np.random.default_rng(seed)
    voxels = generator.normal(size=(n_voxels, n_samples)) + 0.5 * generator.normal(size=n_samples)
    voxels -= voxels.mean(axis=1, keepdims=True)
    voxels /= voxels.std(axis=1, keepdims=True)
    targets = generator.normal(size=(n_targets, n_voxels)) @ voxels / n_voxels**0.5
    targets += np.logspace(-1, 1, n_targets)[:, None] * generator.normal(size=(n_targets, n_samples))
    return voxels, targets - targets.mean(axis=1, keepdims=True)


def one_by_one(solve, voxels, targets, **options):
    found = [solve(voxels, target[None], **options) for target in targets]
    return np.concatenate([weights for weights, _ in found]), np.concatenate([alpha for _, alpha in found])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_least_squares_vs_scikit_learn(shape):
    voxels, targets = simulated(*shape)
    expected = LinearRegression().fit(voxels.T, targets.T).coef_
    np.testing.assert_allclose(least_squares(voxels, targets)[0], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one_by_one(least_squares, voxels, targets)[0], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_minimum_norm_where_voxels_or_samples_come_twice(shape):
    voxels, targets = simulated(*shape)
    twins = np.concatenate([voxels, voxels, np.zeros((2, shape[0]))])
    weights, _ = least_squares(twins, targets)
    n = len(voxels)
    np.testing.assert_allclose(weights, np.linalg.lstsq(twins.T, targets.T, rcond=1e-12)[0].T, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(weights[:, :n], weights[:, n : 2 * n], rtol=1e-6, atol=1e-9)
    repeated = np.concatenate([voxels, voxels], axis=1)
    found, _ = least_squares(repeated, np.concatenate([targets, targets], axis=1))
    np.testing.assert_allclose(found, least_squares(voxels, targets)[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_penalties_vs_leaving_samples_out(shape):
    voxels, targets = simulated(*shape)
    errors = np.zeros((len(ALPHAS), len(targets)))
    for index, alpha in enumerate(ALPHAS):
        for sample in range(shape[0]):
            kept = np.arange(shape[0]) != sample
            model = Ridge(alpha).fit(voxels[:, kept].T, targets[:, kept].T)
            errors[index] += (model.predict(voxels[:, [sample]].T)[0] - targets[:, sample]) ** 2
    expected = np.array(ALPHAS)[errors.argmin(axis=0)]
    assert len(set(expected)) > 2
    weights, alpha = ridge(voxels, targets, ALPHAS)
    np.testing.assert_array_equal(alpha, expected)
    np.testing.assert_array_equal(one_by_one(ridge, voxels, targets, alphas=ALPHAS)[1], expected)
    for row, own, target in zip(weights, alpha, targets):
        np.testing.assert_allclose(row, Ridge(own, tol=1e-12).fit(voxels.T, target).coef_, rtol=1e-6, atol=1e-9)
        assert RidgeCV(alphas=ALPHAS).fit(voxels.T, target).alpha_ == own


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_penalties_vs_leaving_groups_out(shape):
    """Trials of a picture share its contrast and more: left out one by one, they would ask for no penalty at all."""
    generator, n_groups = np.random.default_rng(3), 9
    voxels, _ = simulated(*shape)
    together = generator.permutation(np.arange(shape[0]) % n_groups)
    voxels = voxels + 2 * generator.normal(size=(len(voxels), n_groups))[:, together]
    voxels = (voxels - voxels.mean(axis=1, keepdims=True)) / voxels.std(axis=1, keepdims=True)
    targets = generator.normal(size=(5, n_groups))[:, together] + 0.1 * np.arange(5)[:, None] * voxels[:5]
    targets -= targets.mean(axis=1, keepdims=True)
    errors = np.zeros((len(ALPHAS), len(targets)))
    for index, alpha in enumerate(ALPHAS):
        for group in range(n_groups):
            out = together == group
            model = Ridge(alpha, tol=1e-12).fit(voxels[:, ~out].T, targets[:, ~out].T)
            errors[index] += ((model.predict(voxels[:, out].T) - targets[:, out].T) ** 2).sum(axis=0)
    expected = np.array(ALPHAS)[errors.argmin(axis=0)]
    weights, alpha = ridge(voxels, targets, ALPHAS, together)
    np.testing.assert_array_equal(alpha, expected)
    assert (ridge(voxels, targets, ALPHAS)[1] < expected).any()
    for row, own, target in zip(weights, alpha, targets):
        np.testing.assert_allclose(row, Ridge(own, tol=1e-12).fit(voxels.T, target).coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(
        ridge(voxels, targets, ALPHAS, np.arange(shape[0]))[1], ridge(voxels, targets, ALPHAS)[1]
    )


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_highest_evidence_vs_scikit_learn(shape):
    voxels, targets = simulated(*shape)
    models = [BayesianRidge(tol=1e-12, max_iter=50_000).fit(voxels.T, target) for target in targets]
    for weights, alpha in (bayesian_ridge(voxels, targets), one_by_one(bayesian_ridge, voxels, targets)):
        np.testing.assert_allclose(alpha, [model.lambda_ / model.alpha_ for model in models], rtol=1e-4)
        for row, model in zip(weights, models):
            np.testing.assert_allclose(row, model.coef_, rtol=1e-5, atol=1e-6 * np.abs(model.coef_).max())


def test_targets_do_not_see_each_other():
    voxels, targets = simulated(40, 70)
    for solve, options in ((least_squares, {}), (ridge, {"alphas": ALPHAS}), (bayesian_ridge, {})):
        together, alone = solve(voxels, targets, **options)[0], one_by_one(solve, voxels, targets, **options)[0]
        np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("solve", [least_squares, bayesian_ridge, lambda v, t: ridge(v, t, ALPHAS)])
@pytest.mark.parametrize("n_voxels", [1, 2, 5])
def test_the_smallest_data(solve, n_voxels):
    for n_samples in (2, 3):
        weights, _ = solve(*simulated(n_samples, n_voxels, n_targets=1))
        assert np.isfinite(weights).all() and weights.shape == (1, n_voxels)


@pytest.mark.parametrize("solve", [least_squares, bayesian_ridge, lambda v, t: ridge(v, t, ALPHAS)])
def test_voxels_that_say_nothing_get_nothing(solve):
    targets = simulated(20, 3)[1]
    for n_voxels in (4, 30):
        for some in (targets, targets[:1]):
            weights, _ = solve(np.zeros((n_voxels, 20)), some)
            np.testing.assert_array_equal(weights, 0)
