"""Optimisers as a recipe describes them, and the learning rate of each step."""

from __future__ import annotations

import math
import re

import torch

from stages.training.muon import Muon

# Muon bears a higher learning rate than biases and normalisations do.
LARGEST_RATE_BESIDE_MUON = 3e-3


def make_optimisers(named, spec):
    """Make the optimisers of some parameters.

    Updates of PyTorch's own are fused: one pass over memory a step, a third of the time on the CPU at the sizes met here.

    Parameters
    ----------
    named : mapping of str to torch.nn.Parameter
        All of them are trained.
    spec : OptimiserSpec

    Returns
    -------
    optimisers : list of torch.optim.Optimizer
        One, or Muon and AdamW.
    """
    parameters = list(named.values())
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    decayed = {"weight_decay": spec.weight_decay}
    of_vectors = {"params": vectors, "weight_decay": 0.0 if spec.undecayed == "vectors" else spec.weight_decay}
    rate, adam = {"lr": spec.learning_rate}, {"betas": spec.betas, "eps": spec.epsilon, "fused": True}
    if spec.name == "muon":
        made = []
        if vectors:
            groups = [of_vectors | {"largest_rate": LARGEST_RATE_BESIDE_MUON}]
            made.append(torch.optim.AdamW(groups, **rate, **adam))
        if matrices:
            made.append(Muon(matrices, **rate, **decayed, momentum=spec.momentum))
        return made
    groups = [{"params": matrices} | decayed, of_vectors]
    if spec.undecayed == "biases" or spec.undecayed_names:
        kept = [parameter for name, parameter in named.items() if not _decays(name, parameter, spec)]
        others = [parameter for name, parameter in named.items() if _decays(name, parameter, spec)]
        groups = [{"params": others} | decayed, {"params": kept, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if spec.name == "sgd":
        return [torch.optim.SGD(groups, **rate, momentum=spec.momentum, fused=True)]
    return [{"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.name](groups, **rate, **adam)]


def _decays(name, parameter, spec):
    """Whether a parameter has weight decay."""
    if any(re.fullmatch(pattern, name) for pattern in spec.undecayed_names):
        return False
    if spec.undecayed == "biases":
        return name.split(".")[-1] != "bias"
    return spec.undecayed == "none" or parameter.ndim >= 2


def learning_rate(recipe, step):
    """Largest learning rate of a step, counted from 0."""
    return recipe.optimiser.learning_rate * recipe.schedule.factor(step, recipe.steps)


def set_rates(optimisers, recipe, step):
    """Set the learning rates of a step, and the momenta if the schedule has any.

    Parameters
    ----------
    optimisers : list of torch.optim.Optimizer
    recipe : Recipe
    step : int
        Counted from 0.
    """
    rate = learning_rate(recipe, step)
    momentum = recipe.schedule.momentum(step, recipe.steps)
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["lr"] = min(rate, group.get("largest_rate", math.inf))
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif momentum is not None:
            group["momentum"] = momentum


def step_unless(left_out, optimisers):
    """Take a step with every optimiser, unless a tensor says that it is to be left out; nothing waits for its device.

    An update reads the tensor by itself, as `torch.amp.GradScaler` has it do: fused ones in their kernels, and Muon.

    >>> from stages.training.recipe import OptimiserSpec
    >>> parameter = torch.nn.Parameter(torch.ones(1))
    >>> optimisers = make_optimisers({"weight": parameter}, OptimiserSpec("adamw", 0.5))
    >>> for left_out in (True, False):
    ...     parameter.grad = torch.full((1,), torch.nan if left_out else 1.0)
    ...     step_unless(torch.tensor(left_out), optimisers)
    ...     round(parameter.item(), 4)
    1.0
    0.5

    Parameters
    ----------
    left_out : bool tensor without dimensions
        On the device of the parameters. What is left out changes no weight and no moment.
    optimisers : list of torch.optim.Optimizer
    """
    found = left_out.float()
    for optimiser in optimisers:
        if _reads_by_itself(optimiser, left_out.device):
            optimiser.found_inf = found
            optimiser.step()
            del optimiser.found_inf
        elif not left_out:
            optimiser.step()


def _reads_by_itself(optimiser, device):
    """Whether an optimiser can leave a step out without being asked to from outside, where that would wait for the device."""
    # On other devices fused updates are not known to look at it.
    if device.type not in ("cpu", "cuda"):
        return False
    # Momenta that SGD makes in its first step hold no values if that one is left out.
    makes_momenta = isinstance(optimiser, torch.optim.SGD) and optimiser.defaults["momentum"] and not optimiser.state
    return not makes_momenta
