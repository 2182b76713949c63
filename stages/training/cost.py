"""What a training will take, counted on outlines: memory by the tensors that it keeps, operations of one step."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch.autograd.graph import saved_tensors_hooks

from stages.networks.tuned_network import TunedNetwork
from stages.training.batches import random_state_kept

# A network or a loss of somebody's own may ask for values, which outlines have not: nothing is told of it then, and whatever else
# is wrong is told by the training itself.
_ASKS_FOR_VALUES = (RuntimeError, TypeError, ValueError)
_BYTES = 4
_BYTES_OF_BF16 = 2
# Moments of a weight, by the name of the optimiser.
_MOMENTS = {"adam": 2, "adamw": 2, "sgd": 1, "muon": 1}


@dataclass(frozen=True)
class Cost:
    """Memory in bytes, and operations.

    Attributes
    ----------
    parameters : int
        Of what is trained and of what is not.
    weights : int
        Bytes of parameters and buffers, of their moving average, and of the best ones so far if validation chooses.
    gradients, moments : int
    activations : int or None
        What a part of a batch leaves for the way back; None if nobody can count it.
    operations : float or None
        Of all steps, forwards and backwards; None if nobody can count them.
    frozen : int
        Bytes of networks that are computed with and that no checkpoint holds.
    """

    parameters: int
    weights: int
    gradients: int
    moments: int
    activations: int | None
    operations: float | None
    frozen: int = 0

    @property
    def on_device(self):
        """Bytes on the device that trains, at the peak of a step."""
        return self.weights + self.frozen + self.gradients + self.moments + (self.activations or 0)

    @property
    def checkpoint(self):
        """Bytes of a checkpoint, which is in main memory while it is written."""
        return self.weights + self.moments

    @property
    def on_cpu(self):
        """Bytes at the peak if the CPU trains: of a step, or while a checkpoint is written, before which gradients are gone."""
        return (
            self.weights + self.frozen + self.moments + max(self.gradients + (self.activations or 0), self.checkpoint)
        )


def cost_of(make_learner, batch_of, recipe):
    """Count what a training takes, without memory and in a moment.

    >>> from stages.training.recipe import Recipe
    >>> class Learner(torch.nn.Linear):
    ...     def forward(self, batch):
    ...         return super().forward(batch).square().mean(), {}
    >>> cost = cost_of(lambda: Learner(1000, 100), lambda n: torch.empty(n, 1000), Recipe(steps=10, batch_size=8))
    >>> cost.parameters, cost.weights, cost.moments
    (100100, 400400, 800800)
    >>> cost.operations == 10 * (2 * 8 * 1000 * 100) * 2  # No gradient of what is read.
    True

    Parameters
    ----------
    make_learner : callable
        ``make_learner() -> stages.training.loop.Learner``; called with torch's default device "meta".
    batch_of : callable
        ``batch_of(n) -> batch`` of n samples; likewise.
    recipe : stages.training.recipe.Recipe

    Returns
    -------
    cost : Cost or None
        None if the learner cannot be made in outline.
    """
    spec, parts = recipe.optimiser, recipe.accumulate
    with torch.device("meta"), random_state_kept():
        try:
            learner = make_learner().train()
        except _ASKS_FOR_VALUES:
            return None
        named = dict(learner.named_parameters())
        trained = [
            one
            for name, one in named.items()
            if one.requires_grad and any(re.fullmatch(pattern, name) for pattern in recipe.trains)
        ]
        size = sum(one.numel() for one in trained)
        moments = _MOMENTS[spec.name] * size if spec.name != "sgd" or spec.momentum else 0
        if spec.name == "muon":
            moments += sum(one.numel() for one in trained if one.ndim < 2)
        everything = sum(one.numel() for one in (*named.values(), *learner.buffers()))
        # What a network computes with and neither holds nor copies.
        frozen = sum(one.numel() for network in _bases(learner) for one in (*network.parameters(), *network.buffers()))
        copies = 1 + (recipe.average is not None) + (recipe.validation > 0)
        activations, operations = _of_a_part(learner, batch_of(math.ceil(recipe.batch_size / parts)))
    if operations is not None and parts > 1 and getattr(learner, "compares", False):
        # Parts are gone through forwards once more before; backwards are about two thirds.
        operations *= 4 / 3
    if activations is not None and recipe.precision == "bf16":
        # Half of what is kept, and the weights in both precisions.
        activations = activations * _BYTES_OF_BF16 // _BYTES + _BYTES_OF_BF16 * size
    return Cost(
        sum(one.numel() for one in named.values()) + frozen,
        _BYTES * copies * everything,
        _BYTES * size,
        _BYTES * moments,
        activations,
        None if operations is None else operations * parts * recipe.steps,
        _BYTES * frozen,
    )


def _bases(learner):
    """Networks of which a part of the learner is a tuned copy, each once."""
    return list({id(one.base): one.base for one in learner.modules() if isinstance(one, TunedNetwork)}.values())


def _of_a_part(learner, batch):
    """Bytes kept for the way back, and operations, of one part of a batch; (None, None) if its outline cannot be gone through."""
    from torch.utils.flop_counter import FlopCounterMode

    kept = {}

    def keep(tensor):
        # Views of one storage are kept once, and the storage itself, so that no other takes its place.
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    try:
        with FlopCounterMode(display=False) as counter:
            with saved_tensors_hooks(keep, lambda tensor: tensor):
                loss, _ = learner(batch)
            loss.backward()
    except _ASKS_FOR_VALUES:
        return None, None
    for one in (*learner.parameters(), *learner.buffers()):
        kept.pop(one.untyped_storage()._cdata, None)
    return sum(storage.nbytes() for storage in kept.values()), counter.get_total_flops()
