import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from stages.ground.errors import InputError
from stages.networks import logistic_mixture
from stages.networks.vdvae import VDVAE
from stages.networks.vdvae_presets import PRESETS, VDVAEConfig
from stages.targets.vdvae import VDVAELatents

SMALL = VDVAEConfig(
    image_size=16,
    encoder_blocks="16d2,8d2,4d4,1",
    decoder_blocks="1x2,4m1,8m4,16m8",
    width=8,
    latent_channels=3,
    n_mixtures=2,
    input_mean=120.0,
    input_std=60.0,
    target_layers=3,
)


@pytest.fixture(scope="module")
def target():
    generator = torch.Generator().manual_seed(3)
    network = VDVAE(SMALL).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.15 * torch.randn(parameter.shape, generator=generator)
    return VDVAELatents(network)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)


def test_imagenet64_has_the_published_layout():
    """31 layers, 91,168 values: 2 x 16, 4 x 256, 8 x 1024, 16 x 4096, 1 x 16384, in this order."""
    with torch.device("meta"):
        target = VDVAELatents(VDVAE("imagenet64"))
    lengths = [where.stop - where.start for where in target.layer_slices]
    assert lengths == [16] * 2 + [256] * 4 + [1024] * 8 + [4096] * 16 + [16384]
    assert target.n_targets == 91_168 and target.shape == (91_168,)
    assert [where.start for where in target.layer_slices] == [0, *np.cumsum(lengths)[:-1]]


def test_all_layers_without_a_number_of_target_layers():
    with torch.device("meta"):
        target = VDVAELatents(VDVAE(dataclasses.replace(PRESETS["imagenet64"], target_layers=None)))
    assert target.n_targets == 1_451_040


def test_order_of_values(target, images):
    """Layers in the decoder's order, each channel by channel, row by row."""
    assert target.n_targets == 3 + 3 + 3 * 16
    values = target.encode(images)
    latents = target.network.encode(images)
    assert values.dtype == np.float32 and values.shape == (7, 54)
    expected = [latents[layer][5].numpy().ravel(order="C") for layer in range(3)]
    np.testing.assert_allclose(values[5], np.concatenate(expected), rtol=1e-4, atol=1e-4)
    assert values[5, 6 + 1 * 16 + 2 * 4 + 3] == pytest.approx(latents[2][5, 1, 2, 3].item(), abs=1e-4)


def test_decode_puts_the_other_layers_at_their_prior_mean(target, images):
    expected = target.network.decode(target.network.encode(images)[:3])
    got = target.decode(target.encode(images))
    assert got.dtype == np.uint8 and np.abs(got.astype(int) - expected).max() <= 1


def test_batches_do_not_matter(target, images):
    whole = target.encode(images, batch_size=7)
    np.testing.assert_allclose(target.encode(images, batch_size=1), whole, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(target.encode(images, batch_size=3), whole, rtol=1e-4, atol=1e-4)
    difference = target.decode(whole, batch_size=2).astype(int) - target.decode(whole, batch_size=7)
    assert np.abs(difference).max() <= 1


def test_draws_depend_on_the_seed_and_the_picture_alone(target, images):
    seeded = VDVAELatents(target.network, sample_seed=4)
    values = seeded.encode(images)
    np.testing.assert_allclose(seeded.encode(images[::-1], batch_size=2)[::-1], values, rtol=1e-4, atol=1e-4)
    assert np.abs(values - target.encode(images)).max() > 0.1
    assert np.abs(values - VDVAELatents(target.network, sample_seed=5).encode(images)).max() > 0.1
    assert seeded.preprocessing != target.preprocessing
    assert VDVAELatents(target.network, 5).preprocessing != seeded.preprocessing


def test_draws_are_of_the_posterior(target, images):
    """Mean and spread of the first layer over many seeds, which no draw above it can move."""
    first = target.layer_slices[0]
    draws = np.stack([VDVAELatents(target.network, seed).encode(images[:1])[0, first] for seed in range(300)])
    x = target.network.decoder.dec_blocks[0].enter({bias.shape[2]: bias for bias in target.network.decoder.bias_xs}, 1)
    with torch.no_grad():
        activation = target.network.encoder(target.network._enter(images[:1]))[1]
        mean, log_std = (part.flatten().numpy() for part in target.network.decoder.dec_blocks[0].infer(x, activation))
    np.testing.assert_allclose(draws.mean(0), mean, atol=4 * np.exp(log_std).max() / 300**0.5)
    np.testing.assert_allclose(draws.std(0), np.exp(log_std), rtol=0.15)


def test_decoding_with_a_temperature_is_seeded_and_independent_of_the_batch(target, images):
    values = target.encode(images)

    def drawn(seed, rows=slice(None), **options):
        generators = [torch.Generator().manual_seed(seed + row) for row in range(7)[rows]]
        return target.decode(values[rows], generators=generators, **options).astype(int)

    for options in ({"temperature": 1.0}, {"sample_pixels": True}, {"temperature": 0.7, "sample_pixels": True}):
        whole = drawn(10, **options)
        assert np.abs(whole - target.decode(values)).max() > 3
        assert np.mean(np.abs(drawn(10, batch_size=2, **options) - whole) <= 1) > 0.99
        assert np.mean(np.abs(drawn(10, slice(2, 5), **options) - whole[2:5]) <= 1) > 0.99
        assert np.abs(drawn(50, **options) - whole).max() > 3
    np.testing.assert_array_equal(drawn(10, temperature=0.0), target.decode(values))


@pytest.mark.parametrize("sample_pixels", [False, True])
def test_greys_are_rounded_or_cut_off(target, images, monkeypatch, sample_pixels):
    """Published: colours in −1..1 plus 1, times 127.5, to uint8 as NumPy does, which cuts off."""
    values, colours, kind = target.encode(images), [], "sample" if sample_pixels else "mean"
    usual = getattr(logistic_mixture, kind)
    monkeypatch.setattr(logistic_mixture, kind, lambda *given: colours.append(usual(*given)) or colours[-1])

    def drawn(greys):
        generators = [torch.Generator().manual_seed(row) for row in range(len(values))]
        found = target.decode(values, generators=generators, sample_pixels=sample_pixels, greys=greys)
        return found, (colours.pop().permute(0, 2, 3, 1).numpy() + 1) * 127.5

    cut_off, levels = drawn("cut off")
    np.testing.assert_array_equal(cut_off, np.clip(levels, 0, 255).astype(np.uint8))
    rounded, levels = drawn("rounded")
    np.testing.assert_array_equal(rounded, np.rint(np.clip(levels, 0, 255)).astype(np.uint8))
    # How much is black or white altogether depends on the network.
    within = (levels > 0) & (levels < 255)
    assert within.sum() > 100 and 0.35 < (rounded.astype(int) - cut_off)[within].mean() < 0.65
    with pytest.raises(InputError, match="greys is 'floor'; expected one of 'rounded', 'cut off'"):
        drawn("floor")


def test_draws_without_a_generator_per_picture_are_refused(target, images):
    values = target.encode(images)
    with pytest.raises(InputError, match="generator"):
        target.decode(values, temperature=1.0)
    with pytest.raises(InputError, match="1 generators came with 7 rows"):
        target.decode(values, temperature=1.0, generators=[torch.Generator()])


def test_pictures_of_any_size_are_resized_once(target):
    large = np.random.default_rng(1).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    bilinear = Image.Resampling.BILINEAR
    small = np.stack([np.asarray(Image.fromarray(each).resize((16, 16), bilinear)) for each in large])
    np.testing.assert_array_equal(target.encode(large), target.encode(small))


def test_no_pictures_give_no_rows(target):
    assert target.encode(np.zeros((0, 16, 16, 3), np.uint8)).shape == (0, 54)
    assert target.decode(np.zeros((0, 54), np.float32)).shape == (0, 16, 16, 3)


def test_checkpoint_and_plain_data(target, images, tmp_path):
    target.network.save_pretrained(tmp_path, dtype=torch.float32)
    loaded = VDVAELatents.from_pretrained(tmp_path)
    np.testing.assert_allclose(loaded.encode(images), target.encode(images), rtol=1e-4, atol=1e-4)
    assert (loaded.name, loaded.takes) == ("vdvae", "images")
    assert json.loads(json.dumps(loaded.preprocessing)) == target.preprocessing
    assert target.preprocessing["layers"] == 3


@pytest.mark.parametrize("values", [np.zeros((2, 53)), np.zeros(54), np.zeros((2, 54, 1))])
def test_values_of_another_length_are_refused(target, values):
    with pytest.raises(InputError, match="54"):
        target.decode(values)


@pytest.mark.parametrize("shape, dtype", [((2, 16, 16), "u1"), ((2, 16, 16, 3), "f4"), ((2, 3, 16, 16), "u1")])
def test_anything_but_colour_pictures_is_refused(target, shape, dtype):
    with pytest.raises(InputError, match="uint8"):
        target.encode(np.zeros(shape, dtype))


def test_greys_of_ones_own_enter_the_encoder_as_the_formula_says(target, images):
    network = target.network
    own = VDVAELatents(network, greys=(110, 69))
    # A checkpoint of these numbers encodes the same; the one that was given stays as it is.
    config = dataclasses.replace(network.config, input_mean=110.0, input_std=69.0)
    twin = VDVAE(config).eval()
    twin.load_state_dict(network.state_dict())
    assert (own.network.config, network.config) != (config, config) and own.network.config == config
    entered = own.network._enter(target._resize(images))
    expected = (target._resize(images).transpose(0, 3, 1, 2) - 110.0) / 69
    np.testing.assert_allclose(entered.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(VDVAELatents(twin).encode(images), own.encode(images))
    assert not np.allclose(own.encode(images), target.encode(images), atol=1e-3)
    assert own.preprocessing == target.preprocessing | {"greys": [110, 69]}
    with pytest.raises(InputError, match="greys is 110; expected a list of numbers above 0 and up to 255"):
        VDVAELatents(network, greys=110)


def test_latents_are_cut_off_if_they_are_to_be(target, images):
    usual, cut = target.encode(images), VDVAELatents(target.network, farthest=0.1)
    assert np.abs(usual).max() > 0.1
    np.testing.assert_array_equal(cut.encode(images), np.clip(usual, np.float32(-0.1), np.float32(0.1)))
    assert cut.preprocessing == target.preprocessing | {"farthest": 0.1}
    with pytest.raises(InputError, match="farthest is 0"):
        VDVAELatents(target.network, farthest=0)
