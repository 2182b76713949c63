"""Solvers of the denoising equation that draw no noise of their own, and where a picture's share of the steps starts.

The noise of a picture is drawn once, before the first step, from its own random generator. Solvers that draw more at
every step (ancestral and stochastic ones) are refused: their pictures change with every other number of steps.
"""

from pathlib import Path

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    SchedulerMixin,
)

from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.generators.diffusion.unipc import UniPCMultistepScheduler
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

SOLVERS = {
    "ddim": DDIMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
    "plms": PNDMScheduler,
}
# What a solver that is asked for by name must have, whatever the configuration says.
CHANGED = {"dpm++": {"algorithm_type": "dpmsolver++"}, "plms": {"skip_prk_steps": True}}
DETERMINISTIC = {cls.__name__: cls for cls in (*SOLVERS.values(), EulerDiscreteScheduler)}


def read_scheduler(folder, name=None):
    """Build the scheduler of a generator's folder.

    Parameters
    ----------
    folder : path
        Holds ``scheduler/scheduler_config.json``.
    name : {"ddim", "dpm++", "unipc", "plms"}, optional
        See `make_scheduler`.

    Returns
    -------
    scheduler : diffusers.SchedulerMixin

    Raises
    ------
    CheckpointError
        The file is absent or does not describe a scheduler.
    InputError
        See `make_scheduler`.
    """
    path = Path(folder) / "scheduler" / "scheduler_config.json"
    config = read_json_object(path, "scheduler")
    solver = _solver(config, name)
    with refusing_values(solver.__name__, path):
        return _built(solver, config, name)


def make_scheduler(config, name=None):
    """Build a deterministic solver over a noise schedule.

    Parameters
    ----------
    config : mapping
        A scheduler's configuration: the noise schedule, the kind of prediction, where timesteps lie.
    name : {"ddim", "dpm++", "unipc", "plms"}, optional
        DDIM (Song and others, 2021); DPM-Solver++ (Lu and others, 2022) or UniPC (Zhao and others, 2023), both of order
        two and made for fewer steps; PLMS (Liu and others, 2022). By default the configuration's own class.

    Returns
    -------
    scheduler : diffusers.SchedulerMixin
        Predicted variances are not used, and latents are not clipped unless the configuration says so.

    Raises
    ------
    InputError
        Another name; or the configuration's own class draws noise at every step, or is not known here, or spends
        extra evaluations on Runge-Kutta steps, which would make shares of steps wrong.
    """
    return _built(_solver(config, name), config, name)


def _solver(config, name):
    """Return the class that is asked for."""
    if name in SOLVERS:
        return SOLVERS[name]
    if name is not None:
        meant = did_you_mean(name, SOLVERS)
        raise InputError(f"scheduler is {name!r}; expected one of {_names()}, or None for the folder's own{meant}.")
    written_by = config.get("_class_name")
    solver = DETERMINISTIC.get(written_by)
    if solver is None or str(config.get("algorithm_type", "")).startswith("sde"):
        raise InputError(
            f"The folder's scheduler is {written_by}, which draws noise at every step or is not known here; expected "
            f"one of {', '.join(sorted(DETERMINISTIC))} without noise; pass scheduler= one of {_names()}."
        )
    if solver is PNDMScheduler and not config.get("skip_prk_steps", False):
        raise InputError(
            "The folder's PNDMScheduler has skip_prk_steps false, and its extra Runge-Kutta evaluations leave no "
            f"share of the steps to start from; expected true; pass scheduler= one of {_names()}."
        )
    return solver


def _built(solver, config, name):
    # diffusers' DPM-Solver++ cuts a predicted variance off at three channels, and its DDIM takes it for granted.
    config = {key: value for key, value in config.items() if key != "variance_type"}
    if solver is DDIMScheduler:
        # Its default clips latents as if they were pictures; other classes have no such value to hand over.
        config.setdefault("clip_sample", False)
    return solver.from_config(config, **CHANGED.get(name, {}))


def _names():
    return ", ".join(repr(name) for name in SOLVERS)


def last_timesteps(scheduler: SchedulerMixin, num_inference_steps, steps):
    """Set a scheduler up and return the timesteps of its last steps.

    Parameters
    ----------
    scheduler : diffusers.SchedulerMixin
        From `make_scheduler`; starts anew.
    num_inference_steps : int
        Steps from pure noise to a picture.
    steps : int
        How many of them are to be done, 1..num_inference_steps.

    Returns
    -------
    timesteps : tensor on the CPU
        One per evaluation of the network. PNDM evaluates its second timestep twice, wherever it starts; diffusers'
        pipelines cut the list of a whole run instead, so that their picture stays one step noisier than PNDM takes
        it for.
    """
    scheduler.set_timesteps(num_inference_steps, device="cpu")
    timesteps, begin = scheduler.timesteps, num_inference_steps - steps
    if begin == 0:
        return timesteps
    if isinstance(scheduler, PNDMScheduler):
        rest = torch.cat([timesteps[:1], timesteps[2:]])[begin:]
        return torch.cat([rest[:2], rest[1:]])
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    return timesteps[begin:]


def noised(scheduler, latents, noise, timesteps, earlier=0):
    """Add noise to latents, as much as there is at the first of the timesteps that are to be done.

    Parameters
    ----------
    scheduler : diffusers.SchedulerMixin
        As `last_timesteps` left it.
    latents, noise : tensors of one shape
    timesteps : tensor on the CPU
        From `last_timesteps`; `earlier` fewer than the whole schedule, or more.
    earlier : int
        As much as there is so many steps before that: more.

    Returns
    -------
    latents : tensor

    Raises
    ------
    InputError
        There are not so many steps before.
    """
    timestep = timesteps[:1]
    if not earlier:
        return _with_noise(scheduler, latents, noise, timestep)
    noisier = scheduler.timesteps[scheduler.timesteps > timestep].unique()
    if len(noisier) < earlier:
        raise InputError(
            f"The start is to be as noisy as {earlier} steps before the first that is denoised, but there are {len(noisier)}; "
            "take a smaller strength or more steps."
        )
    timestep = noisier[earlier - 1][None]
    begin = getattr(scheduler, "begin_index", None)
    # Solvers that count their steps add the noise of the step at which they begin, whatever timestep they are given.
    if begin is not None:
        scheduler.set_begin_index(begin - earlier)
    latents = _with_noise(scheduler, latents, noise, timestep)
    if begin is not None:
        scheduler.set_begin_index(begin)
    return latents


def _with_noise(scheduler, latents, noise, timestep):
    tables = {name: value for name, value in vars(scheduler).items() if isinstance(value, torch.Tensor)}
    latents = scheduler.add_noise(latents, noise, timestep.repeat(len(latents)))
    # diffusers takes a table to the latents' device and leaves it there, where each step would compute with it number by number.
    vars(scheduler).update(tables)
    return latents
