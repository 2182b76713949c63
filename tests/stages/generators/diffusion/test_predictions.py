"""What predictions say of latents, held against diffusers' DDIM."""

import pytest
import torch
from diffusers import DDIMScheduler

from stages.generators.diffusion.predictions import noise_of, prediction_of, signal_share


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_noise_and_its_change_are_those_of_ddim(kind):
    scheduler = DDIMScheduler(prediction_type=kind, clip_sample=False)
    scheduler.set_timesteps(10)
    random = torch.Generator().manual_seed(0)
    value, latents = (torch.randn(1, 4, 3, 3, generator=random) for _ in range(2))
    timestep = scheduler.timesteps[3]
    share = signal_share(scheduler, timestep)
    assert float(share) == float(scheduler.alphas_cumprod[int(timestep)])

    def clean(prediction):
        return scheduler.step(prediction, timestep, latents).pred_original_sample

    noise = noise_of(value, latents, share, kind)
    torch.testing.assert_close((latents - (1 - share).sqrt() * noise) / share.sqrt(), clean(value))
    # A change of the noise, through the prediction, changes the clean latents as it should.
    change = torch.full_like(latents, 0.1)
    moved = clean(value + prediction_of(change, share, kind)) - clean(value)
    torch.testing.assert_close(moved, -(1 - share).sqrt() / share.sqrt() * change, rtol=1e-4, atol=1e-5)
