"""Solvers, held against the exact solution that the denoising equation has for Gaussian data."""

import json

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
)
from picture_requests import pictures

from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.schedulers import last_timesteps, make_scheduler, read_scheduler
from stages.generators.diffusion.unipc import UniPCMultistepScheduler
from stages.ground.errors import InputError
from weights.store import CheckpointError

BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
SPREAD = 0.5


def written(scheduler):
    """A configuration as a file holds it, with the name of its class."""
    return json.loads(scheduler.to_json_string())


CONFIGS = {
    "ddim": written(DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False)),
    "pndm": written(PNDMScheduler(**BETAS, skip_prk_steps=True)),
    "euler": written(EulerDiscreteScheduler(**BETAS, timestep_spacing="leading")),
}


def solved(scheduler, steps, share):
    """Denoise data of standard deviation SPREAD by their exact score; return the factor on the first latents.

    With variance ``v = a · SPREAD² + 1 − a`` at each timestep, the exact factor is ``SPREAD / sqrt(v)``.
    """
    timesteps = last_timesteps(scheduler, steps, share)
    alphas = scheduler.alphas_cumprod.double()
    first = alphas[int(timesteps[0])]
    variance = first * SPREAD**2 + 1 - first
    start = torch.full((1, 1, 1, 1), float(variance.sqrt()), dtype=torch.float64)
    # Euler's latents are scaled so that the picture in them keeps its size.
    latents = start / first.sqrt() if isinstance(scheduler, EulerDiscreteScheduler) else start
    for timestep in timesteps:
        a = alphas[int(timestep)]
        scaled = scheduler.scale_model_input(latents, timestep)
        noise = scaled * (1 - a).sqrt() / (a * SPREAD**2 + 1 - a)
        latents = scheduler.step(noise, timestep, latents, return_dict=False)[0]
    return float(latents / SPREAD)


@pytest.mark.parametrize("share", [100, 75, 30])
@pytest.mark.parametrize("name", [None, "ddim", "dpm++", "unipc"])
@pytest.mark.parametrize("config", CONFIGS)
def test_solvers_reach_the_exact_solution_from_any_step(config, name, share):
    assert solved(make_scheduler(CONFIGS[config], name), 100, share) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("share", [75, 30])
def test_pndm_started_midway_is_as_close_as_from_noise(share):
    scheduler = make_scheduler(CONFIGS["pndm"])
    assert solved(scheduler, 100, share) == pytest.approx(solved(scheduler, 100, 100), abs=1e-3)


def test_pndm_evaluates_its_second_timestep_twice_wherever_it_starts():
    scheduler = make_scheduler(CONFIGS["pndm"])
    whole = last_timesteps(scheduler, 10, 10).tolist()
    assert whole == [901, 801, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert last_timesteps(scheduler, 10, 4).tolist() == [301, 201, 201, 101, 1]
    assert last_timesteps(scheduler, 10, 1).tolist() == [1]
    assert last_timesteps(scheduler, 1, 1).tolist() == [1]


@pytest.mark.parametrize("name", ["ddim", "dpm++", "unipc"])
def test_other_solvers_do_the_last_timesteps(name):
    scheduler = make_scheduler(CONFIGS["pndm"], name)
    whole = last_timesteps(scheduler, 10, 10).tolist()
    assert len(whole) == 10 and last_timesteps(scheduler, 10, 4).tolist() == whole[6:]
    assert last_timesteps(scheduler, 10, 10).tolist() == whole


def test_names_and_the_noise_schedule_are_kept():
    config = dict(CONFIGS["pndm"]) | {"prediction_type": "v_prediction"}
    for name, solver in (
        (None, PNDMScheduler),
        ("ddim", DDIMScheduler),
        ("dpm++", DPMSolverMultistepScheduler),
        ("unipc", UniPCMultistepScheduler),
        ("plms", PNDMScheduler),
    ):
        scheduler = make_scheduler(config, name)
        assert type(scheduler) is solver
        assert scheduler.config.prediction_type == "v_prediction"
        assert torch.allclose(scheduler.alphas_cumprod, PNDMScheduler.from_config(config).alphas_cumprod)
        assert not getattr(scheduler.config, "clip_sample", False)


def test_a_learned_variance_and_a_stochastic_algorithm_are_left_out():
    learned = written(DDPMScheduler(variance_type="learned_range", clip_sample=False))
    for name in ("ddim", "dpm++", "unipc"):
        assert make_scheduler(learned, name).config.get("variance_type") is None
    stochastic = written(DPMSolverMultistepScheduler(**BETAS, algorithm_type="sde-dpmsolver++"))
    assert make_scheduler(stochastic, "dpm++").config.algorithm_type == "dpmsolver++"


@pytest.mark.parametrize(
    "config",
    [
        written(DDPMScheduler()),
        written(EulerAncestralDiscreteScheduler()),
        written(DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++")),
        {"_class_name": "SomebodysScheduler"},
        {},
    ],
    ids=["ddpm", "ancestral", "sde", "unknown", "nameless"],
)
def test_schedulers_that_draw_noise_are_refused(config):
    with pytest.raises(InputError, match="draws noise at every step or is not known.*'ddim', 'dpm"):
        make_scheduler(config)


def test_runge_kutta_steps_and_other_names_are_refused():
    with pytest.raises(InputError, match="skip_prk_steps false"):
        make_scheduler(written(PNDMScheduler(**BETAS)))
    with pytest.raises(InputError, match="'heun'; expected one of 'ddim', 'dpm\\+\\+', 'unipc'"):
        make_scheduler(CONFIGS["ddim"], "heun")


def test_folders_are_read(tmp_path):
    PNDMScheduler(**BETAS, skip_prk_steps=True).save_pretrained(tmp_path / "scheduler")
    assert type(read_scheduler(tmp_path)) is PNDMScheduler
    assert read_scheduler(tmp_path, "unipc").config.beta_end == 0.012
    with pytest.raises(InputError, match="'heun'"):
        read_scheduler(tmp_path, "heun")
    path = tmp_path / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"beta_schedule": "unknown"}))
    with pytest.raises((CheckpointError, NotImplementedError), match="beta_schedule|unknown"):
        read_scheduler(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match="scheduler_config.json is absent"):
        read_scheduler(tmp_path)


@pytest.mark.parametrize("name", ["ddim", "dpm++", "unipc", "plms"])
def test_the_dual_context_generator_takes_them(pipeline, make_request, name):
    pipeline.scheduler = make_scheduler(pipeline.scheduler.config, name)
    generator = DualContextGenerator(pipeline)
    for picture in (make_request(0).init_image, None):
        requests = [make_request(number, init_image=picture) for number in range(2)]
        together = pictures(generator, requests, num_inference_steps=6)
        alone = pictures(generator, requests[:1], num_inference_steps=6)[0]
        assert abs(together[0].astype(int) - alone).max() <= 1 and together[0].std() > 1
