"""The noise process that a diffusion model of a folder in diffusers' layout was trained with, and what it predicts."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler

from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.ground.errors import InputError
from stages.priors.noise_process import NoiseProcess

_PREDICTS = {"epsilon": "noise", "v_prediction": "velocity"}


def noise_of_scheduler(folder: str | Path) -> tuple[NoiseProcess, str]:
    """Read ``scheduler/scheduler_config.json``, of whatever solver.

    >>> from weights import store
    >>> process, predicts = noise_of_scheduler(store.path("tiny-stable-diffusion"))
    >>> process.n_steps, round(float(process.betas[0]), 6), predicts
    (1000, 0.00085, 'velocity')

    Parameters
    ----------
    folder : path

    Returns
    -------
    process : NoiseProcess
    predicts : {"noise", "velocity"}
        What `stages.objectives.denoising_error.DenoisingError` takes.

    Raises
    ------
    CheckpointError
        The file is absent or describes no schedule of noise.
    InputError
        The model predicts something else.
    """
    path = Path(folder) / "scheduler" / "scheduler_config.json"
    config = read_json_object(path, "scheduler")
    # A training is counted on outlines, of which a table holds no values.
    with refusing_values("scheduler", path), torch.device("cpu"):
        scheduler = DDIMScheduler.from_config(config)
    kind = scheduler.config.prediction_type
    if kind not in _PREDICTS:
        raise InputError(
            f"{path} says that its model predicts {kind!r}; expected {' or '.join(_PREDICTS)}: give the folder of another model."
        )
    return NoiseProcess(betas=scheduler.betas.double().numpy()), _PREDICTS[kind]
