"""Euler steps over the training's noise levels: the published lists, and DDIM written out."""

import numpy as np
import pytest
import torch

from stages.generators.diffusion.sampler import Sampling, denoise
from stages.generators.diffusion.schedulers import last_timesteps
from stages.generators.diffusion.start_rule import denoising_steps
from stages.generators.diffusion.table_euler import SDXL_SCHEDULE, TableEulerScheduler


@pytest.fixture
def scheduler():
    return TableEulerScheduler(**SDXL_SCHEDULE)


def table():
    """The 1,000 noise levels in double precision, from the least to the most."""
    kept = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    return np.sqrt((1 - kept) / kept)


def test_levels_of_38_steps_are_the_published_ones(scheduler):
    scheduler.set_timesteps(38)
    levels = scheduler.timesteps.tolist()
    assert levels[:3] == [999, 972, 946] and levels[-1] == 26 and len(levels) == 38
    np.testing.assert_allclose(scheduler.sigmas[[0, 1, 37, 38]], [14.6146, 12.4444, 0.157970, 0], rtol=1e-5)
    np.testing.assert_allclose(scheduler.sigmas[:-1], table()[np.int64(levels)], rtol=2e-5)
    assert scheduler.init_noise_sigma == scheduler.sigmas[0]


def test_a_redrawing_begins_at_position_13_from_the_end_of_25_steps(scheduler):
    steps = denoising_steps(0.48, 25)
    timesteps = last_timesteps(scheduler, 25, steps)
    assert steps == len(timesteps) == 12 and timesteps[0] == 479
    assert scheduler.sigmas[-13] == scheduler.sigmas[scheduler.begin_index]
    np.testing.assert_allclose(scheduler.sigmas[-13], 1.50919, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 25, 38, 50, 1000])
def test_the_first_level_is_always_the_noisiest_and_all_are_of_the_table(scheduler, steps):
    scheduler.set_timesteps(steps)
    levels = scheduler.timesteps.numpy()
    assert levels[0] == 999 and len(levels) == steps and (np.diff(levels) < 0).all() and levels[-1] >= 0
    np.testing.assert_array_equal(levels, levels.astype(int))


class Oracle:
    """Stands in for a UNet: a noise that is any smooth function of what it reads and of the time."""

    def __call__(self, rows, timestep, tokens, **others):
        return (torch.tanh(rows + tokens.mean((1, 2)).view(-1, 1, 1, 1)) * (1 + timestep / 2000),)


def test_with_a_predicted_noise_it_equals_ddim_on_the_same_levels(scheduler):
    random = torch.Generator().manual_seed(0)
    noise, tokens = torch.randn(2, 4, 8, 8, generator=random), torch.randn(2, 3, 5, generator=random)
    scheduler.set_timesteps(38)
    first = scheduler.sigmas[0]
    start = noise * (1 + first**2).sqrt()
    sampling = Sampling(
        random=(), latents=start, timesteps=last_timesteps(scheduler, 38, 38), guidance_scale=5.0
    ).with_context(tokens, -tokens)
    found = denoise(Oracle(), scheduler, sampling)

    # DDIM with eta 0, on the scale at which noised latents have a variance of one, and its last step to no noise.
    kept = 1 / (1 + table() ** 2)
    levels = np.linspace(999, 0, 38, endpoint=False).astype(int)
    x, before = noise.double(), tokens.double()
    for level, following in zip(levels, [*levels[1:], None]):
        without, conditional = (Oracle()(x, level, each)[0] for each in (-before, before))
        predicted = without + 5 * (conditional - without)
        clean = (x - (1 - kept[level]) ** 0.5 * predicted) / kept[level] ** 0.5
        after = 1.0 if following is None else kept[following]
        x = after**0.5 * clean + (1 - after) ** 0.5 * predicted
    np.testing.assert_allclose(found, x, rtol=2e-4, atol=2e-4)


def test_guidance_of_noise_is_guidance_of_what_is_denoised(scheduler):
    """One step as published: D = x − σ·ε of both halves, D_u + 5·(D_c − D_u), then x + (x − D)/σ · (σ' − σ)."""
    random = torch.Generator().manual_seed(1)
    x, tokens = 14 * torch.randn(1, 4, 8, 8, generator=random), torch.randn(1, 3, 5, generator=random)
    timesteps = last_timesteps(scheduler, 38, 38)[:1]
    sampling = Sampling(random=(), latents=x, timesteps=timesteps, guidance_scale=5.0)
    found = denoise(Oracle(), scheduler, sampling.with_context(tokens, -tokens))
    sigma, following = table()[999], table()[972]
    scaled = x / (sigma**2 + 1) ** 0.5
    without, conditional = (x - sigma * Oracle()(scaled, 999, each)[0] for each in (-tokens, tokens))
    denoised = without + 5 * (conditional - without)
    np.testing.assert_allclose(found, x + (x - denoised) / sigma * (following - sigma), rtol=1e-4, atol=1e-4)
