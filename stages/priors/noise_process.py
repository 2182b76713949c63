"""How values become noise step by step, and the way back when a network tells the clean values.

The cosine schedule of Nichol and Dhariwal (2021); steps back after Ho et al. (2020), and in strides after Song et al. (2021).
The network predicts clean values, as the priors of DALL-E 2 and MindEye do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.ground.checks import Number, check
from stages.ground.devices import sent_to

_LARGEST_BETA = 0.999
_OFFSET = 0.008


class NoiseProcess:
    """Variances of a process of so many steps; step 0 is nearly clean, the last one nearly noise.

    >>> process = NoiseProcess(100)
    >>> [round(float(process.kept[step]), 7) for step in (0, 49)]
    [0.9993687, 0.4938436]

    Parameters
    ----------
    n_steps : int
        Of the cosine schedule.
    betas : array of shape (n_steps,), optional
        Variances of another schedule, in (0, 1); there are as many steps as they are then.

    Attributes
    ----------
    betas : array of shape (n_steps,), float64
        Variance of the noise that each step adds.
    kept : array of shape (n_steps,), float64
        Share of the clean values' variance that is left after each step.
    kept_before : array of shape (n_steps,), float64
        The same before each step; 1 before the first.
    """

    def __init__(self, n_steps: int = 100, betas: NDArray | None = None) -> None:
        self.n_steps = n_steps if betas is None else len(betas)
        check("n_steps", self.n_steps, Number(1, whole=True, example=100))
        self.betas = _cosine(n_steps) if betas is None else np.asarray(betas, dtype=np.float64)
        self.kept = np.cumprod(1 - self.betas)
        self.kept_before = np.append(1.0, self.kept[:-1])

    @classmethod
    def scaled_linear(cls, n_steps: int = 1000, first: float = 0.0015, last: float = 0.0195) -> NoiseProcess:
        """Betas whose square roots are equally far apart, as latent diffusion has them (Rombach and others, 2022).

        >>> [round(float(beta), 10) for beta in NoiseProcess.scaled_linear().betas[[0, -1]]]
        [0.0015, 0.0195]

        Parameters
        ----------
        n_steps : int
        first, last : float
            By default those of the model of ImageNet's classes.
        """
        return cls(betas=np.linspace(math.sqrt(first), math.sqrt(last), n_steps) ** 2)

    def noisy(self, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """Mix clean values and noise as they are after some steps.

        Parameters
        ----------
        clean, noise : tensors of shape (n, ...)
        steps : int tensor of shape (n,)
            From 0.
        """
        of_clean, of_noise = self._shares(clean, steps)
        return of_clean * clean + of_noise * noise

    def velocity(self, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """What some networks predict in place of the noise: √kept · noise − √(1 − kept) · clean (Salimans and Ho, 2022).

        Parameters
        ----------
        clean, noise, steps
            See `noisy`.
        """
        of_clean, of_noise = self._shares(clean, steps)
        return of_clean * noise - of_noise * clean

    def _shares(self, clean: Tensor, steps: Tensor) -> list[Tensor]:
        """What clean values and noise are multiplied by after some steps."""
        shape = (-1, *[1] * (clean.ndim - 1))
        return [sent_to(clean.device, table)[steps].reshape(shape).to(clean.dtype) for table in self._mixing]

    @cached_property
    def _mixing(self) -> list[Tensor]:
        return [torch.from_numpy(np.sqrt(values).astype(np.float32)) for values in (self.kept, 1 - self.kept)]

    def sample(
        self,
        predict: Callable[[Tensor, int], Tensor],
        shape: Sequence[int],
        generators: Sequence[torch.Generator],
        *,
        n_evaluations: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Tensor:
        """Go the way back, each item with noise of its own.

        >>> clean = torch.tensor([[1.0, -2.0]])
        >>> process, generator = NoiseProcess(100), torch.Generator().manual_seed(0)
        >>> process.sample(lambda noisy, step: clean, (2,), [generator]).tolist()
        [[1.0, -2.0]]

        Parameters
        ----------
        predict : callable
            ``predict(noisy, step)`` gives the clean values, tensor of the shape of `noisy`, ``(n_items, *shape)``.
        shape : sequence of int
            Of one item.
        generators : sequence of torch.Generator
            One per item, on the CPU.
        n_evaluations : int, optional
            Of `predict`. By default every step is taken, with the noise of the process (DDPM). Fewer are strides of equal
            length (DDIM with as much noise as DDPM, eta 1); the published code counts one more.
        device : str or torch.device

        Returns
        -------
        values : tensor of shape ``(n_items, *shape)``, float32
        """
        check("n_evaluations", n_evaluations, Number(1, self.n_steps, whole=True, optional=True))

        def noise() -> Tensor:
            return torch.stack([torch.randn(*shape, generator=generator) for generator in generators]).to(device)

        steps = self.strides(n_evaluations)
        values = noise()
        for step, following in zip(steps, [*steps[1:], -1]):
            clean = predict(values, step).float()
            if following < 0:
                return clean
            of_clean, of_values, of_noise = self._back(step, following, n_evaluations is None)
            values = of_clean * clean + of_values * values + of_noise * noise()
        raise AssertionError("there is a last step")

    def strides(self, n_evaluations: int | None = None) -> list[int]:
        """Return the steps at which the network is asked, from noise to clean.

        >>> NoiseProcess(100).strides(19)[:3], NoiseProcess(100).strides(19)[-1]
        ([94, 89, 84], 4)
        """
        if n_evaluations is None:
            return list(range(self.n_steps))[::-1]
        places = np.linspace(-1, self.n_steps, n_evaluations + 2)[1:-1]
        return [int(place) for place in places[::-1]]

    def _back(self, step: int, following: int, every: bool) -> tuple[float, float, float]:
        """Weights of clean values, of noisy values and of new noise, for going from one step to another."""
        kept = self.kept[step]
        if every:
            before, beta = self.kept_before[step], self.betas[step]
            variance = beta * (1 - before) / (1 - kept)
            of_clean, of_values = beta * math.sqrt(before), (1 - before) * math.sqrt(1 - beta)
            return of_clean / (1 - kept), of_values / (1 - kept), math.sqrt(max(variance, 1e-20))
        # Variances one step earlier than where the network was asked, as published.
        here, there = self.kept_before[step], self.kept_before[following]
        of_noise = math.sqrt((1 - here / there) * (1 - there) / (1 - here))
        of_error = math.sqrt(1 - there - of_noise**2)
        # The error, from the noisy values and the clean ones.
        scale = math.sqrt(1 / kept - 1)
        return math.sqrt(there) - of_error / scale, of_error / math.sqrt(kept) / scale, of_noise


def _cosine(n_steps: int) -> NDArray:
    places = np.arange(n_steps + 1) / n_steps
    curve = np.cos((places + _OFFSET) / (1 + _OFFSET) * math.pi / 2) ** 2
    return np.clip(1 - curve[1:] / curve[:-1], 0, _LARGEST_BETA)
