"""Sparse logistic regression: its mode against SciPy's minimiser, its precisions against their equations, its support."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from stages.decoders.local.sparse_logistic_regression import (
    INTERCEPT_PRECISION,
    posterior_mode,
    sparse_logistic_regression,
)


def simulated(n_classes, n_samples=300, n_voxels=20, strength=2.0, seed=0, telling=(3, 11)):
    """Classes that follow two voxels alone."""
    generator = np.random.default_rng(seed)
    patterns = generator.normal(size=(n_samples, n_voxels))
    patterns = (patterns - patterns.mean(axis=0)) / patterns.std(axis=0)
    weights = np.zeros((n_classes, n_voxels))
    weights[:, telling] = strength * generator.normal(size=(n_classes, 2))
    if n_classes == 2:
        weights[0], weights[1, telling] = 0, [strength, -strength]
    activity = patterns @ weights.T + generator.gumbel(size=(n_samples, n_classes))
    return patterns, activity.argmax(axis=1)


def log_posterior(flat, patterns, classes, n_classes, row, column, precision):
    table = np.zeros((n_classes, patterns.shape[1] + 1))
    table[row + (n_classes == 2), column] = flat
    activity = patterns @ table[:, :-1].T + table[:, -1]
    likelihood = log_softmax(activity, axis=1)[np.arange(len(classes)), classes].sum()
    return likelihood - 0.5 * precision @ flat**2


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_mode_vs_scipy_for_given_precisions(n_classes):
    patterns, classes = simulated(n_classes, n_samples=80, n_voxels=4, telling=(0, 2))
    generator = np.random.default_rng(1)
    row, column = np.indices((1 if n_classes == 2 else n_classes, 5)).reshape(2, -1)
    kept = generator.random(len(row)) < 0.8  # some weights dropped, as pruning does
    row, column = row[kept], column[kept]
    arguments = (patterns, classes, n_classes, row, column, 10 ** generator.uniform(-1, 2, len(row)))
    found = posterior_mode(*arguments)
    expected = minimize(lambda flat: -log_posterior(flat, *arguments), np.zeros(len(row)), tol=1e-10)
    np.testing.assert_allclose(found, expected.x, atol=2e-5)
    assert log_posterior(found, *arguments) >= -expected.fun - 1e-9


def test_equal_precisions_are_scikit_learns_penalty():
    patterns, classes = simulated(4, n_voxels=6, telling=(1, 5))
    row, column = np.indices((4, 7)).reshape(2, -1)
    precision = np.where(column == 6, 1e-9, 5.0)
    found = posterior_mode(patterns, classes, 4, row, column, precision).reshape(4, 7)
    reference = LogisticRegression(C=1 / 5, tol=1e-12, max_iter=10_000).fit(patterns, classes)
    np.testing.assert_allclose(found[:, :-1], reference.coef_, atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_the_voxels_that_matter_are_found(n_classes):
    patterns, classes = simulated(n_classes, n_samples=400, n_voxels=60)
    weights, _ = sparse_logistic_regression(patterns, classes, n_classes)
    strongest = np.abs(weights).max(axis=0)
    assert set(np.argsort(strongest)[-2:]) == {3, 11}
    others = np.delete(strongest, [3, 11])
    assert (others == 0).mean() > 0.3
    assert others.max() < 0.4 * strongest[[3, 11]].min()


def test_precisions_are_where_their_update_leaves_them():
    """In one dimension: precision = (1 - precision * variance) / weight^2, with the curvature worked out here."""
    patterns = np.random.default_rng(5).normal(size=(300, 1))
    patterns = (patterns - patterns.mean()) / patterns.std()
    classes = (patterns[:, 0] + 2 * np.random.default_rng(6).normal(size=300) > 0).astype(int)
    weights, intercepts = sparse_logistic_regression(patterns, classes, 2)
    weight, intercept = weights[1, 0], intercepts[1]
    probability = 1 / (1 + np.exp(-(weight * patterns[:, 0] + intercept)))
    design = np.concatenate([patterns, np.ones((300, 1))], axis=1)
    # The gradient at the mode gives the precision.
    precision = design[:, 0] @ (classes - probability) / weight
    hessian = (design * (probability * (1 - probability))[:, None]).T @ design
    variance = np.linalg.inv(hessian + np.diag([precision, INTERCEPT_PRECISION]))[0, 0]
    assert precision == pytest.approx((1 - precision * variance) / weight**2, rel=1e-2)
    assert not weights[0].any() and intercepts[0] == 0


def test_classes_beyond_chance_and_noise_to_the_most_common():
    patterns, classes = simulated(3)
    weights, intercepts = sparse_logistic_regression(patterns[:200], classes[:200], 3)
    right = (patterns[200:] @ weights.T + intercepts).argmax(axis=1) == classes[200:]
    assert right.mean() > 0.6
    uneven = (np.arange(300) < 60).astype(int)
    weights, intercepts = sparse_logistic_regression(np.zeros((300, 5)), uneven, 2)
    assert not weights.any()
    assert intercepts[1] == pytest.approx(np.log(60 / 240), abs=1e-3)


def test_classes_that_are_told_apart_without_fail_have_finite_weights():
    for n_classes in (2, 3):
        classes = np.arange(60) % n_classes
        patterns = np.eye(n_classes)[classes] * 2
        weights, intercepts = sparse_logistic_regression(patterns - patterns.mean(axis=0), classes, n_classes)
        assert np.isfinite(weights).all() and np.abs(weights).max() < 100
        found = ((patterns - patterns.mean(axis=0)) @ weights.T + intercepts).argmax(axis=1)
        np.testing.assert_array_equal(found, classes)


def test_order_of_samples_and_voxels_does_not_matter():
    patterns, classes = simulated(3, n_samples=120, n_voxels=8, telling=(1, 5))
    expected, _ = sparse_logistic_regression(patterns, classes, 3)
    order = np.random.default_rng(3).permutation(120)
    np.testing.assert_allclose(sparse_logistic_regression(patterns[order], classes[order], 3)[0], expected, atol=1e-6)
    turned, _ = sparse_logistic_regression(patterns[:, ::-1], classes, 3)
    np.testing.assert_allclose(turned[:, ::-1], expected, atol=1e-6)
