"""How much of the steps is done, which pictures share a batch, and what a first picture becomes."""

import numpy as np
import pytest

from stages.generators.diffusion.start import denoising_steps, resized
from stages.generators.generator import together
from stages.ground.errors import InputError


def test_rows_of_one_group_share_batches_in_their_order():
    rows = ["a", "b", "a", "c", "b", "a", "a"]
    assert list(together(rows, 8, str)) == [[0, 2, 5, 6], [1, 4], [3]]
    assert list(together(rows, 3, str)) == [[0, 2, 5], [6], [1, 4], [3]]
    assert list(together([], 3, str)) == []


def test_steps_of_a_strength():
    assert [denoising_steps(strength, 50) for strength in (0, 0.01, 0.75, 0.999, 1)] == [0, 0, 37, 49, 50]
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="strength is"):
            denoising_steps(strength, 50)


def test_pictures_are_resized_only_if_their_size_differs():
    picture = np.full((8, 8, 3), 9, np.uint8)
    assert np.array_equal(np.asarray(resized(picture, 8)), picture)
    assert resized(picture[:4], 8).size == (8, 8)
