"""A frozen network of which some tensors are trained: copies of these, by the names they have in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stages.ground.errors import InputError


class TunedNetwork(nn.Module):
    r"""A network that computes with its own copies of some parameters of another, and with that one's others.

    >>> base = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    >>> tuned = TunedNetwork(base, [r"1\..*"])
    >>> list(tuned.state_dict()), sum(one.numel() for one in base.parameters())
    (['1.weight', '1.bias'], 16)
    >>> patterns = torch.ones(2, 3)
    >>> bool((tuned(patterns) == base(patterns)).all())
    True

    The other network, `base`, is no part of this one: it has no gradient, it is in no state dict and in no optimiser, and a
    copy of this network (`copy.deepcopy`, as a moving average takes one) has the same base, not a second one. It follows to
    another device or type.

    Parameters
    ----------
    base : torch.nn.Module
        Frozen, and put into evaluation mode. May be an outline (on the meta device): the copies are then to be filled by
        `load_state_dict`, and `take_base` brings the network itself.
    patterns : sequence of str
        Regular expressions; a parameter is tuned if one of them fits its whole name.

    Raises
    ------
    InputError
        A pattern fits no parameter.
    """

    def __init__(self, base: nn.Module, patterns: Sequence[str]) -> None:
        super().__init__()
        self.patterns = tuple(patterns)
        names = tuned_names(base, self.patterns)
        self._held = _Held(base)
        for name, parameter in base.named_parameters():
            if name in names:
                _put(self, name, nn.Parameter(_copied(parameter)))

    @property
    def base(self) -> nn.Module:
        """The frozen network."""
        return self._held.network

    def take_base(self, network: nn.Module, start: bool = False) -> TunedNetwork:
        """Compute with another base from now on: one of the same parameters.

        Parameters
        ----------
        network : torch.nn.Module
            Frozen, and put into evaluation mode.
        start : bool
            Whether the tuned tensors start from this network's; otherwise they stay as they are.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Its tuned parameters have other names or shapes.
        """
        self._check(network)
        self._held = _Held(network)
        if start:
            theirs = dict(network.named_parameters())
            with torch.no_grad():
                for name, own in self.named_parameters():
                    own.copy_(theirs[name])
        return self

    def put_into(self, network: nn.Module) -> nn.Module:
        """Write the tuned tensors into a network of the base's shape, in its type; nothing else of it changes.

        Returns
        -------
        network
            The one given.

        Raises
        ------
        InputError
            Its tuned parameters have other names or shapes.
        """
        self._check(network)
        theirs = dict(network.named_parameters())
        with torch.no_grad():
            for name, own in self.named_parameters():
                theirs[name].copy_(own)
        return network

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Call the base with the tuned tensors in place of its own."""
        if next(self.base.parameters()).is_meta and not next(self.parameters()).is_meta:
            raise InputError(
                "The base of this network is an outline, with which nothing can be computed; call take_base first."
            )
        return functional_call(self.base, dict(self.named_parameters()), arguments, named)

    def _check(self, network):
        own = {name: tuple(value.shape) for name, value in self.named_parameters()}
        theirs = {name: tuple(value.shape) for name, value in network.named_parameters()}
        for name, shape in own.items():
            if theirs.get(name) != shape:
                found = f"of shape {theirs[name]}" if name in theirs else "absent"
                raise InputError(
                    f"{name} is {found} in the {type(network).__name__} that was given but {shape} in the tuned one; give the "
                    "network that it was tuned from."
                )

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        if not next(self.base.parameters()).is_meta:
            self.base._apply(fn, recurse)
        return self

    def extra_repr(self) -> str:
        """Say what is tuned, and of what."""
        return f"{type(self.base).__name__}, patterns={self.patterns!r}"


class _Held:
    """A network that is neither registered nor copied."""

    def __init__(self, network):
        self.network = network.requires_grad_(False).eval()

    def __deepcopy__(self, memo):
        return self


def tuned_names(network: nn.Module, patterns: Sequence[str]) -> set[str]:
    r"""Names of the parameters that one of the regular expressions fits wholly.

    >>> sorted(tuned_names(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), [r"1\..*", r".*\.bias"]))
    ['0.bias', '1.bias', '1.weight']

    Raises
    ------
    InputError
        A pattern fits none, or there is no pattern.
    """
    names = [name for name, _ in network.named_parameters()]
    if not patterns:
        raise InputError("No pattern says what is tuned; give regular expressions of whole names of parameters.")
    found = set()
    for pattern in patterns:
        fitting = {name for name in names if re.fullmatch(pattern, name)}
        if not fitting:
            raise InputError(
                f"{pattern!r} fits no parameter of the {type(network).__name__}; expected patterns of whole names such as "
                f"{', '.join(names[:3])}."
            )
        found |= fitting
    return found


def _copied(parameter: Tensor) -> Tensor:
    """A copy with values of its own; of an outline, room for some where tensors are made now."""
    if parameter.is_meta:
        return torch.zeros(parameter.shape, dtype=parameter.dtype, device=torch.get_default_device())
    return parameter.detach().clone()


def _put(module, name, parameter):
    """Register a parameter under a dotted name, by modules that hold nothing else."""
    place, _, last = name.rpartition(".")
    for part in place.split(".") if place else ():
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module._modules[part]
    module.register_parameter(last, parameter)
