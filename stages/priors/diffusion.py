"""A diffusion prior: a network that makes an embedding of noise, led by what the brain says of it.

After Scotti et al. (2023), "Reconstructing the mind's eye", and the prior of DALL-E 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from stages.ground.checks import Number, check
from stages.ground.devices import sent_to
from stages.priors.noise_process import NoiseProcess


class DiffusionPrior:
    """A network from noisy to clean tokens, with its noise process.

    >>> from stages.networks.token_prior import TokenPrior
    >>> prior = DiffusionPrior(TokenPrior(n_tokens=3, width=8, depth=1, n_heads=2, head_width=4))
    >>> brain = torch.zeros(2, 3, 8)
    >>> prior.loss(brain, clean=torch.ones(2, 3, 8)).shape
    torch.Size([])
    >>> prior.sample(brain, [torch.Generator().manual_seed(seed) for seed in (0, 1)]).shape
    torch.Size([2, 3, 8])

    Parameters
    ----------
    net : torch.nn.Module
        ``net(noisy, times, brain, without_brain, without_image)``, as `stages.networks.token_prior.TokenPrior`; all of its
        tensors (n, n_tokens, width). It is trained by whoever owns it.
    process : NoiseProcess, optional
        Of 100 steps by default.
    without_brain, without_image : float
        Probability that a sample is trained without its brain tokens, and without its noisy tokens, independently. Published:
        0.2 each.
    scale : float, optional
        What clean tokens are multiplied by before noise is added. By default the square root of their width, so that tokens of
        unit length have values of about unit variance.
    """

    def __init__(
        self,
        net: nn.Module,
        process: NoiseProcess | None = None,
        without_brain: float = 0.2,
        without_image: float = 0.2,
        scale: float | None = None,
    ) -> None:
        check("without_brain", without_brain, Number(0, 1))
        check("without_image", without_image, Number(0, 1))
        self.net, self.process = net, process or NoiseProcess()
        self.without_brain, self.without_image, self._scale = without_brain, without_image, scale

    def loss(self, brain: Tensor, clean: Tensor) -> Tensor:
        """Mean squared error of the clean tokens that are found in noise, at times drawn from torch's global generator.

        Parameters
        ----------
        brain, clean : tensors of shape (n, n_tokens, width)
            What the brain says, and the true embedding.

        Returns
        -------
        loss : tensor without dimensions
        """
        return mse_loss(*self._found_and_true(brain, clean))

    def errors(self, brain: Tensor, clean: Tensor) -> Tensor:
        """Mean squared error of each sample, tensor of shape (n,), as `loss` averages them.

        Parameters
        ----------
        brain, clean
            See `loss`.
        """
        found, true = self._found_and_true(brain, clean)
        return (found - true).square().flatten(1).mean(dim=1)

    def _found_and_true(self, brain: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Clean tokens that are found in noise, and the true ones, on the scale on which noise is added."""
        # On the CPU, so that a step draws the same numbers on every device.
        times = sent_to(clean.device, torch.randint(0, self.process.n_steps, (len(clean),)))
        noise = sent_to(clean.device, torch.randn(clean.shape))
        dropped = [
            sent_to(clean.device, torch.rand(len(clean)) < share) for share in (self.without_brain, self.without_image)
        ]
        scaled = clean * self.scale_of(clean)
        found = self.net(self.process.noisy(scaled, noise, times), times, brain, *dropped)
        return found.float(), scaled.float()

    @torch.inference_mode()
    def sample(
        self,
        brain: Tensor,
        generators: Sequence[torch.Generator],
        n_evaluations: int | None = None,
        guidance: float = 1.0,
    ) -> Tensor:
        """Make an embedding for each row of brain tokens.

        Parameters
        ----------
        brain : tensor of shape (n, n_tokens, width)
        generators : sequence of torch.Generator
            One per row, on the CPU: a row does not depend on the others.
        n_evaluations : int, optional
            See `NoiseProcess.sample`; 100 by default, as published.
        guidance : float
            How far the clean tokens are led away from those that are found without brain and without noisy tokens: 1 asks for
            the former alone, 0 for the latter.

        Returns
        -------
        embeddings : tensor of shape (n, n_tokens, width), float32
            On the scale of the true ones.
        """

        def predict(noisy: Tensor, step: int) -> Tensor:
            times = torch.full((len(noisy),), step, device=noisy.device)
            noisy = noisy.to(brain.dtype)
            found = self.net(noisy, times, brain)
            if guidance == 1:
                return found
            everyone = torch.ones(len(noisy), dtype=torch.bool, device=noisy.device)
            unled = self.net(noisy, times, brain, everyone, everyone)
            return unled + guidance * (found - unled)

        found = self.process.sample(
            predict, brain.shape[1:], generators, n_evaluations=n_evaluations, device=brain.device
        )
        return found / self.scale_of(brain)

    def scale_of(self, tokens: Tensor) -> float:
        """Return what clean tokens are multiplied by."""
        return math.sqrt(tokens.shape[-1]) if self._scale is None else self._scale
