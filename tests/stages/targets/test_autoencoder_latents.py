"""Latents of an autoencoder, against diffusers' own AutoencoderKL on a tiny random one."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from random_checkpoints import save_generator

from stages.ground.errors import InputError
from stages.ground.item_seeds import named_generator
from stages.networks.latent_space import LatentSpace
from stages.targets.autoencoder_latents import AutoencoderLatents
from weights.manifest import CheckpointError

SCALE = 0.7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_generator("sd", tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def network(folder):
    return AutoencoderKL.from_pretrained(folder / "vae").eval()


@pytest.fixture(scope="module")
def load(folder):
    return lambda **options: AutoencoderLatents.from_pretrained(folder, **options)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 20, 20, 3), dtype=np.uint8)


def pixels_of(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_the_published_autoencoder_has_6400_values_at_320_pixels_and_3136_at_224():
    with torch.device("meta"):
        network = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=512,
        )
    target = AutoencoderLatents(LatentSpace(network), size=320)
    assert target.shape == (4, 40, 40) and target.n_targets == 6_400
    assert AutoencoderLatents(LatentSpace(network)).shape == (4, 64, 64)
    # MindEye2 decodes that of 224 pixels.
    of_mindeye2 = AutoencoderLatents(LatentSpace(network), size=224)
    assert of_mindeye2.shape == (4, 28, 28) and of_mindeye2.n_targets == 3_136
    assert network.config.scaling_factor == 0.18215


@pytest.mark.parametrize("interpolation", ["lanczos", "bicubic", "bilinear"])
def test_the_mean_vs_diffusers(load, network, images, interpolation):
    found = load(size=12, interpolation=interpolation).encode(images)
    assert found.shape == (5, 4 * 6 * 6) and found.dtype == np.float32
    picture = np.array(Image.fromarray(images[3]).resize((12, 12), Image.Resampling[interpolation.upper()]))
    with torch.no_grad():
        expected = network.encode(pixels_of(picture)).latent_dist.mode() * SCALE
    np.testing.assert_allclose(found[3].reshape(4, 6, 6), expected[0], rtol=1e-4, atol=1e-5)


def test_a_sample_is_that_of_the_pictures_own_random_numbers(load, network, images):
    found = load(size=20, posterior="sample", sample_seed=5).encode(images)
    with torch.no_grad():
        posterior = network.encode(pixels_of(images[2])).latent_dist
    noise = torch.randn(4, 10, 10, generator=named_generator(b"5/" + images[2].tobytes()))
    expected = (posterior.mean + posterior.std * noise) * SCALE
    np.testing.assert_allclose(found[2].reshape(4, 10, 10), expected[0], rtol=1e-4, atol=1e-4)
    assert np.abs(load(size=20, posterior="sample", sample_seed=6).encode(images) - found).max() > 0.1


@pytest.mark.parametrize("posterior", ["mean", "sample"])
def test_neither_batches_nor_order_matter(load, images, posterior):
    target = load(size=12, posterior=posterior)
    whole = target.encode(images)
    np.testing.assert_array_equal(target.encode(images[::-1], batch_size=2)[::-1], whole)
    np.testing.assert_array_equal(target.decode(whole[::-1], batch_size=3)[::-1], target.decode(whole))


@pytest.mark.parametrize("greys", ["rounded", "cut off"])
def test_decoded_vs_diffusers(load, network, images, greys):
    target = load(size=20, greys=greys)
    values = target.encode(images)
    with torch.no_grad():
        pixels = network.decode(torch.from_numpy(values[:1].reshape(1, 4, 10, 10)) / SCALE).sample
    shades = 255 * ((pixels + 1) / 2).clamp(0, 1)[0].permute(1, 2, 0).double().numpy()
    expected = np.round(shades) if greys == "rounded" else np.floor(shades)
    found = target.decode(values)
    assert found.shape == images.shape and found.dtype == np.uint8
    off = found[0] != expected
    # Where float rounding tips a shade over a border, one grey level.
    assert off.mean() < 0.01 and np.abs(found[0] - expected).max() <= 1


def test_what_it_was_made_with_is_told_apart(load):
    ways = [{}, {"size": 12}, {"interpolation": "bicubic"}, {"posterior": "sample"}]
    ways.append({"posterior": "sample", "sample_seed": 1})
    told = [str(load(**way).preprocessing) for way in ways]
    assert len(set(told)) == len(told)
    # Values are the same however they are shown afterwards.
    assert load(greys="cut off").preprocessing == load().preprocessing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 13}, "pass a multiple of 2"),
        ({"size": 0}, "size is 0"),
        ({"posterior": "mode"}, "posterior is 'mode'"),
        ({"interpolation": "nearest"}, "interpolation is 'nearest'"),
        ({"greys": "dithered"}, "greys is 'dithered'"),
    ],
)
def test_options_that_make_no_sense_are_refused(load, options, message):
    with pytest.raises(InputError, match=message):
        load(**options)


def test_other_values_and_pictures_are_refused(load, tmp_path):
    target = load(size=12)
    with pytest.raises(InputError, match=r"\(2, 143\) but those of 12 pixels are \(n, 144\)"):
        target.decode(np.zeros((2, 143)))
    with pytest.raises(InputError):
        target.encode(np.zeros((2, 12, 12, 3)))
    with pytest.raises(CheckpointError):
        AutoencoderLatents.from_pretrained(tmp_path)
