"""A subject's values brought to where a shared network expects them, by a short kernel, a gain and an offset: few parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError

KINDS = ("convolution", "film")
KERNELS = ("delta", "haemodynamic")
# Of the gamma density: the response to a short stimulus is largest five seconds after it.
_PEAK_SECONDS = 5.0


class ResponseAdapter(nn.Module):
    """Filter a row of values along its order, and scale and shift each: y = a * (k conv x) + c.

    >>> adapter = ResponseAdapter(6)
    >>> adapter(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]))
    tensor([[1., 2., 3., 4., 5., 6.]], grad_fn=<AddBackward0>)
    >>> sum(parameter.numel() for parameter in ResponseAdapter(8192).parameters())
    16391

    The kernel is one for the whole row, with zeros on both sides of it. MindShot (Jiang et al. 2024) adapts a decoder to a new
    person by such an adapter alone, inspired by the haemodynamic response; this form of it is a guess. Responses have one value
    for each trial, so that the kernel lies along the values and not along time.

    Parameters
    ----------
    n_values : int
        Of a row.
    kind : {"convolution", "film"}
        "film" has no kernel: gain and offset alone (Perez et al. 2018).
    length : int
        Weights of the kernel, an odd number.
    kernel : {"delta", "haemodynamic"}
        What it begins as: 1 in its middle, so that rows pass as they are; or `haemodynamic_kernel`.

    Raises
    ------
    InputError
    """

    def __init__(self, n_values: int, kind: str = "convolution", length: int = 7, kernel: str = "delta") -> None:
        super().__init__()
        check("n_values", n_values, Number(1, whole=True, example=8192))
        check("kind", kind, OneOf(*KINDS))
        check("kernel", kernel, OneOf(*KERNELS))
        check_length(length)
        self.gain, self.offset = nn.Parameter(torch.ones(n_values)), nn.Parameter(torch.zeros(n_values))
        if kind == "convolution":
            begins = haemodynamic_kernel(length) if kernel == "haemodynamic" else _delta(length)
            self.kernel = nn.Parameter(begins)

    def forward(self, values: Tensor) -> Tensor:
        """Adapt rows, tensor of shape (n, n_values)."""
        if hasattr(self, "kernel"):
            # A convolution, not a correlation: the kernel is turned around.
            turned = self.kernel.flip(0)[None, None]
            values = functional.conv1d(values[:, None], turned, padding=self.kernel.numel() // 2)[:, 0]
        return self.gain * values + self.offset


def haemodynamic_kernel(length: int) -> Tensor:
    """Sample the gamma density of shape 6, t^5 exp(-t), around its peak at t = 5 seconds; the sum is 1.

    >>> haemodynamic_kernel(5).argmax().item(), round(haemodynamic_kernel(5).sum().item(), 6)
    (2, 1.0)

    Parameters
    ----------
    length : int
        An odd number: its middle is the peak, its first sample the stimulus.
    """
    check_length(length)
    seconds = (
        torch.arange(length) * (_PEAK_SECONDS / max(length // 2, 1)) if length > 1 else torch.tensor([_PEAK_SECONDS])
    )
    density = seconds**_PEAK_SECONDS * torch.exp(-seconds)
    return density / density.sum()


def check_length(length: int) -> int:
    """Refuse a kernel that has no middle."""
    check("length", length, Number(1, whole=True, example=7))
    if length % 2 == 0:
        raise InputError(
            f"length is {length}, so that the kernel has no middle; expected an odd number, for example {length + 1}."
        )
    return length


def _delta(length: int) -> Tensor:
    kernel = torch.zeros(length)
    kernel[length // 2] = 1
    return kernel
