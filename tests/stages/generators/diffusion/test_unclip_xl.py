"""SDXL unCLIP, held against the published way from tokens to a picture, written out."""

import math

import numpy as np
import pytest
import torch
from single_files import CONTEXT, TOKENS, save_unclip

from stages.generators.diffusion.acceleration import Acceleration
from stages.generators.diffusion.sdxl_conditioners import codes
from stages.generators.diffusion.unclip_xl import UnCLIPXLGenerator
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator, named_generator
from weights.manifest import CheckpointError

ITEMS = [Item("nsd00001"), Item("nsd00002"), Item("nsd00001", sample=1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_unclip(tmp_path_factory.mktemp("unclip"))


@pytest.fixture(scope="module")
def generator(folder):
    return UnCLIPXLGenerator.from_pretrained(folder, n_tokens=TOKENS)


def tokens_of(items=ITEMS):
    random = torch.Generator().manual_seed(4)
    return torch.randn(len(items), TOKENS, CONTEXT, generator=random).numpy()


def drawn(generator, items=ITEMS, tokens=None, **options):
    values = {"clip_image": tokens_of(items) if tokens is None else tokens}
    options = {"num_inference_steps": 6} | options
    return np.stack(in_order(generator.draw(values, items, **options))).astype(int)


def test_codes_of_a_size_and_of_a_crop():
    found = codes((768, 768, 0, 0))
    frequencies = [10_000 ** (-k / 128) for k in range(128)]
    for place, number in enumerate((768, 768, 0, 0)):
        cosines, sines = found[256 * place : 256 * (place + 1)].split(128)
        np.testing.assert_allclose(cosines, [math.cos(number * each) for each in frequencies], atol=1e-4)
        np.testing.assert_allclose(sines, [math.sin(number * each) for each in frequencies], atol=1e-4)
    assert len(found) == 1024
    assert (found[512:640] == 1).all() and (found[640:768] == 0).all() and (found[896:] == 0).all()


@torch.no_grad()
def by_hand(generator, item, tokens, steps=6, told=16, seed=0):
    """Draws in the order a, b, c; Euler steps on what is denoised; clamp(0.8 d + 0.2)."""
    unet, vae = generator.pipeline.unet, generator.pipeline.vae
    random = item_generator(seed, item.stimulus_id, item.sample)
    own = named_generator(f"{random.initial_seed()}/unconditional tokens")
    context = torch.stack([torch.randn(TOKENS, CONTEXT, generator=own), torch.from_numpy(tokens)])
    first, second = (torch.randn(4, 8, 8, generator=random) for _ in range(2))
    brightness = torch.randn(1, generator=random)
    kept = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    levels = np.linspace(999, 0, steps, endpoint=False).astype(int)
    sigmas = [*np.sqrt((1 - kept) / kept)[levels], 0.0]
    x = (first + (second + 0.04 * brightness) * sigmas[0])[None]
    label = codes((told, told, 0, 0)).expand(2, -1)
    for level, sigma, following in zip(levels, sigmas, sigmas[1:]):
        rows = torch.cat([x, x])
        noise = unet((rows / (sigma**2 + 1) ** 0.5).float(), int(level), context, class_labels=label).sample
        without, conditional = (rows - sigma * noise).chunk(2)
        clean = without + 5 * (conditional - without)
        x = (x + (x - clean) / sigma * (following - sigma)).float()
    decoded = vae.decode(x / 0.13025).sample[0]
    return (0.8 * decoded + 0.2).clamp(0, 1).permute(1, 2, 0).numpy() * 255


@pytest.mark.parametrize("row", range(3))
def test_a_picture_vs_the_published_way(generator, row):
    expected = by_hand(generator, ITEMS[row], tokens_of()[row])
    assert expected.std() > 5
    assert np.abs(drawn(generator)[row] - expected).max() <= 1


def test_what_it_is_told_of_sizes_can_be_said(folder):
    told = UnCLIPXLGenerator.from_pretrained(folder, n_tokens=TOKENS, conditioned_size=768)
    expected = by_hand(told, ITEMS[0], tokens_of()[0], told=768)
    assert np.abs(drawn(told)[0] - expected).max() <= 1
    assert np.abs(drawn(told)[0] - by_hand(told, ITEMS[0], tokens_of()[0], told=16)).max() > 1


def test_offset_noise_can_be_left_out(folder, generator):
    without = UnCLIPXLGenerator.from_pretrained(folder, n_tokens=TOKENS, offset_noise=0.0)
    assert np.abs(drawn(without) - drawn(generator)).max() > 1


def test_the_unconditional_tokens_are_new_for_each_picture_and_do_not_move_the_start(generator):
    from stages.generators.diffusion.latent_diffusion import Row

    def prepared(rows, tokens):
        rows = [Row(each.stimulus_id, each.sample, {"clip_image": tokens[0]}, {}, 1.0) for each in rows]
        return generator.prepared(rows, 0, 6, 5.0)

    found = prepared(ITEMS, tokens_of())
    nothing = found.contexts[0].nothing
    assert len({each.numpy().tobytes() for each in nothing}) == 3
    assert abs(float(nothing.mean())) < 0.2 and 0.8 < float(nothing.std()) < 1.2
    alone = prepared(ITEMS[1:2], tokens_of())
    assert torch.equal(alone.contexts[0].nothing[0], nothing[1]) and torch.equal(alone.latents[0], found.latents[1])
    assert torch.equal(prepared(ITEMS, 2 * tokens_of()).contexts[0].nothing, nothing)


def test_pictures_are_given_at_the_size_that_is_asked_for(folder, generator):
    whole = drawn(generator)
    small = UnCLIPXLGenerator.from_pretrained(folder, n_tokens=TOKENS, picture_size=16)
    assert generator.picture_size == 16 and drawn(small).shape == (3, 16, 16, 3)
    # An odd share without smoothing leaves the pixels in the middle.
    from stages.networks.latent_space import bilinear

    thirds = torch.arange(3 * 81.0).reshape(1, 3, 9, 9)
    np.testing.assert_array_equal(bilinear(thirds, 3), thirds[..., 1::3, 1::3])
    assert (bilinear(torch.rand(1, 3, 9, 9), 3, smoothed=True) < 1).all()
    half = UnCLIPXLGenerator.from_pretrained(folder, n_tokens=TOKENS, picture_size=8)
    averaged = whole.reshape(3, 8, 2, 8, 2, 3).mean((2, 4))
    assert np.abs(drawn(half) - averaged).max() <= 1


def test_the_published_sizes(generator):
    assert (generator.default_steps, generator.default_guidance_scale) == (38, 5.0)
    assert not generator.optional.intersection({"clip_image"}) and generator.gives == "picture"


def test_infinite_pictures_do_not_become_white(generator):
    from stages.ground.not_finite import NotFinite

    hook = generator.pipeline.vae.decoder.register_forward_hook(lambda *three: three[2] * math.inf)
    try:
        with pytest.raises(NotFinite):
            drawn(generator, ITEMS[:1], tokens_of()[:1])
    finally:
        hook.remove()


def test_the_autoencoder_stays_in_float32(folder):
    half = UnCLIPXLGenerator.from_pretrained(folder, acceleration=Acceleration(dtype="float16"), n_tokens=TOKENS)
    assert {each.dtype for each in half.pipeline.unet.parameters()} == {torch.float16}
    assert {each.dtype for each in half.pipeline.vae.parameters()} == {torch.float32}


def test_another_solver_and_what_is_refused(folder):
    other = UnCLIPXLGenerator.from_pretrained(folder, scheduler="ddim", n_tokens=TOKENS)
    assert drawn(other).shape == (3, 16, 16, 3)
    with pytest.raises(InputError, match="scheduler is 'euler'"):
        UnCLIPXLGenerator.from_pretrained(folder, scheduler="euler")
    with pytest.raises(CheckpointError, match="vae holds no .safetensors"):
        UnCLIPXLGenerator.from_pretrained(folder / "vae")
