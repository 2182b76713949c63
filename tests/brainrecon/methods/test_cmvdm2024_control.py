"""CMVDM where it takes long: shapes that stand in the hint alone, drawn by a trained branch. Two minutes of one busy thread."""

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch.nn.functional import mse_loss

from stages.networks.brain_diffusion import BrainDiffusion
from stages.networks.controlled_diffusion import ControlledDiffusion, hint_of
from stages.networks.structure_decoder import StructureDecoder
from stages.priors.noise_process import NoiseProcess

UNET = {
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (16, 32),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 1,
    "cross_attention_dim": 8,
    "class_embed_type": "identity",
    "norm_num_groups": 4,
}
PROCESS = NoiseProcess.scaled_linear(1000, 0.0015, 0.0195)
SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195, "clip_sample": False}


def shapes(which, side):
    """Bars: upright (0) or lying (1), -1 and 1, in three equal channels."""
    place = torch.arange(side)
    inside = ((place >= side // 4) & (place < side - side // 4)).float() * 2 - 1
    upright = inside.expand(side, side)
    return torch.stack([upright if not one else upright.T for one in which])[:, None].expand(-1, 3, -1, -1)


def drawn_shapes(predict, n):
    """Which shape DDIM draws, by the nearer of the two."""
    schedule = DDIMScheduler(**SCHEDULE)
    schedule.set_timesteps(12)
    latents = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    for step in schedule.timesteps:
        with torch.no_grad():
            latents = schedule.step(predict(latents, step.expand(n)), step, latents).prev_sample
    both = shapes([0, 1], 8)
    return torch.stack([((latents - one) ** 2).mean((1, 2, 3)) for one in both]).argmin(dim=0)


@pytest.mark.slow
def test_shapes_that_stand_in_the_hint_alone_are_drawn():
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNET)
    own = {
        "encoder": {"patch_size": 8, "width": 16, "depth": 1, "n_heads": 2},
        "unet": dict(unet.config),
        "tuned": [r".*\.attn2\..*"],
    }
    context, nothing = torch.zeros(16, 4, 8), torch.zeros(16, 64)

    def batch(first=0):
        which = torch.randint(0, 2, (16,))
        latents = shapes(which, 8) + 0.05 * torch.randn(16, 3, 8, 8)
        steps, noise = torch.randint(first, 1000, (16,)), torch.randn(16, 3, 8, 8)
        return which, PROCESS.noisy(latents, noise, steps), steps, noise

    # The model knows both shapes, and nothing tells it which.
    optimiser = torch.optim.AdamW(unet.parameters(), 3e-3)
    for _ in range(300):
        _, noisy, steps, noise = batch()
        loss = mse_loss(unet(noisy, steps, context, class_labels=nothing).sample, noise)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model = BrainDiffusion(30, {"tokens": (4, 8)}, **own, times=False).take_unet(unet)
    structure = StructureDecoder(30, {"structure": (3, 16, 16)}, channels=32)
    network = ControlledDiffusion(
        30, {"residual": (3, 64, 64)}, (4, 8), own | {"times": False}, {"side": 16, "channels": 32}
    )
    network.take(model, structure)
    optimiser = torch.optim.AdamW(network.control.parameters(), 3e-3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(600):
        # In the noisier half, in which the latents do not tell.
        which, noisy, steps, noise = batch(500)
        hint = hint_of((shapes(which, 16) + 1) / 2, torch.zeros(16, 3, 64, 64))
        loss = mse_loss(network.denoise(noisy, steps, context, hint), noise)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    wanted = torch.arange(40) % 2
    context = torch.zeros(40, 4, 8)

    def right(told):
        hint = hint_of((shapes(told, 16) + 1) / 2, torch.zeros(40, 3, 64, 64))
        found = drawn_shapes(lambda noisy, steps: network.denoise(noisy, steps, context, hint), 40)
        return float((found == wanted).float().mean())

    plain = drawn_shapes(lambda noisy, steps: model.denoiser(noisy, steps, context), 40)
    shuffled = wanted[torch.randperm(40, generator=torch.Generator().manual_seed(1))]
    accuracies = right(wanted), right(shuffled), float((plain == wanted).float().mean())
    print("right with the hint, with a shuffled one, without a branch:", accuracies)
    assert accuracies[0] > 0.9 and 0.25 < accuracies[1] < 0.75 and 0.25 < accuracies[2] < 0.75
