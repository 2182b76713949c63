"""Faces from latents: the network's values, and the two ways of making pictures of them."""

import numpy as np
import pytest
import torch

from stages.generators.gan.face_vaegan import FaceVAEGANGenerator, displayed
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.networks.face_vaegan import FaceVAEGAN, FaceVAEGANConfig

SMALL = FaceVAEGANConfig(picture=16, channels=(4, 6), hidden=5, latents=7)


@pytest.fixture(scope="module")
def network():
    return FaceVAEGAN(SMALL, seed=3).eval()


@pytest.fixture(scope="module")
def generator(network):
    return FaceVAEGANGenerator(network)


@pytest.fixture(scope="module")
def latents():
    return np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)


def drawn(generator, latents, **options):
    items = [Item(f"s{row}") for row in range(len(latents))]
    return np.stack(in_order(generator.draw({"face_latents": latents}, items, **options)))


def as_published(values):
    """The published loop: every picture by the maximum of the array in which it lies."""
    array = values.copy()
    for i in range(array.shape[0]):
        array[i] = np.clip(array[i] / array.max(), 0, 1)
    return array


def test_a_picture_is_the_networks_values_by_their_own_maximum(network, generator, latents):
    with torch.no_grad():
        values = network.generator(torch.from_numpy(latents)).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(generator.values(latents, batch_size=2), values, atol=1e-5)
    expected = 255 * np.clip(values / values.max(axis=(1, 2, 3), keepdims=True), 0, 1)
    found = drawn(generator, latents, batch_size=2)
    assert found.shape == (5, 16, 16, 3) and found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 0.5 + 1e-3
    assert (found.max(axis=(1, 2, 3)) == 255).all() and (found == 0).any()


def test_a_folder_draws_the_same(network, generator, latents, tmp_path):
    network.save_pretrained(tmp_path)
    np.testing.assert_array_equal(
        drawn(FaceVAEGANGenerator.from_pretrained(tmp_path), latents), drawn(generator, latents)
    )


@pytest.fixture
def values():
    # The brightest in the middle: the first is divided by it, the last is not.
    random = np.random.default_rng(1)
    return random.normal(size=(6, 4, 4, 3)) * np.array([1, 2, 9, 1, 3, 0.1])[:, None, None, None]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1), [2, 0, 5, 1, 4, 3]])
def test_batch_maximum_vs_the_published_loop(values, order):
    given = values[order].copy()
    np.testing.assert_array_equal(displayed(given, "batch maximum"), as_published(given))
    np.testing.assert_array_equal(given, values[order])


@pytest.mark.parametrize("maximum", ["own maximum", "batch maximum"])
def test_one_picture_is_divided_by_its_own_maximum(values, maximum):
    expected = np.clip(values[:1] / values[0].max(), 0, 1)
    np.testing.assert_array_equal(displayed(values[:1], maximum), expected)


def test_others_matter_by_the_maximum_of_the_batch_alone(values):
    doubled = values.copy()
    doubled[2] *= 2
    others = [0, 1, 3, 4, 5]
    for maximum, alike in (("own maximum", True), ("batch maximum", False)):
        before, after = displayed(values, maximum)[others], displayed(doubled, maximum)[others]
        assert np.array_equal(before, after) == alike, maximum
        reversed_ = displayed(values[::-1], maximum)[::-1]
        assert np.array_equal(displayed(values, maximum), reversed_) == alike, maximum
    # Those before the brightest become half as bright.
    np.testing.assert_allclose(
        displayed(doubled, "batch maximum")[:2], displayed(values, "batch maximum")[:2] / 2, rtol=1e-12
    )


@pytest.mark.parametrize("maximum", ["own maximum", "batch maximum"])
@pytest.mark.parametrize("level", [0.0, -0.5])
def test_nothing_above_zero_is_black(maximum, level):
    assert (displayed(np.full((2, 2, 2, 3), level), maximum) == 0).all()


def test_what_cannot_be_is_refused(generator, latents, values):
    with pytest.raises(InputError, match="maximum is 'batch_max'; expected one of 'own maximum', 'batch maximum'"):
        displayed(values, "batch_max")
    with pytest.raises(InputError, match=r"shape \(5, 6\); expected \(n, 7\)"):
        generator.values(latents[:, 1:])
    with pytest.raises(InputError, match="batch_size is 0"):
        generator.values(latents, batch_size=0)
    assert displayed(values[:0]).shape == (0, 4, 4, 3) and generator.values(latents[:0]).shape == (0, 16, 16, 3)
