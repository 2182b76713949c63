"""Correlations of rows against SciPy and long doubles, and what they cost in memory."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.spatial.distance import correlation as scipy_correlation_distance
from scipy.stats import pearsonr

from brainrecon.evaluation.metrics import correlation
from brainrecon.evaluation.metrics.correlation import (
    brain_correlation,
    correlation_distance,
    correlation_matrix,
    row_correlation,
)
from stages.ground.errors import InputError


def features(seed, n=6, d=40):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("similarity, metric", [("pearson", "correlation"), ("cosine", "cosine")])
def test_correlation_matrix_vs_scipy(similarity, metric, dtype):
    one, other = features(0).astype(dtype), features(1, n=9).astype(dtype)
    expected = 1 - cdist(one.astype(float), other.astype(float), metric)
    found = correlation_matrix(one, other, similarity)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_integers_and_further_axes_are_taken():
    one, other = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 4, 3), dtype=np.uint8)
    expected = np.corrcoef(one.reshape(5, -1), other.reshape(5, -1))[:5, 5:]
    np.testing.assert_allclose(correlation_matrix(one, other), expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(row_correlation(one, other), np.diag(expected), rtol=0, atol=1e-14)


def test_correlation_distance_vs_scipy():
    one, other = features(0), features(1)
    expected = [scipy_correlation_distance(a, b) for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(correlation_distance(one, other), expected, rtol=0, atol=1e-12)


def test_brain_correlation_vs_scipy():
    measured, predicted = features(2, d=15_724).astype(np.float32), features(3, d=15_724).astype(np.float32)
    expected = [pearsonr(a, b).statistic for a, b in zip(measured.astype(float), predicted.astype(float), strict=True)]
    predicted[4], expected[4] = 0.1, 0  # a model that predicts nothing
    np.testing.assert_allclose(brain_correlation(measured, predicted), expected, rtol=0, atol=1e-13)


def test_blocks_do_not_change_a_value(monkeypatch):
    one, other = features(0, d=500), features(1, d=500)
    whole = row_correlation(one, other), correlation_matrix(one, other)
    monkeypatch.setattr(correlation, "_COLUMNS_PER_BLOCK", 7)
    monkeypatch.setattr(correlation, "_VALUES_PER_BLOCK", 3)
    monkeypatch.setattr(correlation, "_PIECE", 2)
    np.testing.assert_allclose(row_correlation(one, other), whole[0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(correlation_matrix(one, other), whole[1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("d", [3, 1000, 9000, 100_003])
def test_a_row_does_not_depend_on_others_or_on_threads(d):
    one, other = features(0, 30, d).astype(np.float32), features(1, 30, d).astype(np.float32)
    one[7] = one[7] * 1e-6 + 1  # takes the way of low contrast
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = row_correlation(one, other)
        torch.set_num_threads(5)
        np.testing.assert_array_equal(row_correlation(one, other), alone)
    finally:
        torch.set_num_threads(threads)
    for rows in (slice(7, 8), slice(3, 20), slice(None, None, -1)):
        np.testing.assert_array_equal(row_correlation(one[rows], other[rows]), alone[rows])


@pytest.mark.parametrize(
    "offset, contrast", [(0, 1), (1, 1e-6), (1, 1e-12), (1e8, 1e-4), (0, 1e-170), (0, 1e150), (0, 3e-320)]
)
def test_contrasts_of_any_size_vs_long_doubles(offset, contrast):
    random = np.random.default_rng(4)
    one = offset + contrast * random.normal(size=(5, 300))
    other = one + contrast * random.normal(size=(5, 300))
    long = [rows.astype(np.longdouble) for rows in (one, other)]
    long = [rows - rows.mean(axis=1, keepdims=True) for rows in long]
    long = [rows / np.sqrt((rows**2).sum(axis=1, keepdims=True)) for rows in long]
    expected = (long[0] @ long[1].T).astype(float)
    np.testing.assert_allclose(correlation_matrix(one, other), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(row_correlation(one, other), np.diag(expected), rtol=0, atol=1e-12)


def test_constant_rows_are_undefined():
    one = features(0)
    one[2] = 0.1  # whose mean over 40 values is not 0.1
    found = correlation_matrix(one, features(1))
    assert np.isnan(found[2]).all() and np.isfinite(np.delete(found, 2, axis=0)).all()
    assert np.flatnonzero(np.isnan(row_correlation(one, features(1)))).tolist() == [2]
    assert brain_correlation(one, one)[2] == 0 and correlation_distance(one, one)[2] == 1


def test_cosine_knows_constants_but_no_zero():
    one = np.stack([np.full(9, 0.1), np.zeros(9), -np.ones(9)])
    np.testing.assert_allclose(
        correlation_matrix(one, one, "cosine"), [[1, np.nan, -1], [np.nan] * 3, [-1, np.nan, 1]], rtol=0, atol=1e-15
    )


def test_large_features_are_never_copied_whole():
    one, other = np.random.default_rng(0).random((2, 100, 100_000), dtype=np.float32)
    tracemalloc.start()
    try:
        correlation_matrix(one, other)
        row_correlation(one, other)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < one.nbytes / 4


def test_read_only_and_reversed_arrays_are_taken():
    one, other = features(0), features(1)
    expected = correlation_matrix(one, other)
    one.flags.writeable = False
    np.testing.assert_array_equal(correlation_matrix(one, other), expected)
    np.testing.assert_allclose(correlation_matrix(one[::-1, ::-1], other[:, ::-1]), expected[::-1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("function", [correlation_matrix, row_correlation, brain_correlation])
def test_values_that_are_not_finite_are_refused(function, side, bad):
    pair = [features(0), features(1)]
    pair[side][3, 17] = bad
    pair[side][5, 0] = bad
    with pytest.raises(InputError, match="2 of 6 pictures or feature rows hold NaN or infinite"):
        function(*pair)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: correlation_matrix(np.eye(4), np.ones((4, 5))), "same network"),
        (lambda: correlation_matrix(np.ones((3, 0)), np.ones((3, 0))), "no values"),
        (lambda: correlation_matrix(np.eye(3), np.eye(3), "euclidean"), "'pearson', 'cosine'"),
        (lambda: correlation_matrix(np.array([["a"]]), np.eye(1)), "real numbers"),
        (lambda: correlation_matrix(np.eye(3) * 1j, np.eye(3)), "real numbers"),
        (lambda: brain_correlation(np.eye(4), np.eye(3)), "one size"),
        (lambda: row_correlation(np.full((1, 3), 1.7e308), np.eye(3)[:1]), "infinite"),  # its sum overflows
    ],
)
def test_hostile_input(call, words):
    with pytest.raises(InputError, match=words):
        call()
