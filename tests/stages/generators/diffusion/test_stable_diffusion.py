"""Stable Diffusion without an adapter, held against diffusers' own pipeline from the same latents."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from random_checkpoints import SIZE, save_generator, save_unet, save_vae

from stages.generators.diffusion.latent_diffusion import Row
from stages.generators.diffusion.schedulers import last_timesteps, make_scheduler, noised
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.generators.diffusion.start_rule import COMPVIS, StartRule
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from weights.store import CheckpointError

STEPS = 10
ITEM = Item("nsd00003")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_generator("sd", tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def load(folder):
    return lambda **options: StableDiffusionGenerator.from_pretrained(folder, **options)


@pytest.fixture(scope="module")
def values():
    draws = np.random.default_rng(0)
    return {
        "clip_text": draws.standard_normal((7, 16)).astype(np.float32),
        "first_latent": draws.standard_normal((4, 8, 8)).astype(np.float32),
        "first_picture": draws.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
    }


def row(values, *names, strength=0.8):
    given = {"clip_text": None, "first_picture": None, "first_latent": None} | {name: values[name] for name in names}
    return Row(ITEM.stimulus_id, ITEM.sample, given, {"clip_text": 1.0}, strength)


def theirs(generator, values, pipeline=None, **options):
    return (pipeline or generator.pipeline)(
        prompt_embeds=torch.from_numpy(values["clip_text"])[None],
        negative_prompt_embeds=generator.empty_text[None],
        generator=[item_generator(0, ITEM.stimulus_id, ITEM.sample)],
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        output_type="latent",
        **options,
    ).images


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "unipc"])
@pytest.mark.parametrize("strength", [0.8, 0.3])
def test_from_a_latent_vs_diffusers_pipeline(load, values, scheduler, strength):
    generator = load(scheduler=scheduler)
    ours = generator.latents([row(values, "clip_text", "first_latent", strength=strength)], 0, STEPS, 5.0)
    latents = torch.from_numpy(values["first_latent"])[None]
    torch.testing.assert_close(ours, theirs(generator, values, image=latents, strength=strength), atol=1e-4, rtol=1e-4)


def test_from_a_picture_vs_diffusers_pipeline(load, values):
    generator = load(scheduler="ddim")
    ours = generator.latents([row(values, "clip_text", "first_picture")], 0, STEPS, 5.0)
    pixels = torch.from_numpy(values["first_picture"]).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        latents = generator.pipeline.vae.encode(pixels).latent_dist.mode() * 0.7
    torch.testing.assert_close(ours, theirs(generator, values, image=latents, strength=0.8), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scheduler", ["ddim", None])
def test_from_noise_vs_diffusers_pipeline(load, values, scheduler):
    generator = load(scheduler=scheduler)
    pipeline = StableDiffusionPipeline(**generator.pipeline.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    ours = generator.latents([row(values, "clip_text")], 0, STEPS, 5.0)
    torch.testing.assert_close(ours, theirs(generator, values, pipeline), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def published(generator, values, steps, strength, scale):
    """The order of operations of the published scripts, written out: decode, enlarge, encode, noise, DDIM."""
    vae, unet, alphas = generator.pipeline.vae, generator.pipeline.unet, generator.pipeline.scheduler.alphas_cumprod
    picture = vae.decode(torch.from_numpy(values["first_latent"])[None, :, :5, :5] / 0.7).sample[0]
    picture = ((picture + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy() * 255
    picture = Image.fromarray(picture.astype(np.uint8)).resize((SIZE, SIZE))
    pixels = 2 * torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255 - 1
    random = item_generator(0, ITEM.stimulus_id, ITEM.sample)
    posterior = vae.encode(pixels).latent_dist
    latents = 0.7 * (posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=random))
    timesteps = np.arange(0, 1000, 1000 // steps) + 1
    t_enc = int(strength * steps)
    a = alphas[timesteps[t_enc]]
    latents = a.sqrt() * latents + (1 - a).sqrt() * torch.randn(latents.shape, generator=random)
    for index in range(t_enc)[::-1]:
        t, a = int(timesteps[index]), alphas[timesteps[index]]
        before = alphas[timesteps[index - 1]] if index else alphas[0]
        text = torch.from_numpy(values["clip_text"])[None]
        nothing, under = (unet(latents, t, tokens).sample for tokens in (generator.empty_text[None], text))
        noise = nothing + scale * (under - nothing)
        latents = before.sqrt() * (latents - (1 - a).sqrt() * noise) / a.sqrt() + (1 - before).sqrt() * noise
    return latents


def test_compvis_rule_vs_the_published_order_of_operations(load, values):
    generator = load(scheduler="ddim", start=COMPVIS)
    assert generator.takes["first_latent"] == (4, None, None)
    sized = load(start=dataclasses.replace(COMPVIS, latent_size=5))
    assert sized.takes["first_latent"] == (4, 5, 5)
    smaller = values | {"first_latent": values["first_latent"][:, :5, :5]}
    ours = generator.latents([row(smaller, "clip_text", "first_latent")], 0, STEPS, 5.0)
    torch.testing.assert_close(ours, published(generator, values, STEPS, 0.8, 5.0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["ddim", "dpm++", "unipc", "plms"])
def test_noise_of_the_step_before_is_that_of_its_timestep(name):
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    scheduler = make_scheduler(config | {"timestep_spacing": "leading"}, name)
    whole = sorted(set(last_timesteps(scheduler, 50, 50).tolist()))
    timesteps = last_timesteps(scheduler, 50, 40)
    first = whole.index(int(timesteps[0]))
    latents, noise = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    factors = [float(noised(scheduler, latents, noise, timesteps, earlier=earlier)) for earlier in (0, 1)]
    expected = scheduler.alphas_cumprod[whole[first : first + 2]].sqrt().tolist()
    assert factors == [pytest.approx(each, abs=1e-6) for each in expected]
    if name in ("ddim", "plms"):
        # CompVis noises to timestep 801 and denoises from 781.
        assert whole[first : first + 2] == [781, 801]
        assert factors == [pytest.approx(0.2085, abs=5e-5), pytest.approx(0.1912, abs=5e-5)]
    assert float(noised(scheduler, latents, noise, timesteps)) == factors[0], "it begins where it began"


def test_noise_of_three_steps_before_is_mind_diffusers():
    """It noises by index 37 of the schedule, and denoises 35 steps from index 34."""
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    scheduler = make_scheduler(config | {"timestep_spacing": "leading"}, "ddim")
    rule = StartRule(noised_to="three steps before")
    timesteps = last_timesteps(scheduler, 50, rule.steps(0.7, 50))
    assert (len(timesteps), int(timesteps[0]), rule.earlier) == (35, 681, 3)
    one, nothing = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    factors = [float(noised(scheduler, one, nothing, timesteps, earlier)) for earlier in (0, rule.earlier)]
    assert factors == [pytest.approx(0.3076, abs=5e-5), pytest.approx(0.2457, abs=5e-5)]
    with pytest.raises(InputError, match="3 steps before the first that is denoised, but there are 2"):
        noised(scheduler, one, nothing, last_timesteps(scheduler, 50, 48), rule.earlier)


def test_strength_0_of_a_latent_is_its_picture(load, values):
    generator = load(scheduler="ddim")
    ((_, picture),) = generator.draw({"first_latent": values["first_latent"][None]}, [ITEM], strength=0)
    with torch.no_grad():
        pixels = generator.pipeline.vae.decode(torch.from_numpy(values["first_latent"])[None] / 0.7).sample[0]
    expected = ((pixels.permute(1, 2, 0).numpy() + 1) * 127.5).clip(0, 255).round()
    assert np.abs(picture.astype(int) - expected).max() <= 1


def test_text_may_be_absent_or_must_be_there(load, values):
    start = {"first_latent": values["first_latent"][None]}
    absent = in_order(load(scheduler="ddim").draw(start, [ITEM], num_inference_steps=4))
    empty = start | {"clip_text": load().empty_text[None].numpy()}
    assert np.array_equal(absent, in_order(load(scheduler="ddim").draw(empty, [ITEM], num_inference_steps=4)))
    with pytest.raises(InputError, match=r"needs clip_text of shape \(7, 16\), but was given first_latent"):
        load(text_required=True).draw(start, [ITEM])


def test_one_start_and_no_other(load, values):
    both = {name: value[None] for name, value in values.items()}
    with pytest.raises(InputError, match="first_picture and first_latent, but starts from one"):
        load().draw(both, [ITEM])
    with pytest.raises(InputError, match=r"shape \(4, 5, 5\), but StableDiffusionGenerator reads \(4, 8, 8\)"):
        load().draw({"first_latent": values["first_latent"][None, :, :5, :5]}, [ITEM])
    with pytest.raises(InputError, match="'median'; expected 'mode' or 'sample'"):
        StartRule(posterior="median")


def test_another_models_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="addition_embed_type"):
        StableDiffusionGenerator.from_pretrained(save_generator("sdxl", tmp_path / "xl"))


@pytest.mark.parametrize(("channels", "fits"), [(6, True), (7, False)])
def test_the_network_reads_as_many_channels_as_the_autoencoder_writes(folder, tmp_path, channels, fits):
    for part in ("scheduler", "tokenizer", "text_encoder"):
        shutil.copytree(folder / part, tmp_path / part)
    save_unet(tmp_path / "unet", in_channels=channels, out_channels=6)
    save_vae(tmp_path / "vae", latent_channels=6)
    if not fits:
        with pytest.raises(CheckpointError, match="in_channels 7, but that of Stable Diffusion has 6"):
            StableDiffusionGenerator.from_pretrained(tmp_path)
        return
    generator = StableDiffusionGenerator.from_pretrained(tmp_path)
    assert generator.takes["first_latent"] == (6, 8, 8)
    assert in_order(generator.draw({}, [ITEM], num_inference_steps=2))[0].shape == (SIZE, SIZE, 3)
