"""How alike all pictures are to all others, pair by pair by NumPy and scikit-image."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity as skimage_ssim

from brainrecon.evaluation.metrics.colour_similarity import structural_similarity_of_colours
from brainrecon.evaluation.metrics.picture_similarity import similarity_matrix
from stages.ground.errors import InputError

RANDOM = np.random.default_rng(0)
SHOWN, DRAWN = RANDOM.random((3, 16, 16, 3)), RANDOM.random((4, 16, 16, 3))
DRAWN[:3] = 0.5 * SHOWN + 0.5 * DRAWN[:3]
DRAWN[3] = 0.25


def test_ssim_of_colours_is_scikit_images():
    kinds = {"channel_axis": -1}
    each = [[skimage_ssim(one, other, data_range=1.0, **kinds) for other in DRAWN] for one in SHOWN]
    np.testing.assert_allclose(similarity_matrix(SHOWN, DRAWN, "structural_similarity"), each, atol=1e-10)
    np.testing.assert_allclose(structural_similarity_of_colours(SHOWN, DRAWN[:3]), np.diagonal(each), atol=1e-10)
    # As published, of bytes with their range.
    bytes_ = [np.round(255 * one).astype(np.uint8) for one in (SHOWN[0], DRAWN[0])]
    published = skimage_ssim(*bytes_, data_range=255, **kinds)
    ours = structural_similarity_of_colours(*(one[None] / 255 for one in bytes_))
    np.testing.assert_allclose(ours, published, atol=1e-6)


def test_squared_differences_are_those_of_numbers_and_not_of_bytes():
    one, other = np.full((1, 12), 250, dtype=np.uint8), np.full((1, 12), 5, dtype=np.uint8)
    assert similarity_matrix(one, other, "mean_squared_error").tolist() == [[-60025.0]]
    wrapped = ((one - other) ** 2).astype(np.uint8).mean()
    assert wrapped != 60025
    each = [[-((a - b) ** 2).mean() for b in DRAWN] for a in SHOWN]
    np.testing.assert_allclose(similarity_matrix(SHOWN, DRAWN, "mean_squared_error"), each)


def test_what_is_no_picture_is_refused():
    with pytest.raises(InputError, match="no square colour pictures"):
        similarity_matrix(np.ones((2, 100)), np.ones((2, 100)), "structural_similarity")
    with pytest.raises(InputError, match="at least 7 pixels"):
        structural_similarity_of_colours(np.ones((1, 6, 6, 3)), np.ones((1, 6, 6, 3)))
