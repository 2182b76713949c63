"""Losses that compare the samples of a batch, where the batch is cut into parts or shared by processes.

A sample is compared with all others of its batch, and not with those of its part alone. So the rows to be compared are made
once without gradients and joined; their loss and its gradient are found on the whole batch; then every part is computed again,
and its own rows are pulled along that gradient (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory
limited setup"). It costs one more pass forwards, and the memory of one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stages.ground.errors import InputError


def pulls_of(
    learner: Any, shares: Mapping[int, Any], batch: Any, among: int, accelerator: Any, seed: Callable[[int], None]
) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """Find along which gradient each part's rows are pulled, and the losses of the whole batch.

    Parameters
    ----------
    learner : stages.training.loop.Learner
        Which compares; see there.
    shares : mapping of int to batch
        This process's parts of the batch by their place in it: part `place` is every `among`-th sample from there on.
    batch : batch
        The whole of it, on the device.
    among : int
        Parts of all processes.
    accelerator : accelerate.Accelerator
    seed : callable
        ``seed(place)`` seeds the global random generators as for the pass that follows.

    Returns
    -------
    pulls : list of dict of str to tensor
        For each of `shares`, the gradient of the loss of the whole batch for its rows, so scaled that the mean over parts and
        processes is that gradient.
    losses : dict of str to tensor
        `loss`, and what it is made of.
    """
    rows = _joined(_made(learner, shares, accelerator, seed), among, accelerator)
    for values in rows.values():
        values.requires_grad_()
    loss, details = learner.compare(rows, batch)
    gradients = torch.autograd.grad(loss, list(rows.values()))
    pulls = [{name: gradient[place::among] * among for name, gradient in zip(rows, gradients)} for place in shares]
    return pulls, {"loss": loss.detach(), **details}


def has_unreached(learner: Any, parameters: Iterable[torch.nn.Parameter], batch: Any) -> bool:
    """Whether the loss leaves a parameter without a gradient, by a pass over a small batch; buffers stay as they were."""
    before = [buffer.clone() for buffer in learner.buffers()]
    pulls = {}
    if getattr(learner, "compares", False):
        with torch.no_grad():
            pulls["pulls"] = {name: torch.zeros_like(rows.float()) for name, rows in learner.compared(batch).items()}
    loss, _ = learner(batch, **pulls)
    loss.backward()
    found = any(parameter.grad is None for parameter in parameters)
    learner.zero_grad(set_to_none=True)
    with torch.no_grad():
        for buffer, values in zip(learner.buffers(), before):
            buffer.copy_(values)
    return found


def check_parameters(objectives: Sequence[Any]) -> None:
    """Raise an InputError if an objective that compares has parameters, whose gradient nobody would join."""
    for objective in objectives:
        if isinstance(objective, torch.nn.Module) and next(objective.parameters(), None) is not None:
            raise InputError(
                f"{type(objective).__name__} compares samples and has parameters of its own, which are not trained where a batch "
                "is shared; use one process and recipe.accumulate = 1."
            )


def _made(learner, shares, accelerator, seed):
    """Rows of each part without gradients, dict of str to tensor; running statistics stay as they were."""
    before = [buffer.clone() for buffer in learner.buffers()]
    found = []
    with torch.no_grad(), accelerator.autocast():
        for place, share in shares.items():
            seed(place)
            found.append({name: values.float() for name, values in learner.compared(share).items()})
        for buffer, values in zip(learner.buffers(), before):
            buffer.copy_(values)
    return found


def _joined(found, among, accelerator):
    """Rows of the whole batch in its order, from those of all parts of all processes."""
    # Of the parts as they are gathered, process by process.
    places = [
        place
        for process in range(accelerator.num_processes)
        for place in range(among)[process :: accelerator.num_processes]
    ]
    rows = {}
    for name in found[0]:
        parts = torch.stack([part[name] for part in found])
        parts = accelerator.gather(parts) if accelerator.num_processes > 1 else parts
        whole = parts.new_empty((parts.shape[0] * parts.shape[1], *parts.shape[2:]))
        for place, part in zip(places, parts):
            whole[place::among] = part
        rows[name] = whole
    return rows
