"""Stable Diffusion under depth, held against diffusers' own pipeline, the published order of operations, and its laws."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from published_checkpoints import write_published
from random_checkpoints import SIZE, save_dpt, save_generator

from brainrecon.cli.main import run_command
from stages.generators.diffusion.depth import DepthDiffusionGenerator, depth_channel
from stages.generators.diffusion.latent_diffusion import Row
from stages.generators.diffusion.sampler import Sampling
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.generators.diffusion.start_rule import COMPVIS, StartRule
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.networks.dpt_depth import load_dpt, read_depth
from weights import store
from weights.manifest import CheckpointError

ITEMS = [Item("nsd00003"), Item("nsd00004")]
# As diffusers' pipeline has it: the posterior is sampled.
SAMPLED = StartRule(posterior="sample")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_generator("depth", tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def dpt_folder(tmp_path_factory):
    return save_dpt(tmp_path_factory.mktemp("dpt") / "network")


@pytest.fixture(scope="module")
def load(folder):
    return lambda **options: DepthDiffusionGenerator.from_pretrained(folder, **options)


@pytest.fixture(scope="module")
def values():
    draws = np.random.default_rng(0)
    return {
        "depth": draws.random((2, 48, 48), dtype=np.float32) * 30,
        "clip_text": draws.standard_normal((2, 7, 16)).astype(np.float32),
        "first_picture": draws.integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8),
    }


def theirs(generator, values, item, **options):
    """One picture of diffusers' pipeline."""
    return generator.pipeline(
        image=Image.fromarray(values["first_picture"][item]),
        depth_map=torch.from_numpy(values["depth"][item])[None],
        prompt_embeds=torch.from_numpy(values["clip_text"][item])[None],
        negative_prompt_embeds=generator.empty_text[None],
        generator=[item_generator(0, ITEMS[item].stimulus_id, ITEMS[item].sample)],
        strength=0.8,
        **options,
    ).images[0]


def inputs_of(unet):
    """The network's inputs, as they are given to it from now on."""
    seen = []
    unet.register_forward_pre_hook(lambda network, given: seen.append(given[0].clone()))
    return seen


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_pictures_vs_diffusers_pipeline(load, values, guidance_scale):
    generator = load(scheduler="ddim", start=SAMPLED)
    options = {"num_inference_steps": 50, "guidance_scale": guidance_scale}
    expected = [np.asarray(theirs(generator, values, item, **options)).astype(int) for item in range(2)]
    seen = inputs_of(generator.pipeline.unet)
    found = in_order(generator.draw(values, ITEMS, strength=0.8, **options))
    assert len(seen) == 40
    for item in range(2):
        assert np.abs(found[item] - expected[item]).max() <= 1
    other = in_order(generator.draw(values | {"depth": values["depth"][::-1]}, ITEMS, strength=0.8, **options))
    assert np.abs(other[0] - expected[0]).max() > 1


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "unipc"])
def test_latents_vs_diffusers_pipeline(load, values, scheduler):
    generator = load(scheduler=scheduler, start=SAMPLED)
    row = {name: value[0] for name, value in values.items()} | {"first_latent": None}
    ours = generator.latents([Row(ITEMS[0].stimulus_id, 0, row, {"clip_text": 1.0}, 0.8)], 0, 10, 5.0)[0]
    expected = theirs(generator, values, 0, num_inference_steps=10, guidance_scale=5.0, output_type="latent")
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def published(generator, values, steps, strength, scale):
    """The order of operations of the published script, written out: encode, noise, concatenate the depth, DDIM."""
    vae, unet, alphas = generator.pipeline.vae, generator.pipeline.unet, generator.pipeline.scheduler.alphas_cumprod
    pixels = 2 * torch.from_numpy(values["first_picture"][0]).permute(2, 0, 1)[None].float() / 255 - 1
    depth = torch.from_numpy(values["depth"][0])[None, None]
    depth = torch.nn.functional.interpolate(depth, size=(8, 8), mode="bicubic", align_corners=False)
    depth = 2.0 * (depth - depth.amin()) / (depth.amax() - depth.amin()) - 1.0
    random = item_generator(0, ITEMS[0].stimulus_id, ITEMS[0].sample)
    posterior = vae.encode(pixels).latent_dist
    latents = 0.7 * (posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=random))
    timesteps = np.arange(0, 1000, 1000 // steps) + 1
    t_enc = min(int(strength * steps), steps - 1)
    a = alphas[timesteps[t_enc]]
    latents = a.sqrt() * latents + (1 - a).sqrt() * torch.randn(latents.shape, generator=random)
    for index in range(t_enc)[::-1]:
        t, a = int(timesteps[index]), alphas[timesteps[index]]
        before = alphas[timesteps[index - 1]] if index else alphas[0]
        text = torch.from_numpy(values["clip_text"][0])[None]
        rows = torch.cat([latents, depth], dim=1)
        nothing, under = (unet(rows, t, tokens).sample for tokens in (generator.empty_text[None], text))
        noise = nothing + scale * (under - nothing)
        latents = before.sqrt() * (latents - (1 - a).sqrt() * noise) / a.sqrt() + (1 - before).sqrt() * noise
    return latents


@pytest.mark.parametrize(("strength", "published_strength"), [(0.8, 0.8), (0.9, 1.0), (1.0, 1.0)])
def test_compvis_rule_vs_the_published_order_of_operations(load, values, strength, published_strength):
    generator = load(scheduler="ddim", start=dataclasses.replace(COMPVIS, strongest="all but one step"))
    row = {name: value[0] for name, value in values.items()} | {"first_latent": None}
    ours = generator.latents([Row(ITEMS[0].stimulus_id, 0, row, {"clip_text": 1.0}, strength)], 0, 10, 5.0)
    torch.testing.assert_close(ours, published(generator, values, 10, published_strength, 5.0), atol=1e-4, rtol=1e-4)


def test_both_halves_of_guidance_read_the_same_depth_at_every_step(load, values):
    generator = load(scheduler="ddim")
    seen = inputs_of(generator.pipeline.unet)
    list(generator.draw(values, ITEMS, num_inference_steps=5, strength=0.6, guidance_scale=5.0))
    expected = depth_channel(list(torch.from_numpy(values["depth"])), 8)[:, 0]
    assert len(seen) == 3 and seen[0].shape == (4, 5, 8, 8)
    for rows in seen:
        assert torch.equal(rows[:2, 4], expected) and torch.equal(rows[2:, 4], expected)
        assert torch.equal(rows[:2], rows[2:])


def test_levels_draw_what_their_depth_draws(load, dpt_folder, values):
    generator = load(scheduler="ddim", dpt_folder=dpt_folder)
    names = ["dpt_0", "dpt_1", "dpt_2", "dpt_3"]
    assert [generator.takes[name] for name in names] == [(17, 8)] * 4 and "depth" not in generator.takes
    draws = np.random.default_rng(1)
    levels = {name: draws.standard_normal((2, 17, 8)).astype(np.float32) for name in names}
    depth = read_depth(load_dpt(dpt_folder), [torch.from_numpy(each) for each in levels.values()]).numpy()
    others = {name: value for name, value in values.items() if name != "depth"}
    options = {"num_inference_steps": 5, "strength": 0.8}
    expected = in_order(load(scheduler="ddim").draw({"depth": depth} | others, ITEMS, **options))
    found = in_order(generator.draw(levels | others, ITEMS, **options))
    assert np.abs(np.stack(found).astype(int) - expected).max() <= 1
    with pytest.raises(InputError, match="needs dpt_2 of shape"):
        generator.draw({name: value for name, value in levels.items() if name != "dpt_2"} | others, ITEMS)


def test_depth_of_a_latents_size_ranges_from_minus_1_to_1():
    draws = torch.Generator().manual_seed(0)
    depths = [torch.rand(384, 384, generator=draws) * 40, torch.rand(37, 51, generator=draws) - 3]
    channel = depth_channel(depths, 64)
    assert channel.shape == (2, 1, 64, 64)
    assert channel.amin((1, 2, 3)).tolist() == [-1, -1] and channel.amax((1, 2, 3)).tolist() == [1, 1]
    # Neither its unit nor its zero matters, nor does another map of the batch.
    torch.testing.assert_close(depth_channel([depths[0] * 7 + 2], 64)[0], channel[0], atol=1e-4, rtol=1e-4)
    assert torch.equal(depth_channel(depths[1:], 64)[0], channel[1])


@pytest.mark.parametrize("value", [0.0, 0.1, 3.7, -1e6])
@pytest.mark.parametrize("shape", [(64, 64), (384, 384), (37, 51)])
def test_constant_depth_is_0(value, shape):
    assert torch.equal(depth_channel([torch.full(shape, value)], 64), torch.zeros(1, 1, 64, 64))


def test_constant_depth_draws_a_picture(load, values):
    given = values | {"depth": [np.full((5, 5), 2.0, np.float32), values["depth"][1]]}
    pictures = in_order(load(scheduler="ddim").draw(given, ITEMS, num_inference_steps=2))
    assert [picture.shape for picture in pictures] == [(SIZE, SIZE, 3)] * 2


def test_filled_up_batches_repeat_the_last_depth():
    sampling = Sampling(random=(), latents=torch.zeros(2, 4, 8, 8)).with_channels(torch.arange(2.0).view(2, 1, 1, 1))
    assert sampling.of_fixed_shape(4).channels.flatten().tolist() == [0, 1, 1, 1]
    assert dataclasses.replace(sampling, channels=None).of_fixed_shape(4).channels is None


def test_another_models_folder_is_refused(folder, tmp_path):
    with pytest.raises(CheckpointError, match="in_channels 4, but that of Stable Diffusion 2 under depth has 5"):
        DepthDiffusionGenerator.from_pretrained(save_generator("sd", tmp_path / "sd"))
    with pytest.raises(CheckpointError, match="in_channels 5, but that of Stable Diffusion has 4"):
        StableDiffusionGenerator.from_pretrained(folder)


def test_it_is_pulled_as_it_is_published(values, load, tmp_path, monkeypatch):
    name = "stable-diffusion-2-depth"
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    write_published(name, tmp_path / "origin", None)
    assert run_command(["weights", "pull", name, "--from", str(tmp_path / "origin")]) == 0
    pulled = DepthDiffusionGenerator.from_pretrained(store.path(name), scheduler="ddim")
    pictures = [in_order(each.draw(values, ITEMS, num_inference_steps=3)) for each in (pulled, load(scheduler="ddim"))]
    np.testing.assert_array_equal(*pictures)
