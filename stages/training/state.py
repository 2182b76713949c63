"""Checkpoints of a training: weights and moments as safetensors, the rest as JSON in the same file.

One file, so that an interruption leaves either all of a checkpoint or all of the one before. There is no random state in it:
what is random in a step follows from the seed and the number of the step (`stages.training.batches`). Equal trainings give
equal bytes.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from weights.whole_files import whole_file

FILE = "training.safetensors"
# So many times as long as a checkpoint took are passed in training before the next one. A billion weights with their moments are
# 12 GB, and writing these every minute would take a fifth of the time of an accelerator.
_TIMES_AS_LONG = 19


class Pace:
    """When a checkpoint is due: some seconds after the one before, and so that writing takes a twentieth of the time at most.

    >>> now = iter([0, 50, 60, 60, 70, 250, 261])
    >>> pace = Pace(60, clock=lambda: next(now))
    >>> pace.is_due(), pace.is_due()
    (False, True)
    >>> with pace.writing():
    ...     pass
    >>> pace.is_due(), pace.is_due()
    (False, True)

    Parameters
    ----------
    seconds : float
        0: after every step, however long it takes.
    clock : callable, optional
        Seconds as float; for tests.
    """

    def __init__(self, seconds, clock=time.monotonic):
        self._seconds, self._clock = seconds, clock
        self._wait, self._written = seconds, clock()

    def is_due(self):
        """Tell whether it is time."""
        return self._clock() - self._written >= self._wait

    @contextmanager
    def writing(self):
        """Write a checkpoint within."""
        began = self._clock()
        yield
        self._written = self._clock()
        if self._seconds:
            self._wait = max(self._seconds, _TIMES_AS_LONG * (self._written - began))


def write_checkpoint(folder, players, parts, state):
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    folder : path
    players : dict of str to (torch.nn.Module, list of torch.optim.Optimizer)
        Whoever learns; its weights and the optimisers' moments are stored.
    parts : dict of str to (dict of str to tensor, or None)
        What else there is of weights, such as their average.
    state : dict
        Plain data, with an `identity`.
    """
    tensors = {}
    for player, (network, optimisers) in players.items():
        tensors |= {f"{player}.weights.{name}": value for name, value in network.state_dict().items()}
        for name, parameter in network.named_parameters():
            for optimiser in map(_inside, optimisers):
                for moment, value in optimiser.state.get(parameter, {}).items():
                    if torch.is_tensor(value):
                        tensors[f"{player}.{moment}.{name}"] = value
    for part, weights in parts.items():
        tensors |= {f"{part}.{name}": value for name, value in (weights or {}).items()}
    # Cloned, because tied weights share memory and safetensors stores no tensor twice.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with whole_file(Path(folder) / FILE) as partial:
        save_file(tensors, partial, metadata={"state": json.dumps(state)})


def read_checkpoint(folder, players, parts, identity):
    """Put a checkpoint's weights and moments back.

    Parameters
    ----------
    folder, players
        As for `write_checkpoint`; the networks and optimisers are changed.
    parts : sequence of str
        Names of the parts to return.
    identity : str

    Returns
    -------
    (state, parts) or None
        The parts as a dict, None for one that was not stored. None instead of both if there is no checkpoint of this identity,
        or a damaged one: training then begins anew.
    """
    path = Path(folder) / FILE
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            if state["identity"] != identity:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (FileNotFoundError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    if not all(_fits(_beginning(tensors, f"{player}."), network) for player, (network, _) in players.items()):
        return None
    for player, (network, optimisers) in players.items():
        network.load_state_dict(_beginning(tensors, f"{player}.weights."))
        _put_moments(_beginning(tensors, f"{player}."), network, optimisers)
    return state, {part: _beginning(tensors, f"{part}.") or None for part in parts}


def read_part(folder, part):
    """Read one part of a checkpoint, dict of str to tensor on the CPU; its training may still be running."""
    with safe_open(Path(folder) / FILE, framework="pt") as file:
        start = f"{part}."
        return {name.removeprefix(start): file.get_tensor(name) for name in file.keys() if name.startswith(start)}


def remove_checkpoint(folder):
    """Forget a training that is finished."""
    (Path(folder) / FILE).unlink(missing_ok=True)


def _fits(stored, network):
    """Whether weights and moments have the shapes of a network's own; a moment may be one number, too."""
    own = network.state_dict()
    return all(
        not value.ndim or own[name].shape == value.shape
        for name, value in ((name.partition(".")[2], value) for name, value in stored.items())
        if name in own
    )


def _put_moments(stored, network, optimisers):
    """Put moments, named "moment.parameter", into the optimisers' states."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    moments = dict.fromkeys(name.partition(".")[0] for name in stored if not name.startswith("weights."))
    for optimiser in map(_inside, optimisers):
        for group in optimiser.param_groups:
            # PyTorch counts steps beside a parameter only if it updates all of them at once; else on the CPU.
            beside = group.get("fused") or group.get("capturable")
            for parameter in group["params"]:
                found = {moment: stored.get(f"{moment}.{names[parameter]}") for moment in moments}
                placed = {
                    moment: _like(value, parameter)
                    if moment != "step"
                    else value.to(parameter.device if beside else "cpu")
                    for moment, value in found.items()
                    if value is not None
                }
                if placed:
                    optimiser.state[parameter] = placed


def _like(value, parameter):
    """The value on a parameter's device and in its memory layout."""
    return torch.empty_like(parameter.detach()).copy_(value)


def _inside(optimiser):
    """Torch's optimiser inside Accelerate's."""
    return getattr(optimiser, "optimizer", optimiser)


def _beginning(tensors, start):
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
