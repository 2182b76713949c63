"""How much of the steps is done, which pictures share a batch, and what a first picture becomes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image

from stages.generators.diffusion.latent_diffusion import Row
from stages.generators.diffusion.sampler import Sampling
from stages.generators.diffusion.start import StartFromPicture, resized
from stages.generators.diffusion.start_rule import FERRANTE, StartRule, denoising_steps
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


# A start that is mixed into noise


class Latents(Encoded):
    """An autoencoder whose latents are known, some of them far out."""

    network = SimpleNamespace(config=SimpleNamespace(scaling_factor=0.18215))

    def __init__(self):
        self.values = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        self.values[:, 0] *= 40

    def encode(self, pixels, random=None):
        assert random is not None, "the posterior is sampled"
        return 0.18215 * self.values[: len(pixels)]


def prepared(rule, strength=0.4, n=2, seeds=(5, 6)):
    scheduler = DDIMScheduler(clip_sample=False, steps_offset=1)
    start = StartFromPicture(scheduler, (4, 8, 8), Latents(), rule)
    sampling = Sampling(
        random=tuple(torch.Generator().manual_seed(seed) for seed in seeds[:n]),
        weights={},
        num_inference_steps=37,
        strength=strength,
        device="cpu",
        dtype=torch.float32,
        latent_dtype=torch.float32,
        guidance_scale=7.5,
    )
    return start.prepare([np.zeros((64, 64, 3), np.uint8)] * n, sampling)


def test_a_start_mixed_into_noise_vs_the_formula():
    found = prepared(FERRANTE)
    for row, seed in enumerate((5, 6)):
        noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)).numpy().astype(np.float64)
        sample = Latents().values[row].numpy().astype(np.float64)
        mixed = noise + 0.18215 * np.clip(0.18215 * sample, -3, 3)
        expected = (mixed - mixed.mean()) / mixed.std(ddof=1)
        np.testing.assert_allclose(found.latents[row].numpy(), expected, atol=1e-5)
    assert np.abs(0.18215 * sample).max() > 3


@pytest.mark.parametrize("strength", [0, 0.4, 1])
def test_all_steps_are_done_whatever_the_strength(strength):
    found = prepared(FERRANTE, strength)
    assert len(found.timesteps) == 37 and found.timesteps[0] == 1000 // 37 * 36 + 1
    row = Row("a", 0, {"first_picture": np.zeros(1)}, {}, strength)
    assert row.starts_from(FERRANTE) == "first_picture"
    assert row.starts_from(StartRule()) == (None if strength == 1 else "first_picture")


def test_a_picture_mixed_into_noise_does_not_depend_on_its_batch():
    alone, together = prepared(FERRANTE, n=1), prepared(FERRANTE, n=2)
    assert torch.equal(alone.latents[0], together.latents[0])


def test_a_picture_is_enlarged_as_the_rule_says():
    space, picture = Encoded(), np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    # Pillow rounds to greys after rows and after columns, where floats are kept between the two nearest.
    rounded = 1.01 / 127.5
    for how, tolerance in ((Image.Resampling.BICUBIC, 1e-5), (Image.Resampling.BILINEAR, rounded)):
        enlarged = how.name.lower()
        StartFromPicture(None, (4, 1, 1), space, StartRule(enlarged=enlarged))._encoded(
            [picture], SimpleNamespace(device="cpu", random=None)
        )
        expected = np.asarray(Image.fromarray(picture).resize((8, 8), how)).transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(space.given[0].numpy(), expected, atol=tolerance)
    with pytest.raises(InputError, match="enlarged is 'nearest'"):
        StartRule(enlarged="nearest")
    with pytest.raises(InputError, match="mixed is 'a little'"):
        StartRule(mixed="a little")
