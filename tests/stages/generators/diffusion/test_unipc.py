"""UniPC with weights from the CPU, held against diffusers' own."""

import diffusers
import pytest
import torch

from stages.generators.diffusion.unipc import UniPCMultistepScheduler

SETTINGS = [
    {},
    {"solver_order": 1},
    {"solver_order": 3},
    # Without noise at the end, diffusers' own divides by nothing here.
    {"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
    {"solver_order": 3, "predict_x0": False, "final_sigmas_type": "sigma_min"},
    {"prediction_type": "v_prediction", "lower_order_final": False, "final_sigmas_type": "sigma_min"},
    {"use_karras_sigmas": True, "disable_corrector": [0, 1]},
]


def denoised(scheduler, begin, dtype=torch.float32):
    """Latents after all steps of a network that is no straight line."""
    scheduler.set_timesteps(7)
    if begin:
        scheduler.set_begin_index(begin)
    latents = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    for timestep in scheduler.timesteps[begin:]:
        predicted = torch.tanh(latents + timestep / 1000)
        latents = scheduler.step(predicted, timestep, latents, return_dict=False)[0]
    return latents


@pytest.mark.parametrize("begin", [0, 3])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_latents_vs_diffusers(settings, begin):
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012} | settings
    expected = denoised(diffusers.UniPCMultistepScheduler(**config), begin)
    torch.testing.assert_close(denoised(UniPCMultistepScheduler(**config), begin), expected, rtol=2e-5, atol=2e-5)
    assert expected.std() > 0.1


def test_half_precision_vs_double():
    """The sum is taken in float32: it is no further from the truth than diffusers' own."""
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    truth = denoised(diffusers.UniPCMultistepScheduler(**config), 0)
    here, theirs = (
        denoised(kind(**config), 0, torch.float16)
        for kind in (UniPCMultistepScheduler, diffusers.UniPCMultistepScheduler)
    )
    assert here.dtype == torch.float16
    assert (here - truth).abs().mean() <= 1.1 * (theirs - truth).abs().mean()


def test_a_solver_of_its_own_for_the_prediction_is_used():
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    found = []
    for kind in (UniPCMultistepScheduler, diffusers.UniPCMultistepScheduler):
        solver = diffusers.DDIMScheduler(**config, clip_sample=False)
        solver.set_timesteps(7)
        found.append(denoised(kind(**config, solver_p=solver, predict_x0=False), 0))
    torch.testing.assert_close(*found, rtol=2e-5, atol=2e-5)


def test_it_is_stored_under_the_name_of_diffusers(tmp_path):
    UniPCMultistepScheduler(solver_order=3).save_pretrained(tmp_path)
    loaded = diffusers.UniPCMultistepScheduler.from_pretrained(tmp_path)
    assert loaded.config.solver_order == 3 and loaded.config["_class_name"] == "UniPCMultistepScheduler"
