"""Frequencies of feature vectors, and vectors that have the amplitudes of others in part (Jiang et al. 2024, "MindShot").

A vector u of D features has the spectrum U = rFFT(u), whose bins run along the order of the features. That order is the
network's own and has no meaning; a spectrum is a fixed change of coordinates, and nothing more is claimed of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.ground.checks import Number, check

POWER_FLOOR = 1e-8
"""Is added to the power ``|U|^2``, so that amplitude and phase have finite gradients where it is 0."""


def spectrum(values: Tensor, low_pass: float = 1.0) -> Tensor:
    """The lowest frequencies of each row, complex.

    >>> spectrum(torch.ones(1, 4)).abs(), spectrum(torch.ones(1, 4), low_pass=0.5).shape
    (tensor([[4., 0., 0.]]), torch.Size([1, 2]))

    Parameters
    ----------
    values : tensor of shape (n, n_values)
    low_pass : float
        Share of the n_values // 2 + 1 frequencies that is kept, above 0 and up to 1; rounded up.
    """
    found = torch.fft.rfft(values.float(), dim=1)
    return found[:, : n_kept(values.shape[1], low_pass)]


def n_kept(n_values: int, low_pass: float) -> int:
    """How many frequencies of so many values are kept.

    >>> n_kept(7, 1.0), n_kept(7, 0.3)
    (4, 2)
    """
    check("low_pass", low_pass, Number(0, 1, above=True, example=1.0))
    return math.ceil(low_pass * (n_values // 2 + 1))


def amplitude(values: Tensor) -> Tensor:
    """Length of complex values, with a finite gradient everywhere: ``sqrt(|U|^2 + POWER_FLOOR)``."""
    return (values.real**2 + values.imag**2 + POWER_FLOOR).sqrt()


def with_mixed_amplitudes(student: Tensor, teacher: Tensor, shares: Tensor, low_pass: float = 1.0) -> Tensor:
    """Give each row a part of the amplitudes of another, and leave it its phases.

    ``irFFT(((1 - s) |U| + s |V|) exp(i angle(U)))``, of the transforms U of the row and V of the other, and the share s.

    >>> u, v = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[0.0, 3.0, 1.0]])
    >>> with_mixed_amplitudes(u, v, torch.zeros(1)).round(decimals=4)
    tensor([[1., 2., 4.]])
    >>> mixed = with_mixed_amplitudes(u, v, torch.ones(1))
    >>> torch.allclose(spectrum(mixed).abs(), spectrum(v).abs()), torch.allclose(spectrum(mixed).angle(), spectrum(u).angle())
    (True, True)

    Parameters
    ----------
    student, teacher : tensors of shape (n, n_values)
    shares : tensor of shape (n,)
        Of the teacher's amplitudes, 0 to 1.
    low_pass : float
        Frequencies above keep their amplitudes, see `spectrum`.

    Returns
    -------
    mixed : tensor of shape (n, n_values), float32
    """
    n_values = student.shape[1]
    whole = torch.fft.rfft(student.float(), dim=1)
    kept = n_kept(n_values, low_pass)
    low, theirs = whole[:, :kept], spectrum(teacher, low_pass)
    own, share = amplitude(low), shares[:, None].to(low.real)
    mixed = ((1 - share) * own + share * amplitude(theirs)) * (low / own)
    return torch.fft.irfft(torch.cat([mixed, whole[:, kept:]], dim=1), n=n_values, dim=1)
