"""Pictures made smaller behind a Gaussian: against SciPy's filter and against diffusers' own copy of the recipe."""

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import _resize_with_antialiasing
from scipy.ndimage import correlate1d
from torch.nn import functional

from stages.targets.smoothed_pictures import smoothed


def pictures(height, width, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((2, 3, height, width), dtype=np.float32))


def written_out(picture, size):
    """The recipe in double precision; the Gaussian by SciPy, whose "mirror" repeats no edge."""
    values = picture.double().numpy()
    for axis, side in ((2, picture.shape[2]), (3, picture.shape[3])):
        sigma = max((side / size - 1) / 2, 0.001)
        n = int(max(4 * sigma, 3))
        n += n % 2 == 0
        weights = np.exp(-0.5 * ((np.arange(n) - n // 2) / sigma) ** 2)
        values = correlate1d(values, weights / weights.sum(), axis=axis, mode="mirror")
    return functional.interpolate(torch.from_numpy(values), size=(size, size), mode="bicubic", align_corners=True)


@pytest.mark.parametrize(
    "height, width, size", [(425, 425, 224), (64, 48, 32), (100, 20, 24), (70, 70, 9), (65, 65, 64)]
)
def test_smaller_pictures_vs_the_formula_and_vs_diffusers(height, width, size):
    given = pictures(height, width)
    found = smoothed(given, size)
    assert found.shape == (2, 3, size, size) and found.dtype == torch.float32
    # In double precision, for torch reckons in single where between the pixels of 425 it is, to 1e-5 of one.
    torch.testing.assert_close(smoothed(given.double(), size), written_out(given, size), atol=1e-12, rtol=0)
    torch.testing.assert_close(found, _resize_with_antialiasing(given, (size, size)), atol=1e-6, rtol=0)


def test_larger_pictures_are_not_blurred_and_equal_ones_not_touched():
    small = pictures(16, 20)
    plain = functional.interpolate(small, size=(32, 32), mode="bicubic", align_corners=True)
    torch.testing.assert_close(smoothed(small, 32), plain)
    same = pictures(32, 32)
    assert torch.equal(smoothed(same, 32), same)


def test_the_corners_stay_where_they_are():
    """Between corners, the first pixel of a picture that grows is the first pixel that was given."""
    small = pictures(8, 8)
    found = smoothed(small, 21)
    torch.testing.assert_close(found[..., [0, 0, -1, -1], [0, -1, 0, -1]], small[..., [0, 0, -1, -1], [0, -1, 0, -1]])
