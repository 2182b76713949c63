"""Both forms of SSIM against scikit-image, and against the formula written out."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity as skimage_ssim

from brainrecon.evaluation.metrics import structural_similarity as module
from brainrecon.evaluation.metrics.structural_similarity import (
    ssim_beside,
    ssim_of_columns_beside,
    structural_similarity,
    structural_similarity_of_columns,
)
from stages.ground.errors import InputError

# What scikit-image's `channel_axis` has to be.
FORMS = [(structural_similarity, None), (structural_similarity_of_columns, -1)]
SIZES = [(11, 11), (11, 40), (27, 26), (24, 25), (64, 64), (143, 31), (20, 700), (700, 20)]


def pictures(seed, n=3, height=24, width=24):
    return np.random.default_rng(seed).random((n, height, width, 3))


def skimage_loop(one, other, channel_axis):
    return [
        skimage_ssim(
            rgb2gray(a.astype(np.float64)),
            rgb2gray(b.astype(np.float64)),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=channel_axis,
        )
        for a, b in zip(one, other, strict=True)
    ]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("function, channel_axis", FORMS)
def test_structural_similarity_vs_skimage(function, channel_axis, height, width, dtype):
    one, other = pictures(0, 3, height, width).astype(dtype), pictures(1, 3, height, width).astype(dtype)
    other[1] = one[1]
    other[2] = (0.9 * one[2] + 0.05).astype(dtype)
    np.testing.assert_allclose(function(one, other), skimage_loop(one, other, channel_axis), rtol=0, atol=1e-12)


@pytest.mark.parametrize("function, channel_axis", FORMS)
def test_structural_similarity_of_smooth_pictures_vs_skimage(function, channel_axis):
    y, x = np.mgrid[:90, :80] / 90
    one = np.stack([x, y, (x + y) / 2], axis=-1)[None]
    for other in (one[:, ::-1], 1 - one, np.zeros_like(one), one**2, np.where(one > 0.5, 1.0, 0.0)):
        np.testing.assert_allclose(function(one, other), skimage_loop(one, other, channel_axis), rtol=0, atol=1e-12)


def ssim_of_a_column(one, other):
    """The formula for two rows of numbers, each window by SciPy's Gaussian."""

    def windows(values):
        return gaussian_filter1d(values, sigma=1.5, truncate=3.5)[5:-5]  # the windows that reach over no end

    a, b = windows(one), windows(other)
    variance_a, variance_b = windows(one * one) - a**2, windows(other * other) - b**2
    covariance = windows(one * other) - a * b
    c1, c2 = 0.01**2, 0.03**2
    return np.mean((2 * a * b + c1) * (2 * covariance + c2) / ((a**2 + b**2 + c1) * (variance_a + variance_b + c2)))


def test_the_ssim_of_columns_is_the_mean_over_columns_of_the_ssim_of_each():
    one, other = pictures(2, 2, 40, 17), pictures(3, 2, 40, 17)
    for row in range(2):
        columns = zip(rgb2gray(one[row]).T, rgb2gray(other[row]).T, strict=True)
        expected = np.mean([ssim_of_a_column(*pair) for pair in columns])
        assert structural_similarity_of_columns(one, other)[row] == pytest.approx(expected, abs=1e-12)


def test_it_is_columns_and_not_rows():
    one, other = pictures(4, 2, 30, 30), pictures(5, 2, 30, 30)
    scores = structural_similarity_of_columns(one, other)
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_allclose(
        structural_similarity_of_columns(one[:, :, order], other[:, :, order]), scores, atol=1e-12
    )
    assert np.abs(structural_similarity_of_columns(one[:, order], other[:, order]) - scores).min() > 1e-4


def test_the_two_forms_are_far_apart_on_a_blurred_picture():
    rng = np.random.default_rng(0)
    sharp = np.clip(0.5 + 0.2 * np.cumsum(rng.normal(size=(1, 80, 80, 3)), axis=1) / 3, 0, 1)
    blurred = gaussian_filter1d(gaussian_filter1d(sharp, 2, axis=1), 2, axis=2)
    assert structural_similarity_of_columns(sharp, blurred) - structural_similarity(sharp, blurred) > 0.02


def test_products_stay_below_what_a_blas_splits_over_threads():
    assert module._BAND.size * module._LENGTH <= 4 * 65_536


@pytest.mark.parametrize(
    "alone, beside", [(structural_similarity, ssim_beside), (structural_similarity_of_columns, ssim_of_columns_beside)]
)
def test_what_is_kept_of_a_reference_changes_no_digit(alone, beside):
    random = np.random.default_rng(5)
    shown, drawn = random.random((3, 45, 52, 3), dtype=np.float32), random.random((7, 45, 52, 3), dtype=np.float32)
    rows = [2, 0, 0, 1, 2, 1, 0]
    compare = beside(shown)
    np.testing.assert_array_equal(compare(drawn, rows), alone(shown[rows], drawn))
    np.testing.assert_array_equal(compare(drawn[::-1], rows[::-1]), alone(shown[rows], drawn)[::-1])


def test_beside_refuses_what_the_function_refuses():
    shown = np.full((2, 16, 16, 3), 0.5)
    with pytest.raises(InputError, match="at least 11 pixels a side"):
        ssim_beside(shown[:, :8])
    with pytest.raises(InputError, match="pictures in 0..1"):
        ssim_beside(255 * shown)
    with pytest.raises(InputError, match="pictures in 0..1"):
        ssim_beside(shown)(255 * shown, [0, 1])
    with pytest.raises(InputError, match="bring both to one size"):
        ssim_beside(shown)(shown[:, :12], [0, 1])
