"""What a device can do: whether it computes at all, and where numbers of 64 bits are computed if it has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.ground.errors import InputError
from stages.ground.process_group import joined, n_processes

if TYPE_CHECKING:
    import torch

AUTO = "auto"
"""The device of a function, estimator or run that is told none."""
# Accelerators without float64.
_SINGLE_ONLY = ("mps",)


def chosen_device(name: str) -> str:
    """The device that a name stands for; "auto" is this process's own under `accelerate launch`, or the best there is.

    >>> chosen_device("cpu")
    'cpu'

    Parameters
    ----------
    name : str
        "auto", or as in torch.

    Returns
    -------
    str
        As in torch.

    Raises
    ------
    InputError
        It cannot be used here, see `trouble_with`.
    """
    if n_processes() > 1 or name == AUTO:
        group = joined(cpu=name == "cpu")
        name = str(group.device) if name == AUTO else name
    if name == "cpu":
        return name
    if trouble := trouble_with(name):
        raise InputError(f"Device {name!r} is not usable here ({trouble}); pass --device cpu.")
    return name


def float64_device(device: str | torch.device) -> torch.device:
    """The device itself, or the CPU where it has no numbers of 64 bits, as Apple's has none; "auto" as `chosen_device` has it.

    >>> float64_device("cuda:1"), float64_device("mps")
    (device(type='cuda', index=1), device(type='cpu'))

    Parameters
    ----------
    device : str or torch.device

    Returns
    -------
    torch.device
    """
    import torch

    device = torch.device(chosen_device(AUTO) if device == AUTO else device)
    return torch.device("cpu") if device.type in _SINGLE_ONLY else device


def sent_to(device: str | torch.device, values: torch.Tensor) -> torch.Tensor:
    """Return a tensor on a device; nobody waits for the copy where what reads it comes after it anyway.

    >>> import torch
    >>> sent_to("cpu", torch.ones(2)).device
    device(type='cpu')

    Parameters
    ----------
    device : str or torch.device
    values : tensor

    Returns
    -------
    tensor
        The same one, if it is there already.
    """
    import torch

    # CUDA keeps the order, and holds its own copy of what lay in main memory. Other ways are not known to; meta holds nothing.
    in_order = torch.device(device).type in ("cuda", "meta")
    return values.to(device, non_blocking=in_order and values.device.type == "cpu")


def trouble_with(device: str) -> str | None:
    """Why a device cannot be used, in a few words; None if it can. One tiny step is computed there and compared.

    >>> trouble_with("cpu")
    >>> trouble_with("gpu")
    'torch knows no device of this name'

    Parameters
    ----------
    device : str
        As in torch: "cpu", "cuda", "cuda:1", "mps" and others.

    Returns
    -------
    str or None
    """
    import torch

    try:
        kind = torch.device(device)
    except RuntimeError:
        return "torch knows no device of this name"
    if kind.type == "meta":
        return "it has shapes but no numbers"
    if kind.type == "cuda" and not torch.cuda.is_available():
        return "torch finds no CUDA device" if torch.version.cuda else "this torch was built without CUDA"
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        return f"there are {torch.cuda.device_count()} CUDA devices, counted from 0"
    if kind.type == "mps" and not torch.backends.mps.is_available():
        return "Apple's devices are on macOS 14 or newer, with a torch built for them"
    try:
        numbers = torch.arange(64.0).reshape(1, 1, 8, 8) / 64
        kernel = torch.ones(1, 1, 3, 3) / 9
        expected = torch.nn.functional.conv2d(numbers, kernel) @ numbers[..., :6, :6]
        found = torch.nn.functional.conv2d(numbers.to(kind), kernel.to(kind)) @ numbers[..., :6, :6].to(kind)
        if not torch.allclose(found.cpu(), expected, atol=1e-2):
            return "a tiny step computed there differs from the CPU's"
        torch.zeros(1, dtype=torch.float64, device=float64_device(kind)).add_(1)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        return str(error).strip().splitlines()[0].split(". ")[0][:120]
    return None
