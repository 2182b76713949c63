"""How much of the steps is done, which pictures share a batch, and what a first picture becomes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.generators.diffusion.start import StartFromPicture, resized
from stages.generators.diffusion.start_rule import StartRule, denoising_steps
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


def test_the_strongest_start_is_noise_or_all_steps_but_one():
    usual, scripts = StartRule(), StartRule(strongest="all but one step")
    assert [usual.steps(strength, 50) for strength in (0, 0.8, 0.99, 1)] == [0, 40, 49, 50]
    assert [scripts.steps(strength, 50) for strength in (0, 0.8, 0.99, 1)] == [0, 40, 49, 49]
    with pytest.raises(InputError, match="strongest is 'all'"):
        StartRule(strongest="all")


class Encoded:
    """An autoencoder that keeps what it is given to encode."""

    downscaling = 8

    def encode(self, pixels, random=None):
        self.given = pixels
        return torch.zeros(len(pixels), 4, 1, 1)


@pytest.mark.parametrize("pixels", ["as they are", "for CLIP"])
def test_pixels_that_are_encoded_vs_the_formula(pixels):
    space, picture = Encoded(), np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    start = StartFromPicture(None, (4, 1, 1), space, StartRule(pixels=pixels))
    start._encoded([picture], SimpleNamespace(device="cpu", random=None))
    shares = picture.transpose(2, 0, 1) / 255
    expected = 2 * shares - 1
    if pixels == "for CLIP":
        mean, deviation = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
        expected = (shares - np.reshape(mean, (3, 1, 1))) / np.reshape(deviation, (3, 1, 1))
    np.testing.assert_allclose(space.given[0].numpy(), expected, atol=1e-5)
    with pytest.raises(InputError, match="pixels is 'raw'"):
        StartRule(pixels="raw")


def test_pictures_are_resized_only_if_their_size_differs():
    picture = np.full((8, 8, 3), 9, np.uint8)
    assert np.array_equal(np.asarray(resized(picture, 8)), picture)
    assert resized(picture[:4], 8).size == (8, 8)
