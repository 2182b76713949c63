"""Frequencies of a student's features held to a teacher's (Jiang et al. 2024, "MindShot").

Which parts of a spectrum MindShot distils was not published in what could be read: amplitudes, phases and the values themselves
are all here. See `stages.adapters.spectra` for what a spectrum of features is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from stages.adapters.spectra import amplitude, spectrum
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError

COMPARED = ("amplitude", "phase", "values")


def amplitude_distance(student: Tensor, teacher: Tensor, low_pass: float = 1.0) -> Tensor:
    """Mean of ``| |U| - |V| |`` over rows and frequencies; a circular shift of a row changes nothing.

    >>> u = torch.tensor([[1.0, 2.0, 3.0, 5.0]])
    >>> round(amplitude_distance(u, u.roll(1)).item(), 4), round(amplitude_distance(u, 2 * u).item(), 4)
    (0.0, 5.8685)

    Parameters
    ----------
    student, teacher : tensors of shape (n, n_values)
    low_pass : float
        See `stages.adapters.spectra.spectrum`.
    """
    u, v = (amplitude(spectrum(values, low_pass)) for values in (student, teacher))
    return (u - v).abs().mean()


def phase_distance(student: Tensor, teacher: Tensor, low_pass: float = 1.0) -> Tensor:
    """Mean of 1 - cos of the angle between U and V, over rows and frequencies: half the squared difference at unit length.

    >>> u = torch.tensor([[1.0, 2.0, 3.0, 5.0]])
    >>> round(phase_distance(u, 2 * u).item(), 4), round(phase_distance(u, -u).item(), 4)
    (0.0, 2.0)

    Parameters
    ----------
    student, teacher, low_pass
        As of `amplitude_distance`.
    """
    u, v = (spectrum(values, low_pass) for values in (student, teacher))
    u, v = u / amplitude(u), v / amplitude(v)
    return (u - v).abs().square().mean() / 2


def value_distance(student: Tensor, teacher: Tensor, low_pass: float = 1.0) -> Tensor:
    """Mean squared difference of the values, of their lowest frequencies alone if there are fewer than all.

    >>> value_distance(torch.zeros(1, 4), torch.ones(1, 4)).item()
    1.0

    Parameters
    ----------
    student, teacher, low_pass
        As of `amplitude_distance`.
    """
    n = student.shape[1]
    u, v = (torch.fft.irfft(spectrum(values, low_pass), n=n, dim=1) for values in (student, teacher))
    return mse_loss(u, v)


_DISTANCES = {"amplitude": amplitude_distance, "phase": phase_distance, "values": value_distance}


class SpectralDistance:
    """A student's features are to have the amplitudes of a teacher's, their phases, or their values.

    It is left out of a training that has no teacher.

    >>> u = torch.rand(2, 6)
    >>> loss, parts = SpectralDistance("features", weight=0.1)({"features": u}, {"features": u}, step=0)
    >>> loss.item(), list(parts)
    (0.0, ['features amplitude'])

    Parameters
    ----------
    name : str
        The output, and the target that holds the teacher's; tensors of shape (n, n_values).
    compares : {"amplitude", "phase", "values"}
    low_pass : float
        See `stages.adapters.spectra.spectrum`.
    weight : float

    Raises
    ------
    InputError
    """

    if_known = True

    def __init__(self, name: str, compares: str = "amplitude", low_pass: float = 1.0, weight: float = 0.1) -> None:
        check("compares", compares, OneOf(*COMPARED))
        check("low_pass", low_pass, Number(0, 1, above=True, example=1.0))
        check("weight", weight, Number(0))
        self.reads, self.kind, self.low_pass, self.weight = (name,), compares, low_pass, weight

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        student, teacher = outputs[name], targets[name]
        check_teacher(name, student, teacher)
        distance = _DISTANCES[self.kind](student, teacher.to(student), self.low_pass)
        return self.weight * distance, {f"{name} {self.kind}": distance.detach()}

    def __repr__(self):
        return f"SpectralDistance({self.reads[0]!r}, {self.kind!r}, low_pass={self.low_pass}, weight={self.weight})"


def check_teacher(name: str, student: Tensor, teacher: Tensor) -> None:
    """Refuse a teacher whose rows are no rows of the student's kind."""
    if student.ndim != 2 or student.shape != teacher.shape:
        raise InputError(
            f"The network gives {name} of shape {tuple(student.shape)} and its teacher {tuple(teacher.shape)}; expected rows of "
            "as many values: let a teacher of the same network teach."
        )
