"""Stable Diffusion led by layers of CLIP: diffusers' pipeline without guidance, and a guided course by plain torch."""

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from random_checkpoints import save_generator

from stages.generators.diffusion.acceleration import Acceleration
from stages.generators.diffusion.feature_guidance_settings import FeatureGuidanceSettings
from stages.generators.diffusion.latent_diffusion import Row
from stages.generators.diffusion.start_rule import StartRule
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.inverters.guided_diffusion import GuidedDiffusion
from stages.inverters.masked_features import layer_shares
from stages.targets.clip_layers import layers_of
from weights import store

LAYERS = {"clip_block_1": "block 1", "clip_block_3": "block 3"}
SETTINGS = FeatureGuidanceSettings(scale=20.0, share=0.5, multipliers=(1.5, 1.2), self_attention=0.0)
ITEM, STEPS, STRENGTH, SCALE = Item("nsd00003"), 8, 0.5, 3.0
DRAWN = {"num_inference_steps": STEPS, "strength": STRENGTH, "guidance_scale": SCALE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_generator("sd", tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def load(folder):
    def make(settings=SETTINGS, **options):
        given = {"clip": store.path("tiny-clip"), "layers": LAYERS, "normalise": "own"} | options
        return GuidedDiffusion.from_pretrained(folder, scheduler="ddim", settings=settings, **given)

    return make


@pytest.fixture(scope="module")
def values():
    draws = np.random.default_rng(0)
    shapes = {"clip_text": (7, 16), "first_latent": (4, 8, 8), "clip_block_1": (65, 128), "clip_block_3": (65, 128)}
    return {name: draws.standard_normal((2, *shape)).astype(np.float32) for name, shape in shapes.items()}


def with_settings(**changes):
    return dataclasses.replace(SETTINGS, **changes)


def latents_of(generator, values, number=0):
    own = {name: values[name][number] if name in values else None for name in generator.takes}
    row = Row(ITEM.stimulus_id, ITEM.sample, own, {"clip_text": 1.0}, STRENGTH)
    return generator.latents([row], 0, STEPS, SCALE)


# Without guidance


def test_without_guidance_it_is_diffusers_pipeline_to_the_bit(load, values):
    generator = load(with_settings(scale=0.0))
    theirs = StableDiffusionImg2ImgPipeline(**generator.pipeline.components, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    expected = theirs(
        prompt_embeds=torch.from_numpy(values["clip_text"][:1]),
        negative_prompt_embeds=generator.empty_text[None],
        image=torch.from_numpy(values["first_latent"][:1]),
        generator=[item_generator(0, ITEM.stimulus_id, ITEM.sample)],
        num_inference_steps=STEPS,
        strength=STRENGTH,
        guidance_scale=SCALE,
        output_type="latent",
    ).images
    assert latents_of(generator, values).equal(expected)
    assert not latents_of(load(), values).equal(expected)
    assert not latents_of(load(with_settings(scale=0.0, self_attention=0.75)), values).equal(expected)


# Guided


@pytest.mark.parametrize("noise_taken", ["by its deviation", "by its variance"])
def test_a_guided_course_written_out(load, values, noise_taken):
    """Weights, estimate, mixture, decoder, CLIP, gradient, DDIM: by plain torch, with as many guided steps."""
    generator = load(with_settings(noise_taken=noise_taken))
    pipeline, visual = generator.pipeline, generator.looking.model.visual
    random = item_generator(0, ITEM.stimulus_id, ITEM.sample)
    alphas = pipeline.scheduler.alphas_cumprod
    text, latent = (torch.from_numpy(values[name][:1]) for name in ("clip_text", "first_latent"))
    wanted = {layer: torch.from_numpy(values[name][0]) for name, layer in LAYERS.items()}
    by_norm = {layer: 1 / one.norm() for layer, one in wanted.items()}
    weights = {layer: a * by_norm[layer] / sum(by_norm.values()) for layer, a in zip(wanted, (1.5, 1.2))}
    places = [376, 251, 126, 1]
    a = alphas[places[0]]
    x = a.sqrt() * latent + (1 - a).sqrt() * torch.randn(latent.shape[1:], generator=random)[None]
    losses = []
    for number, place in enumerate(places):
        a = alphas[place]
        before = alphas[places[number + 1]] if number < 3 else alphas[0]
        with torch.no_grad():
            nothing, under = (pipeline.unet(x, place, one).sample for one in (generator.empty_text[None], text))
        e = nothing + SCALE * (under - nothing)
        if number < 2:
            leaf = x.detach().requires_grad_()
            noise = pipeline.unet(leaf, place, text).sample
            taken = (1 - a) if noise_taken == "by its variance" else (1 - a).sqrt()
            clean = (leaf - taken * noise) / a.sqrt()
            seen = (1 - a).sqrt() * clean + (1 - (1 - a).sqrt()) * leaf
            picture = (pipeline.vae.decode(seen / 0.7).sample / 2 + 0.5).clamp(0, 1)
            picture = torch.nn.functional.interpolate(
                picture, size=(64, 64), mode="bilinear", antialias=True, align_corners=False
            )
            found = layers_of(visual, (picture - 0.5) / 0.25, tuple(LAYERS.values()))
            loss = sum(weights[layer] * ((found[layer][0] - one) ** 2).mean() for layer, one in wanted.items())
            (slope,) = torch.autograd.grad(-20.0 * loss, leaf)
            e = e - (1 - a).sqrt() * slope
            losses.append(loss.item())
        x = before.sqrt() * (x - (1 - a).sqrt() * e) / a.sqrt() + (1 - before).sqrt() * e
    torch.testing.assert_close(latents_of(generator, values), x.detach(), rtol=1e-3, atol=1e-3)
    assert float((x.detach() - latents_of(load(with_settings(scale=0.0)), values)).abs().max()) > 0.05


def test_shares_of_the_layers():
    """They sum to 1 before the multipliers, and a layer of twice the norm counts half as much against the others."""
    wanted = {str(number): np.random.default_rng(number).standard_normal((50, 768)) for number in range(6)}
    shares = layer_shares(wanted, (1.0,) * 6)
    assert sum(shares.values()) == pytest.approx(1)
    doubled = layer_shares(wanted | {"0": 2 * wanted["0"]}, (1.5, 1.2, 1.0, 1.0, 1.0, 1.0))
    assert doubled["0"] / 1.5 / doubled["5"] == pytest.approx(0.5 * shares["0"] / shares["5"])


def test_absent_layers_leave_their_share_to_the_others(load, values):
    one = load(layers={"clip_block_3": "block 3"}, settings=with_settings(multipliers=(1.2,)))
    without = values | {"clip_block_1": [None, None]}
    torch.testing.assert_close(latents_of(load(), without), latents_of(one, values), rtol=1e-5, atol=1e-5)
    nothing = without | {"clip_block_3": [None, None]}
    assert latents_of(load(), nothing).equal(latents_of(load(with_settings(scale=0.0)), values))


def test_pictures_do_not_depend_on_those_beside_them(load, values):
    """To a grey level, with both guidances, of two pictures and of one."""
    generator, items = load(with_settings(self_attention=0.75)), [ITEM, Item("nsd00007", 1)]
    together = np.stack(in_order(generator.draw(values, items, batch_size=2, **DRAWN))).astype(int)
    alone = np.stack(in_order(generator.draw(values, items, batch_size=1, **DRAWN)))
    assert np.abs(together - alone).max() <= 1 and np.abs(together[0] - together[1]).max() > 3


def test_noise_of_the_step_before(load, values):
    """Of 37 steps of 50: noised as at 741, and denoised from 721; the script's noise is that of 740."""
    scheduler = load().pipeline.scheduler
    generator = load(start=StartRule(noised_to="step before"))
    own = {name: values[name][0] if name in values else None for name in generator.takes}
    row = Row(ITEM.stimulus_id, ITEM.sample, own, {"clip_text": 1.0}, 0.75)
    sampling = generator.prepared([row], 0, 50, SCALE)
    assert (len(sampling.timesteps), int(sampling.timesteps[0])) == (37, 721)
    noise = torch.randn(4, 8, 8, generator=item_generator(0, ITEM.stimulus_id, ITEM.sample))
    share = scheduler.alphas_cumprod[741]
    expected = share.sqrt() * torch.from_numpy(values["first_latent"][0]) + (1 - share).sqrt() * noise
    torch.testing.assert_close(sampling.latents[0], expected)
    assert [type(one).__name__ for one in sampling.corrections] == ["function"]


# Refusals


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"settings": FeatureGuidanceSettings()}, "2 layers with 6 multipliers"),
        ({"layers": {}}, "0 layers with 2 multipliers"),
        ({"acceleration": Acceleration(compile=True)}, "compile is True"),
        ({"acceleration": Acceleration(offload="model")}, "offload 'model'"),
    ],
)
def test_what_cannot_be_is_refused(load, options, said):
    with pytest.raises(InputError, match=said):
        load(**options)
