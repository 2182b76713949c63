"""Blur against SciPy's, gradients of regularisers against autograd of what they are gradients of, shifts and their way back."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from stages.inverters.pixel_regularisers import (
    blurred,
    p_norm_gradient,
    shifted,
    total_variation_gradient,
    usual_size,
    without_extremes,
)


@pytest.fixture
def pictures():
    return torch.from_numpy(np.random.default_rng(0).normal(0, 60, (2, 3, 7, 9)))


@pytest.mark.parametrize("sigma", [0.5, 1.3, 2.0])
def test_blur_vs_scipy(pictures, sigma):
    expected = [[gaussian_filter(channel, sigma) for channel in picture] for picture in pictures.numpy()]
    np.testing.assert_allclose(blurred(pictures, sigma), expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(blurred(pictures, 0), pictures)


def variation(pictures, order):
    """Sum over pixels of the length of the step to the next row and column, to the power of `order`."""
    total = 0
    for picture in pictures:
        for channel in picture:
            for row in range(channel.shape[0]):
                for column in range(channel.shape[1]):
                    down = channel[min(row + 1, channel.shape[0] - 1), column] - channel[row, column]
                    right = channel[row, min(column + 1, channel.shape[1] - 1)] - channel[row, column]
                    total = total + (down**2 + right**2 + 1e-30) ** (order / 2)
    return total


@pytest.mark.parametrize("order", [2.0, 1.0, 3.0])
def test_gradient_of_total_variation_vs_autograd(pictures, order):
    some = pictures[:, :1, :4, :5].clone().requires_grad_()
    (expected,) = torch.autograd.grad(variation(some, order), some)
    np.testing.assert_allclose(total_variation_gradient(some.detach(), order), expected, rtol=1e-8, atol=1e-8)


def test_a_picture_of_one_colour_has_no_variation():
    for order in (1.0, 2.0):
        assert total_variation_gradient(torch.full((1, 3, 4, 4), 7.0), order).abs().max() == 0


@pytest.mark.parametrize("order", [1.0, 3.0])
def test_gradient_of_the_p_norm_vs_autograd(pictures, order):
    some = pictures.clone().requires_grad_()
    (expected,) = torch.autograd.grad(some.abs().pow(order).sum(), some)
    np.testing.assert_allclose(p_norm_gradient(pictures, order), expected, rtol=1e-12)


def test_shifts_go_down_and_right_and_back(pictures):
    moves = [(2, -3), (-1, 4)]
    expected = np.stack(
        [np.roll(np.roll(one, right, -1), down, -2) for one, (down, right) in zip(pictures.numpy(), moves)]
    )
    np.testing.assert_array_equal(shifted(pictures, moves), expected)
    assert torch.equal(shifted(shifted(pictures, moves), [(-2, 3), (1, -4)]), pictures)


def test_extremes_are_each_pictures_own(pictures):
    found = without_extremes(pictures, 10)
    for one, picture in zip(found.numpy(), pictures.numpy()):
        np.testing.assert_allclose(one, np.clip(picture, *np.percentile(picture, [5, 95])))


def test_the_usual_size_is_that_of_greys_by_lot():
    """icnn draws such a picture, and takes the square of half its norm."""
    drawn = np.random.default_rng(1).integers(0, 256, (60, 60, 3))
    assert usual_size(torch.zeros(1, 3, 60, 60)) == pytest.approx((np.linalg.norm(drawn) / 2) ** 2, rel=0.03)
