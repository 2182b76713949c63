"""Networks in outline: built from their configurations on the meta device, with shapes and without values.

An outline answers what a network's shapes are, how many parameters it has and how much work it is, within a moment and
without memory. The readers of tensors in this package take part: within `outlines` they read names and shapes alone.
"""

from contextlib import contextmanager, suppress
from contextvars import ContextVar

import torch
from safetensors import safe_open

_outlining = ContextVar("outlining", default=False)


@contextmanager
def outlines():
    """Within it, networks that are loaded for the device "meta" are outlines.

    >>> import torch
    >>> with outlines():
    ...     network = torch.nn.Linear(768, 768, device="meta")
    >>> weights_of(network)
    2362368
    """
    before = _outlining.set(True)
    try:
        yield
    finally:
        _outlining.reset(before)


def outlining():
    """Whether outlines are asked for."""
    return _outlining.get()


def tensor_outlines(path):
    """Names and shapes of a safetensors file, dict of str to empty tensor on the meta device, of the type that is stored."""
    with safe_open(path, framework="pt") as file:
        found = {}
        for name in file.keys():
            part = file.get_slice(name)
            # A slice of nothing tells the type and reads nothing.
            kind = part[:0].dtype if part.get_shape() else torch.int64
            found[name] = torch.empty(part.get_shape(), dtype=kind, device="meta")
    return found


def networks_in(holder):
    """The networks that an object holds, itself if it is one, looked for in its attributes and theirs; each once."""
    found, seen = [], set()

    def look(value, depth):
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, torch.nn.Module):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            for one in value:
                look(one, depth)
        elif depth and hasattr(value, "__dict__"):
            for one in vars(value).values():
                look(one, depth - 1)

    look(holder, 2)
    return found


def weights_of(holder):
    """Bytes of the parameters of all networks that an object holds, shared ones once."""
    parameters = {id(each): each for network in networks_in(holder) for each in network.parameters()}
    return sum(each.nbytes for each in parameters.values())


def count_operations(call):
    """Operations (a multiplication and an addition are two) of what a call does with outlines.

    >>> with outlines():
    ...     network = torch.nn.Linear(768, 768, device="meta")
    >>> count_operations(lambda: network(torch.empty(10, 768, device="meta")))
    11796480

    Parameters
    ----------
    call : callable
        The count ends where it asks for a value: there are none.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), suppress(NotImplementedError):
        call()
    return counter.get_total_flops()
