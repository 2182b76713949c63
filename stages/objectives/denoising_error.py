"""What a latent diffusion model is tuned with, beside the network whose values lead it."""

from __future__ import annotations

import torch
from torch.nn.functional import mse_loss

from stages.ground.checks import OneOf, check
from stages.ground.devices import sent_to

PREDICTS = ("noise", "velocity")


class DenoisingError:
    """The mean squared error of the noise that a network finds in noisy latents, led by values that the brain gives.

        loss = weight · mean(‖ε − ε_θ(z_t, t, c)‖²),   z_t = √ᾱ_t · z + √(1 − ᾱ_t) · ε

    Its gradient reaches the denoiser and, through the values, the network before it. Steps t and noise ε come from torch's
    global generator, on the CPU: a training seeds it by the step.

    >>> from stages.priors.noise_process import NoiseProcess
    >>> error = DenoisingError("brain_tokens", "vq_latent", lambda noisy, steps, context: noisy, NoiseProcess.scaled_linear())
    >>> loss, parts = error({"brain_tokens": torch.zeros(2, 77, 512)}, {"vq_latent": torch.zeros(2, 3, 8, 8)}, step=0)
    >>> loss.shape, list(parts)
    (torch.Size([]), ['denoising error'])

    Parameters
    ----------
    context : str, or tuple of str
        The output that leads, or several; nothing need be true of them.
    latent : str
        The target: clean latents of the scale that the denoiser sees.
    denoiser : callable
        ``denoiser(noisy, timesteps, *contexts)`` predicts the noise; a part of the network that is trained.
    process : object
        ``process.n_steps``, and ``process.noisy(clean, noise, steps)``, as `stages.priors.noise_process.NoiseProcess`.
    weight : float
    latent_shape : tuple of int, optional
        (channels, height, width), if targets are rows of values.
    hidden : tuple of str
        Outputs of the network that lead as well, and are no predicted values; the denoiser is given them before the others.
    predicts : {"noise", "velocity"}
        What the denoiser was made to predict: ε, or v = √ᾱ_t · ε − √(1 − ᾱ_t) · z (Salimans and Ho, 2022), of which the error is
        taken then.
    """

    def __init__(self, context, latent, denoiser, process, weight=1.0, latent_shape=None, predicts="noise", hidden=()):
        self.reads = (context,) if isinstance(context, str) else tuple(context)
        self.latent, self.weight, self.predicts = latent, weight, check("predicts", predicts, OneOf(*PREDICTS))
        self.denoiser, self.process, self._latent_shape = denoiser, process, latent_shape
        self._leads = (*hidden, *self.reads)

    def __call__(self, outputs, targets, step):
        clean = targets[self.latent].float()
        if self._latent_shape is not None:
            clean = clean.reshape(len(clean), *self._latent_shape)
        # On the CPU, so that a step draws the same numbers on every device.
        steps = sent_to(clean.device, torch.randint(0, self.process.n_steps, (len(clean),)))
        noise = sent_to(clean.device, torch.randn(clean.shape))
        noisy = self.process.noisy(clean, noise, steps)
        found = self.denoiser(noisy, steps, *(outputs[name] for name in self._leads))
        wanted = noise if self.predicts == "noise" else self.process.velocity(clean, noise, steps)
        error = mse_loss(found.float(), wanted)
        return self.weight * error, {"denoising error": error.detach()}

    def __repr__(self):
        return f"DenoisingError({', '.join(self.reads)!r}, {self.latent!r}, weight={self.weight})"
