"""The sampler, and pictures from embeddings, held against a loop over diffusers' networks."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from versatile_requests import dual_guided, pictures, requests_for

from stages.generators.diffusion.versatile_diffusion import ddim_scheduler
from weights.store import CheckpointError


def test_sampler_is_ddim_over_the_published_betas(pipeline, parts):
    scheduler = pipeline.scheduler
    assert isinstance(scheduler, DDIMScheduler) and not scheduler.config.clip_sample
    scheduler.set_timesteps(50)
    assert scheduler.timesteps.tolist() == list(range(981, 0, -20))
    assert torch.equal(scheduler.alphas_cumprod, parts["scheduler"].alphas_cumprod)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-4)
    assert scheduler.final_alpha_cumprod == scheduler.alphas_cumprod[0]
    assert pipeline.config.guidance_scale == 7.5


def test_schedulers_without_betas_are_refused(folder):
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in config.items() if name != "beta_end"}))
    with pytest.raises(CheckpointError, match="does not say beta_end"):
        ddim_scheduler(path)


@torch.no_grad()
def by_hand(pipeline, parts, unet, requests, seed, steps, guidance_scale):
    """DDIM from first pictures under diffusers' own networks, written out."""
    from stages.ground.item_seeds import item_generator

    vae, alphas = parts["vae"].eval(), parts["scheduler"].alphas_cumprod
    image, text = (
        torch.tensor(np.stack([getattr(r, f"{name}_context") for r in requests])) for name in ("image", "text")
    )
    nothing = [each.data.expand(len(requests), -1, -1) for each in pipeline.unconditional_contexts.parameters()]
    pixels = torch.tensor(np.stack([r.init_image for r in requests])).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
    noise = torch.cat([torch.randn(1, 4, 8, 8, generator=item_generator(seed, r.stimulus_id, 0)) for r in requests])
    stride = 1000 // steps
    timesteps = [1 + stride * k for k in range(int(steps * requests[0].strength))][::-1]
    latents = alphas[timesteps[0]].sqrt() * latents + (1 - alphas[timesteps[0]]).sqrt() * noise
    for t in timesteps:
        without, under = unet(latents, t, *nothing), unet(latents, t, image, text)
        predicted = without + guidance_scale * (under - without)
        clean = (latents - (1 - alphas[t]).sqrt() * predicted) / alphas[t].sqrt()
        before = alphas[max(t - stride, 0)]
        latents = before.sqrt() * clean + (1 - before).sqrt() * predicted
    decoded = vae.decode(latents / vae.config.scaling_factor).sample
    return ((decoded + 1) * 127.5).clamp(0, 255).round().int().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(
    "weights, strength, seed, guidance_scale",
    [((0.6, 0.4), 0.75, 0, 7.5), ((0.6, 0.4), 0.5, 3, 2.0), ((0.1, 0.9), 0.75, 0, 7.5)],
)
def test_pictures_vs_loop_over_diffusers_networks(
    pipeline, parts, published, monkeypatch, weights, strength, seed, guidance_scale
):
    requests = requests_for(weights, strength)
    result = pictures(pipeline, requests, seed=seed, num_inference_steps=10, guidance_scale=guidance_scale)
    unet = dual_guided(published, monkeypatch, weights[1])
    expected = by_hand(pipeline, parts, unet, requests, seed, 10, guidance_scale)
    assert np.abs(result - expected).max() <= 1
    assert result.std() > 1


def test_strength_guidance_seed_and_weights_matter(pipeline):
    base = pictures(pipeline, requests_for((0.6, 0.4), 0.75), num_inference_steps=8)
    assert np.array_equal(base, pictures(pipeline, requests_for((0.6, 0.4), 0.75), num_inference_steps=8))
    changed = (
        pictures(pipeline, requests_for((0.6, 0.4), 0.5), num_inference_steps=8),
        pictures(pipeline, requests_for((0.4, 0.6), 0.75), num_inference_steps=8),
        pictures(pipeline, requests_for((0.6, 0.4), 0.75), num_inference_steps=8, seed=1),
        pictures(pipeline, requests_for((0.6, 0.4), 0.75), num_inference_steps=8, guidance_scale=3),
    )
    for other in changed:
        assert np.abs(other - base).max() > 1
