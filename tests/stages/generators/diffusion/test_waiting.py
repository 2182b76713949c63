"""The denoising loop of every generator, with every solver, on a device that nobody may wait for.

The device is torch's meta device: its tensors have shapes and no values, and `Waits` refuses whatever would ask for some. See
there for what it cannot see. Timesteps and the solvers' tables are on the CPU, and may be asked.
"""

import dataclasses

import numpy as np
import pytest
import torch
from gpu_parts.waits import Waits, WouldWait

from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.latent_diffusion import Row
from stages.generators.diffusion.sampler import Sampling, denoise
from stages.generators.diffusion.schedulers import DETERMINISTIC, SOLVERS, last_timesteps, make_scheduler, noised

N = 3
KINDS = ("versatile", "sd", "sdxl", "unclip", "kandinsky", "variations")
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}


def on(value, device):
    """Tensors anywhere in a sampling, moved to a device; timesteps stay on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: on(each, device) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(on(each, device) for each in value)
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.name not in ("timesteps", "random")]
        changed = {name: on(getattr(value, name), device) for name in names}
        return dataclasses.replace(value, **changed)
    return value


def rows_for(generator, strength=0.75):
    """Pictures of unlike weights: one without text, one without an image, one with both, as far as the generator goes."""
    draws = np.random.default_rng(1)
    made = []
    for number in range(N):
        values = {
            name: draws.standard_normal(shape).astype(np.float32)
            for name, shape in generator.takes.items()
            if name not in ("first_picture", "first_latent")
        }
        values |= {"first_picture": draws.integers(0, 256, (16, 16, 3), dtype=np.uint8), "first_latent": None}
        weights = dict.fromkeys(generator.default_weights, 0.8)
        if isinstance(generator, DualContextGenerator) and number < 2:
            weights[("clip_image", "clip_text")[number]] = 0.0
        made.append(Row(f"nsd{number}", 0, values, weights, strength))
    return made


def loop_without_values(generator):
    """Run a generator's loop on the meta device; the latents, and what waited."""
    sampling = generator.prepared(rows_for(generator), 0, 3, 3.0)
    sampling = dataclasses.replace(on(sampling, "meta"), device=torch.device("meta"))
    unet = generator.pipeline.unet.to("meta")
    with Waits("meta", forbid=True):
        return denoise(unet, generator.pipeline.scheduler, sampling)


def solved_without_values(scheduler, steps=6):
    """Run the loop around a network of one line on the meta device; the latents."""
    latents = torch.empty(2, 4, 8, 8, device="meta")
    timesteps = last_timesteps(scheduler, 8, steps)
    latents = noised(scheduler, latents, torch.empty_like(latents), timesteps)
    with Waits("meta", forbid=True):
        return denoise(
            lambda rows, timestep, tokens, return_dict: (rows * timestep,),
            scheduler,
            Sampling(random=(), latents=latents, timesteps=timesteps, guidance_scale=3.0),
        )


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_of_any_network_waits_for_the_device(load_generator, pipeline, kind):
    """With each generator's own rows: other tests see to the solvers."""
    generator = DualContextGenerator(pipeline) if kind == "versatile" else load_generator(kind, scheduler="ddim")
    latents = loop_without_values(generator)
    assert latents.device.type == "meta" and latents.shape == (N, 4, 8, 8)


@pytest.mark.parametrize("written_by", DETERMINISTIC)
def test_no_step_of_any_solver_waits_for_the_device(written_by):
    scheduler = make_scheduler(BETAS | {"_class_name": written_by, "skip_prk_steps": True})
    assert solved_without_values(scheduler).shape == (2, 4, 8, 8)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("solver", ["dpm++", "unipc"])
def test_no_step_of_another_order_waits_for_the_device(solver, order):
    assert solved_without_values(make_scheduler(BETAS | {"solver_order": order}, solver)).shape == (2, 4, 8, 8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solvers_tables_stay_on_the_cpu_when_a_start_is_noised(solver):
    scheduler = make_scheduler(BETAS, solver)
    latents = torch.empty(2, 4, 8, 8, device="meta")
    timesteps = last_timesteps(scheduler, 8, 6)
    assert noised(scheduler, latents, torch.empty_like(latents), timesteps).device.type == "meta"
    tables = [value for value in vars(scheduler).values() if isinstance(value, torch.Tensor)]
    assert tables and {table.device.type for table in tables} == {"cpu"}


ASKING = {
    "a number": lambda x: x.sum().item(),
    "a decision": lambda x: bool(x.sum() > 0),
    "a list": lambda x: x.tolist(),
    "places": lambda x: x.nonzero(),
    "a mask": lambda x: x[x > 0],
    "a mask to write by": lambda x: x.clone().__setitem__(x > 0, x[0, 0, 0, 0]),
    "chosen values": lambda x: x.masked_select(x > 0),
    "a copy": lambda x: x.cpu(),
    "a copy into another": lambda x: torch.empty(x.shape).copy_(x),
    "a copy to the device": lambda x: torch.ones(2).to(x.device),
    "rows by indices on the CPU": lambda x: x[torch.tensor([0, 1])],
    "an equation": lambda x: torch.linalg.solve(x[..., :4, :4], x[..., :4, :4]),
    "equality": lambda x: torch.equal(x, x),
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_whoever_would_wait_is_noticed(pipeline, ask):
    pipeline.unet.conv_in.register_forward_hook(lambda module, given, output: (ask(output), None)[1])
    with pytest.raises(WouldWait, match="aten"):
        loop_without_values(DualContextGenerator(pipeline))


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x[torch.zeros(2, dtype=torch.long, device=x.device)],
        lambda x: torch.ones(2).to(x.device, non_blocking=True),
        lambda x: x * torch.tensor(2.0),
        lambda x: x.masked_fill(x > 0, 0.0),
    ],
    ids=["rows by indices there", "a copy that is not waited for", "a number of the CPU", "a mask to fill"],
)
def test_what_need_not_wait_is_let_through(pipeline, ask):
    pipeline.unet.conv_in.register_forward_hook(lambda module, given, output: (ask(output), None)[1])
    assert loop_without_values(DualContextGenerator(pipeline)).shape == (N, 4, 8, 8)


def test_waits_are_counted():
    values = torch.ones(3)
    with Waits("cpu") as waits:
        assert values.sum().item() == 3 and values.max().item() == 1 and len(values.nonzero()) == 3
    assert waits.found == {"aten._local_scalar_dense": 2, "aten.nonzero": 1}
