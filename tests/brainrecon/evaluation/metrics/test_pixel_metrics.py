"""Metrics on pixels against SciPy and scikit-learn, and their laws; SSIM has a file of its own beside."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from skimage.color import rgb2gray
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from brainrecon.evaluation.metrics.pixel_metrics import (
    binary_accuracy,
    binary_f1,
    binary_precision,
    binary_recall,
    mean_squared_error,
    pixel_correlation,
)
from brainrecon.evaluation.metrics.structural_similarity import (
    structural_similarity,
    structural_similarity_of_columns,
)
from stages.ground.errors import InputError

BINARY = {
    binary_accuracy: accuracy_score,
    binary_precision: lambda *labels: precision_score(*labels, zero_division=0),
    binary_recall: lambda *labels: recall_score(*labels, zero_division=0),
    binary_f1: lambda *labels: f1_score(*labels, zero_division=0),
}

SSIM = (structural_similarity, structural_similarity_of_columns)


def pictures(seed, n=6, height=24, width=24):
    return np.random.default_rng(seed).random((n, height, width, 3))


def test_pixel_correlation_vs_scipy():
    one, other = pictures(0), pictures(1)
    expected = [pearsonr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(pixel_correlation(one, other), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("function", [pixel_correlation, *SSIM, mean_squared_error, *BINARY])
def test_a_score_does_not_depend_on_other_pictures_or_on_threads(function):
    one, other = (pictures(seed, 40, 50, 37).astype(np.float32) for seed in (0, 1))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = function(one, other)
        torch.set_num_threads(5)
        np.testing.assert_array_equal(function(one, other), alone)
    finally:
        torch.set_num_threads(threads)
    for rows in (slice(7, 8), slice(3, 30), slice(None, None, -1)):
        np.testing.assert_array_equal(function(one[rows], other[rows]), alone[rows])


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e9])
def test_pixel_correlation_ignores_contrast_and_brightness(scale):
    one, other = pictures(0), pictures(1)
    expected = pixel_correlation(one, other)
    np.testing.assert_allclose(pixel_correlation(one, 3 * scale + scale * other), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(pixel_correlation(one, -other), -expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_uniform_pictures_give_numbers(value):
    one, uniform = pictures(0), np.full((6, 24, 24, 3), value)
    assert (pixel_correlation(one, uniform) == 0).all()
    assert (pixel_correlation(uniform, uniform) == 0).all()
    for function in SSIM:
        assert np.isfinite(function(one, uniform)).all()
        np.testing.assert_allclose(function(uniform, uniform), 1)


def test_identical_pictures_are_perfect():
    one = pictures(0)
    np.testing.assert_allclose(pixel_correlation(one, one), 1)
    assert (mean_squared_error(one, one) == 0).all()
    for function in SSIM:
        np.testing.assert_allclose(function(one, one), 1)
    for function in BINARY:
        assert (function(one, one) == 1).all()


@pytest.mark.parametrize("function", [pixel_correlation, *SSIM, binary_accuracy])
def test_more_noise_never_scores_higher(function):
    one = pictures(3, n=40)
    noise = np.random.default_rng(4).random(one.shape)
    means = [function(one, (1 - share) * one + share * noise).mean() for share in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    assert (np.diff(means) < 0).all()


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("function", BINARY)
def test_binary_patterns_vs_scikit_learn(function, channels, threshold):
    one, other = pictures(5, height=10, width=7)[..., :channels], pictures(6, height=10, width=7)[..., :channels]
    other[0], one[1] = 0, 0  # nothing on in one of them,
    one[2], other[2] = 0, 0  # in neither,
    one[3], other[3] = 1, 1  # everything on in both
    grey = [rgb2gray(side) if channels == 3 else side[..., 0] for side in (one, other)]
    expected = [BINARY[function](a.ravel() > threshold, b.ravel() > threshold) for a, b in zip(*grey, strict=True)]
    np.testing.assert_allclose(function(one, other, threshold=threshold), expected, rtol=0, atol=1e-15)


def test_green_is_brighter_than_blue():
    on = np.zeros((2, 4, 4, 3))
    on[0, ..., 1], on[1, ..., 2] = 1, 1
    np.testing.assert_array_equal(binary_recall(np.ones_like(on), on), [1, 0])


@pytest.mark.parametrize("function", [pixel_correlation, *SSIM, mean_squared_error, *BINARY])
def test_no_pictures_have_no_scores(function):
    scores = function(np.zeros((0, 12, 12, 3)), np.zeros((0, 12, 12, 3)))
    assert scores.shape == (0,) and scores.dtype == np.float64


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("function", [pixel_correlation, *SSIM, mean_squared_error, *BINARY])
def test_values_that_are_not_finite_are_refused(function, side):
    for bad in (np.nan, np.inf):
        pair = [pictures(0), pictures(1)]
        pair[side][4, 3, 2, 1] = bad
        with pytest.raises(InputError, match="1 of 6 pictures"):
            function(*pair)


@pytest.mark.parametrize("function", [*SSIM, mean_squared_error, *BINARY])
@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0])
def test_values_outside_0_to_1_are_refused(function, value):
    for side in (0, 1):
        pair = [pictures(0), pictures(1)]
        pair[side][5, 0, 0, 0] = value
        with pytest.raises(InputError, match="Divide 8-bit"):
            function(*pair)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: pixel_correlation(np.zeros((2, 4, 4, 3)), np.zeros((2, 5, 4, 3))), "one size"),
        (lambda: pixel_correlation(np.zeros((2, 4)), np.zeros((3, 4))), "one size"),
        (lambda: structural_similarity(pictures(0), pictures(0, n=5)), "one size"),
        (lambda: structural_similarity(pictures(0, height=10), pictures(1, height=10)), "11 pixels"),
        (lambda: structural_similarity(pictures(0)[..., :1], pictures(1)[..., :1]), "height, width, 3"),
        (lambda: binary_accuracy(pictures(0)[..., :2], pictures(1)[..., :2]), "3 or 1"),
        (lambda: binary_accuracy(pictures(0)[..., 0], pictures(1)[..., 0]), "3 or 1"),
        (lambda: binary_f1(pictures(0), pictures(1), threshold=127), "grey value"),
        (lambda: binary_f1(pictures(0), pictures(1), threshold=np.nan), "grey value"),
    ],
)
def test_hostile_input(call, words):
    with pytest.raises(InputError, match=words):
        call()
