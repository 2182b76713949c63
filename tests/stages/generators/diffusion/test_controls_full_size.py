"""The published sizes of what steers Stable Diffusion 1.5, and one step of it at full size."""

import pytest
import torch
from diffusers import ControlNetModel, T2IAdapter, UNet2DConditionModel
from full_size import random_tensors

from stages.generators.diffusion.control_maps import Control
from stages.generators.diffusion.controls import ControlBranch, ControlBranches, FeatureControlNetModel
from stages.generators.diffusion.sampler import Sampling, denoise
from stages.generators.diffusion.schedulers import last_timesteps, make_scheduler
from stages.generators.diffusion.t2i_adapters import T2IAdapters
from weights import store

SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}


def unet():
    return UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)


def colour_adapter():
    return T2IAdapter(3, [320, 640, 1280], 4, 8, "light_adapter")


def count(network):
    return sum(each.numel() for each in network.parameters())


def test_parameters_of_the_published_networks():
    with torch.device("meta"):
        whole = unet()
        control, adapter = ControlNetModel.from_unet(whole, load_weights_from_unet=False), colour_adapter()
        features = FeatureControlNetModel(cross_attention_dim=768, attention_head_dim=8)
    assert (count(whole), count(control), count(adapter)) == (859_520_964, 361_279_120, 18_689_200)
    hints = control.controlnet_cond_embedding
    assert count(features) == count(control) - count(hints)
    assert not any(name.startswith("controlnet_cond_embedding") for name in features.state_dict())
    # What a pull is said to bring.
    for name, network in (("sd-controlnet-canny", control), ("t2iadapter-color-sd14v1", adapter)):
        (file,) = (file for file in store.checkpoints()[name].files if file.holds_tensors)
        assert file.reckoned == 4 * count(network)


@pytest.mark.slow
def test_one_step_under_a_control_net_and_an_adapter_at_full_size():
    """Five gigabytes; pictures of 256 pixels, which the same layers draw."""
    with torch.device("meta"):
        networks = unet(), ControlNetModel(cross_attention_dim=768, attention_head_dim=8), colour_adapter()
    for network in networks:
        network.load_state_dict(random_tensors(network), assign=True)
        network.eval().requires_grad_(False)
    whole, control, adapter = networks
    steering = [
        ControlBranches([ControlBranch(control, Control("contour", ""))], 256),
        T2IAdapters([(adapter, Control("colour_map", "", (8, 8, 3), "nearest"))], 256),
    ]
    scheduler = make_scheduler(SCHEDULE, "ddim")
    random = torch.Generator().manual_seed(0)
    latents, tokens = torch.randn(1, 4, 32, 32, generator=random), torch.randn(1, 77, 768, generator=random)
    contour, colours = (torch.rand(256, 256, generator=random) > 0.9).float(), torch.rand(8, 8, 3, generator=random)

    def drawn(*scales):
        weights = {"contour": (scales[0],), "colour_map": (scales[1],)}
        timesteps = last_timesteps(scheduler, 1, 1)
        sampling = Sampling(random=(None,), weights=weights, latents=latents, timesteps=timesteps)
        for each, value in zip(steering, (contour, colours)):
            sampling = each.prepare([(value.numpy(),)], sampling)
        return denoise(whole, scheduler, sampling.with_context(tokens, tokens[0]))

    plain, steered = drawn(0.0, 0.0), drawn(1.0, 0.5)
    assert steered.isfinite().all() and steered.shape == (1, 4, 32, 32)
    print(f"change by control and adapter: {(steered - plain).std().item():.4f} of {plain.std().item():.4f}")
    assert (steered - plain).abs().max() > 1e-3
    assert torch.equal(drawn(0.0, 0.0), plain)
