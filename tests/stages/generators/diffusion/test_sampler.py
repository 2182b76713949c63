"""The sampler, held against a loop written out over diffusers' own parts."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.latent_diffusion import Row
from stages.generators.diffusion.sampler import Sampling, denoise, mixture
from stages.generators.diffusion.schedulers import SOLVERS, last_timesteps, make_scheduler
from stages.ground.item_seeds import item_generator

N = 3


def rows(weights=(1.0, 0.0), strength=0.75, start="first_picture"):
    """Three pictures for the tiny network of two contexts."""
    draws = np.random.default_rng(1)
    made = []
    for number in range(N):
        values = {
            "clip_image": draws.standard_normal((5, 16)).astype(np.float32),
            "clip_text": draws.standard_normal((3, 16)).astype(np.float32),
            "first_picture": draws.integers(0, 256, (16, 16, 3), dtype=np.uint8),
            "first_latent": draws.standard_normal((4, 8, 8)).astype(np.float32),
        }
        values |= {name: None for name in ("first_picture", "first_latent") if name != start}
        made.append(Row(f"nsd{number}", 0, values, dict(zip(("clip_image", "clip_text"), weights)), strength))
    return made


def plain_unet(unet):
    """diffusers' own UNet that carries the image context's transformers."""
    names = inspect.signature(UNet2DConditionModel.__init__).parameters.keys() & unet.config.keys()
    plain = UNet2DConditionModel(**{name: unet.config[name] for name in names})
    plain.load_state_dict(
        {
            name.replace(".transformers.0", ""): tensor
            for name, tensor in unet.state_dict().items()
            if ".transformers.1." not in name
        }
    )
    return plain.eval()


@torch.no_grad()
def by_hand(pipeline, given, *, steps, skipped, guidance_scale):
    """DDIM image to image under the image context, its update rule written out (eta 0, noise prediction)."""
    images = np.stack([row.values["first_picture"] for row in given])
    contexts = torch.from_numpy(np.stack([row.values["clip_image"] for row in given]))
    unet, vae = plain_unet(pipeline.unet), pipeline.vae
    alphas = pipeline.scheduler.alphas_cumprod
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = vae.encode(pixels).latent_dist.mode() * 0.7
    generators = [item_generator(0, row.stimulus_id, row.sample) for row in given]
    noise = torch.cat([torch.randn(1, 4, 8, 8, generator=generator) for generator in generators])
    stride = 1000 // steps
    timesteps = [1 + stride * k for k in range(steps)][::-1][skipped:]
    latents = alphas[timesteps[0]].sqrt() * latents + (1 - alphas[timesteps[0]]).sqrt() * noise
    for t in timesteps:
        nothing = pipeline.unconditional_contexts.image.expand(N, -1, -1)
        without, under = unet(latents, t, nothing).sample, unet(latents, t, contexts).sample
        predicted = without + guidance_scale * (under - without)
        clean = (latents - (1 - alphas[t]).sqrt() * predicted) / alphas[t].sqrt()
        before = alphas[t - stride] if t > stride else alphas[0]
        latents = before.sqrt() * clean + (1 - before).sqrt() * predicted
    return latents


@pytest.mark.parametrize("steps, strength, skipped", [(50, 0.75, 13), (10, 0.5, 5)])
def test_image_context_alone_vs_loop_by_hand(pipeline, steps, strength, skipped):
    given = rows(strength=strength)
    result = DualContextGenerator(pipeline).latents(given, 0, steps, 3.0)
    expected = by_hand(pipeline, given, steps=steps, skipped=skipped, guidance_scale=3.0)
    torch.testing.assert_close(result, expected, atol=2e-3, rtol=1e-3)


def test_strength_three_quarters_of_fifty_is_37_steps_from_the_timestep_that_was_noised(pipeline, monkeypatch):
    """The published script noises to timestep 741 and denoises from 721; here both are 721."""
    noised = []
    add_noise = pipeline.scheduler.add_noise
    monkeypatch.setattr(
        pipeline.scheduler, "add_noise", lambda x, e, t: (noised.extend(t.tolist()), add_noise(x, e, t))[1]
    )
    sampling = DualContextGenerator(pipeline).prepared(rows((0.6, 0.4)), 0, 50, 3.0)
    assert noised == [721] * N
    assert sampling.timesteps.tolist() == list(range(721, 0, -20)) and len(sampling.timesteps) == 37


def test_guidance_of_one_vs_conditional_half_alone(pipeline):
    seen = []
    pipeline.unet.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    generator, given = DualContextGenerator(pipeline), rows((0.6, 0.4), 0.5)
    first, second = (generator.latents(given, 0, 4, scale) for scale in (1, 1 + 1e-9))
    assert seen == [N, N, 2 * N, 2 * N]
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def test_which_rows_read_a_context_is_known_before_the_loop():
    found = mixture([(0.6, 0.0, 1.0), (0.4, 0.5, 0.1)], torch.device("cpu"), torch.float32)
    assert found["context_weights"].tolist() == [
        pytest.approx([0.6, 0.4]), pytest.approx([0.0, 0.5]), pytest.approx([1.0, 0.1])
    ]  # fmt: skip
    image, text = found["context_rows"]
    assert image.tolist() == [0, 2] and text is None
    assert mixture([(0.0,), (1.0,)], torch.device("cpu"), torch.float32)["context_rows"] == ((), None)


def test_a_control_adds_to_what_the_network_is_called_with(pipeline):
    """The place of a ControlNet: residuals of zeros change nothing, others do."""

    def residual(size):
        def control(latents, timestep, tokens, arguments):
            everywhere = torch.full((1, 1, 1, 1), size)
            return {"down_block_additional_residuals": (everywhere,) * 4, "mid_block_additional_residual": everywhere}

        return control

    generator = DualContextGenerator(pipeline)
    sampling = generator.prepared(rows((0.6, 0.4)), 0, 4, 3.0)
    plain = denoise(pipeline.unet, pipeline.scheduler, sampling)
    drawn = []
    for size in (0.0, 1.0):
        sampling = dataclasses.replace(generator.prepared(rows((0.6, 0.4)), 0, 4, 3.0), controls=(residual(size),))
        drawn.append(denoise(pipeline.unet, pipeline.scheduler, sampling))
    torch.testing.assert_close(drawn[0], plain, atol=1e-5, rtol=1e-5)
    assert (drawn[1] - plain).abs().max() > 1e-2


@pytest.mark.parametrize("name", SOLVERS)
def test_a_sampling_by_hand_is_enough_for_the_sampler(name):
    """Any callable that looks like a UNet will do; one that predicts the noise exactly leads back to nothing but it."""

    def network(sample, timestep, tokens, return_dict):
        assert tokens is None and not return_dict
        return (sample * 0,)

    scheduler = make_scheduler({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
                                "steps_offset": 1, "timestep_spacing": "leading"}, name)  # fmt: skip
    timesteps = last_timesteps(scheduler, 8, 8)
    latents = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    sampling = Sampling(random=(), latents=latents, timesteps=timesteps)
    result = denoise(network, scheduler, sampling)
    ratio = result / latents
    torch.testing.assert_close(ratio, ratio[:1, :1, :1, :1].expand_as(ratio), rtol=1e-4, atol=1e-4)
