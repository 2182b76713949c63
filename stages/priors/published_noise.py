"""The noise process that a published prior stores beside its network: compared with ours, and not needed any more.

DALLE2-pytorch keeps the tables of its process as buffers. Who leaves them out without a look samples, if they are others, from
another process than the network was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stages.ground.errors import InputError
from stages.priors.noise_process import NoiseProcess

PREFIX = "noise_scheduler."
_TOLERANCE = 1e-5
_SMALLEST_VARIANCE = 1e-20


def without_noise_tables(
    tensors: Mapping[str, Tensor], process: NoiseProcess, prefix: str = PREFIX
) -> dict[str, Tensor]:
    """Tensors without the tables of their noise process, if these are those of `process`.

    >>> import torch
    >>> process = NoiseProcess(100)
    >>> tables = {PREFIX + name: torch.from_numpy(values).float() for name, values in tables_of(process).items()}
    >>> list(without_noise_tables({**tables, "net.learned_query": torch.zeros(3)}, process))
    ['net.learned_query']

    Parameters
    ----------
    tensors : mapping of str to tensor
        As published.
    process : NoiseProcess
    prefix : str
        Before the names of the tables.

    Returns
    -------
    tensors : dict of str to tensor

    Raises
    ------
    InputError
        A table is missing, unknown, or differs from that of `process` by more than 1e-5, of values above 1 by more than that
        share of them.
    """
    stored = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    expected = tables_of(process)
    if odd := sorted(stored.keys() ^ expected.keys()):
        what = "no" if odd[0] in expected else "an unknown"
        raise InputError(
            f"The prior's file holds {what} table {prefix}{odd[0]} of its noise process; expected {', '.join(expected)}: give "
            "the file as it was published."
        )
    for name, values in expected.items():
        found = stored[name].double().cpu().numpy()
        if found.shape != values.shape:
            raise InputError(
                f"The prior was trained with a noise process of {len(found) if found.ndim else 1} steps, but is sampled with "
                f"{process.n_steps}; give a file whose {prefix}{name} has {process.n_steps} values."
            )
        wrong = ~(np.abs(found - values) <= _TOLERANCE * np.maximum(1, np.abs(values)))
        if wrong.any():
            step = int(np.argmax(wrong))
            raise InputError(
                f"The prior was trained with another noise process: {prefix}{name} is {found[step]:.7g} at step {step}, but "
                f"{values[step]:.7g} was expected; give a file of the published process."
            )
    return {name: value for name, value in tensors.items() if not name.startswith(prefix)}


def tables_of(process: NoiseProcess) -> dict[str, NDArray]:
    """All tables of a noise process under their published names, float64 (n_steps,)."""
    betas, kept, before = process.betas, process.kept, process.kept_before
    variance = betas * (1 - before) / (1 - kept)
    return {
        "betas": betas,
        "alphas_cumprod": kept,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": np.sqrt(kept),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - kept),
        "log_one_minus_alphas_cumprod": np.log(1 - kept),
        "sqrt_recip_alphas_cumprod": np.sqrt(1 / kept),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / kept - 1),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, _SMALLEST_VARIANCE)),
        "posterior_mean_coef1": betas * np.sqrt(before) / (1 - kept),
        "posterior_mean_coef2": (1 - before) * np.sqrt(1 - betas) / (1 - kept),
        # Of a weighting of steps that is off.
        "p2_loss_weight": np.ones_like(betas),
    }
