"""Sparse linear regression, against its published updates written out, slir where it is there, and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import ARDRegression

from stages.decoders.unitwise.sparse_linear_regression import by_inputs, by_samples, fit_sparse
from stages.decoders.unitwise.unitwise import UnitwiseDecoder

MATLAB = {"initial": "variance", "prune": "weights", "stop": "previous iteration"}
PYTHON = {"initial": "mean square", "prune": "variances", "stop": "last pruning"}


def data(n_samples=60, n_inputs=40, noise=0.5, seed=0):
    """Inputs with a column of ones, and a unit that three of them make."""
    random = np.random.default_rng(seed)
    inputs = np.column_stack([random.normal(size=(n_samples, n_inputs)), np.ones(n_samples)])
    unit = inputs[:, [3, 11, 26]] @ [1.0, -2.0, 1.5] + noise * random.normal(size=n_samples)
    return inputs, unit - unit.mean()


def written_out(inputs, unit, iterations, initial, prune, stop):
    """The updates, inputs in rows and by inverses, as the sheet of the published programs has them."""
    X, y, T = inputs.T, unit, len(unit)
    M = index_count = len(X)
    if initial == "variance":
        A, start = np.full(M, 1 / X.var(axis=1, ddof=1).mean()), y.var(ddof=1)
    else:
        A, start = np.full(M, 1 / np.mean(X**2)), np.mean(y**2)
    index = np.arange(M)
    for iteration in range(1, iterations + 1):
        if len(index) <= T:
            inverse = np.linalg.pinv(X @ X.T + np.diag(1 / A))
            W, G = y @ X.T @ inverse, np.diag(X @ X.T @ inverse)
        else:
            C = np.linalg.pinv(X.T @ np.diag(A) @ X + np.eye(T))
            W = y @ X.T @ np.diag(A) - (y @ X.T @ np.diag(A) @ X @ C) @ X.T @ np.diag(A)
            G = A * np.diag(X @ C @ X.T)
        noise = (y @ y - W @ (X @ y)) / T
        if noise / start <= 1e-15:
            noise = max((np.sum((y - W @ X) ** 2) + np.sum(W**2 / A)) / T, 1e-15)
        old, A = A, np.sqrt(A * W**2 / (noise * np.maximum(G, 1e-15)))
        before = len(index)
        keep = W**2 / max(W**2) > 1e-10 if prune == "weights" else A / max(A) > 1e-10
        index, X, A, old, W = index[keep], X[keep], A[keep], old[keep], W[keep]
        if stop == "previous iteration":
            index_count = before
        elif len(index) < before:
            index_count = before
        if iteration > 100 and len(index) == index_count and np.abs(A - old).max() < 1e-10:
            break
    whole = np.zeros(inputs.shape[1])
    whole[index] = W
    return whole, index, noise, iteration


@pytest.mark.parametrize("variant", [MATLAB, PYTHON], ids=["MATLAB", "Python"])
@pytest.mark.parametrize("n_samples", [60, 25])
@pytest.mark.parametrize("iterations", [1, 7, 200])
def test_weights_vs_the_published_updates_written_out(n_samples, variant, iterations):
    inputs, unit = data(n_samples)
    found = fit_sparse(inputs, unit, iterations=iterations, **variant)
    weights, kept, noise, n_iterations = written_out(inputs, unit, iterations, **variant)
    np.testing.assert_array_equal(found.kept, kept)
    np.testing.assert_allclose(found.weights, weights, atol=1e-8)
    assert found.noise == pytest.approx(noise, rel=1e-8) and found.n_iterations == n_iterations


def test_what_differs_between_the_programs_makes_a_difference():
    """Not of the fixed point: of the way there, and of when it ends."""
    inputs, unit = data()
    for name in MATLAB:
        one, other = (
            fit_sparse(inputs, unit, iterations=150, **MATLAB | {name: way[name]}) for way in (MATLAB, PYTHON)
        )
        assert (one.kept.tolist(), one.weights.tolist(), one.n_iterations) != (
            other.kept.tolist(), other.weights.tolist(), other.n_iterations,
        ) or name == "stop"  # fmt: skip
    long = [fit_sparse(inputs, unit, iterations=2000, **MATLAB | {"stop": way["stop"]}) for way in (MATLAB, PYTHON)]
    assert long[0].n_iterations < long[1].n_iterations == 2000


@pytest.mark.parametrize("n_samples", [60, 25])
def test_weights_vs_slir(n_samples):
    slir = pytest.importorskip("slir")
    inputs, unit = data(n_samples)
    package = slir.SparseLinearRegression(n_iter=200, prune_mode=1)
    package.fit(inputs[:, :-1], unit)
    found = fit_sparse(inputs, unit, iterations=200, **PYTHON)
    np.testing.assert_allclose(inputs @ found.weights, package.predict(inputs[:, :-1]), atol=1e-6)


def test_by_inputs_and_by_samples_are_the_same():
    random = np.random.default_rng(1)
    for n_samples, n_inputs in [(30, 30), (31, 29), (29, 31)]:
        inputs, unit = random.normal(size=(n_samples, n_inputs)), random.normal(size=n_samples)
        variances = random.uniform(0.01, 2, n_inputs)
        one = by_inputs(inputs.T @ inputs, inputs.T @ unit, variances)
        other = by_samples(inputs, unit, variances)
        for first, second in zip(one, other):
            np.testing.assert_allclose(first, second, rtol=1e-8, atol=1e-10)
        noise = [(unit @ unit - weights @ (inputs.T @ unit)) / n_samples for weights, _ in (one, other)]
        assert noise[0] == pytest.approx(noise[1], abs=1e-8)


@pytest.mark.parametrize("n_samples", [80, 30])
def test_at_its_end_it_is_at_a_fixed_point(n_samples):
    """A s G = w², for every input that survives."""
    found = fit_sparse(*data(n_samples), iterations=20_000)
    kept = found.weights[found.kept]
    assert 3 <= len(found.kept) < 20
    np.testing.assert_allclose(found.variances * found.noise * found.determined, kept**2, rtol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_survivors_vs_scikit_learn(seed):
    """Three true inputs of forty, and what noise seems to need besides: both climb one evidence, scikit-learn's priors off."""
    inputs, unit = data(120, noise=0.3, seed=seed)
    inputs = inputs[:, :-1] - inputs[:, :-1].mean(axis=0)
    found = fit_sparse(inputs, unit, iterations=5000)
    off = dict.fromkeys(["alpha_1", "alpha_2", "lambda_1", "lambda_2"], 1e-14)
    other = ARDRegression(max_iter=5000, tol=1e-10, threshold_lambda=1e6, **off).fit(inputs, unit)
    np.testing.assert_array_equal(found.kept, np.flatnonzero(other.coef_))
    assert {3, 11, 26} <= set(found.kept) and len(found.kept) < 20
    np.testing.assert_allclose(found.weights, other.coef_, atol=1e-6)


def evidence(found, inputs, unit):
    """Log of the probability of a unit under the variances and the noise of a fit, up to a constant."""
    used = inputs[:, found.kept]
    covariance = found.noise * (np.eye(len(unit)) + (used * found.variances) @ used.T)
    return -(np.linalg.slogdet(covariance)[1] + unit @ np.linalg.solve(covariance, unit)) / 2


@pytest.mark.parametrize("n_samples", [60, 25])
def test_more_iterations_prune_more_and_fit_no_worse(n_samples):
    inputs, unit = data(n_samples, noise=2.0)
    course = [fit_sparse(inputs, unit, iterations=n) for n in (1, 5, 20, 200, 2000)]
    for before, after in zip(course, course[1:]):
        assert set(after.kept) <= set(before.kept)
        assert evidence(after, inputs, unit) >= evidence(before, inputs, unit) - 1e-6
    assert len(course[-1].kept) < inputs.shape[1]


@pytest.mark.parametrize("unit", [np.zeros(30), np.full(30, 4.0)])
def test_a_fit_that_fails_has_no_weights(unit):
    found = fit_sparse(np.random.default_rng(0).normal(size=(30, 5)), unit)
    assert not found.weights.any() and len(found.kept) == 0


def test_a_unit_that_is_a_voxel_is_found():
    """Without noise: its variance reaches the floor."""
    inputs, _ = data()
    found = fit_sparse(inputs, 3 * inputs[:, 7], iterations=200)
    np.testing.assert_allclose(found.weights[7], 3.0, atol=1e-6)


def test_units_of_a_decoder_vs_fits_of_their_own():
    random = np.random.default_rng(4)
    patterns = random.normal(3, 2, (70, 30))
    units = 10 + patterns[:, :4] @ random.normal(size=(4, 5)) + random.normal(size=(70, 5))
    units[:, 3] = 6.0  # no fit: the training mean
    decoder = UnitwiseDecoder("ard", voxels=12, iterations=50).fit(patterns, units)
    new = random.normal(3, 2, (8, 30))
    found = decoder.predict(new)
    mean, scale = patterns.mean(axis=0), patterns.std(axis=0, ddof=1)
    for unit in range(5):
        y, spread = units[:, unit], units[:, unit].std(ddof=1)
        if unit == 3:
            np.testing.assert_allclose(found[:, 3], 6.0)
            continue
        strength = np.abs([np.corrcoef(voxel, y)[0, 1] for voxel in patterns.T])
        own = np.sort(np.argsort(-strength)[:12])
        inputs = np.column_stack([((patterns - mean) / scale)[:, own], np.ones(70)])
        weights = written_out(inputs, (y - y.mean()) / spread, 50, **MATLAB)[0]
        expected = np.column_stack([((new - mean) / scale)[:, own], np.ones(8)]) @ weights * spread + y.mean()
        np.testing.assert_allclose(found[:, unit], expected, atol=1e-6)
